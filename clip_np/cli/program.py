"""What happens between the arguments of a command and its exit status?

    parse the arguments -> run the command's function -> with --json, print its result

Every mistake that a user can make raises an exception that says what to do. It is
printed as one line on stderr, and the exit status is 1. It is also 1 if a picture was
asked for and could not be made. For Ctrl-C it is 130, as is usual in shells, and 141 if
the reader of the output went away. Any other exception is a bug, and shows its
traceback.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence

import numpy as np

from clip_np.cli.evaluating import evaluate_command
from clip_np.cli.messages import flags_of, name_flags, warnings_name_flags
from clip_np.cli.mistyped import refuse_unknown
from clip_np.cli.output import FAILED
from clip_np.cli.parser import build_parser
from clip_np.cli.runs import train_command
from clip_np.cli.searching import embed_command
from clip_np.data import WorkerError
from clip_np.files import shown
from clip_np.training import RankError, TrainingError
from clip_np.training.communicator import rank_of_launch
from minigrad.backend import BackendError, move

MISTAKES = (
    *(ValueError, OSError, ImportError, TrainingError, WorkerError, RankError),
    *(BackendError, MemoryError),  # there is less memory than the options need
)
ON_SEVERAL_RANKS = (train_command, embed_command, evaluate_command)
INTERRUPTED = 130  # the exit status after Ctrl-C
PIPE_CLOSED = 141  # the exit status after the reader of the output went away


def main(argv: Sequence[str] | None = None) -> int:
    """The program `clip-np`: returns its exit status.

    argv: the arguments after the program's name; by default those of the process.
    """
    _print_any_character()
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.command is None:
        refuse_unknown(parser, unknown)
        parser.print_help()
        return 0
    refuse_unknown(arguments.command_parser, unknown)
    flags = flags_of(arguments.command_parser)
    try:
        _require_backend(getattr(arguments, "backend", None))
        _require_one_process(arguments)
        with warnings_name_flags(flags):
            result = arguments.function(arguments)
        if arguments.json:
            print(json.dumps(result), flush=True)
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except MISTAKES as error:
        text = name_flags(str(error) or "out of memory", flags)  # Python's has no words
        print(f"clip-np: error: {shown(text)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("clip-np: interrupted", file=sys.stderr)
        return INTERRUPTED
    status: int = arguments.status
    return status


def _require_one_process(arguments: argparse.Namespace) -> None:
    """ValueError if a launcher has started several processes for a command of one."""
    if arguments.function not in ON_SEVERAL_RANKS and rank_of_launch() is not None:
        raise ValueError(
            "only `train`, `embed` and `evaluate` run on several ranks: start this command "
            "without mpiexec"
        )


def _drop_output() -> None:
    """Let nothing more be written to an output that nobody reads, as after `| head`."""
    with contextlib.suppress(OSError, ValueError):  # a test's output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_any_character() -> None:
    """Let no caption with an emoji end a run on a terminal that cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _require_backend(backend: str | None) -> None:
    """BackendError if there is no such GPU, before any data is read."""
    if backend is not None:
        move(np.zeros(1), backend)
