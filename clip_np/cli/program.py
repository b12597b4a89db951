"""What happens between the arguments of a command and its exit status?

    parse the arguments -> run the command's function -> with --json, print its result

Every mistake that a user can make raises an exception that says what to do. It is
printed as one line on stderr, and the exit status is 1; for Ctrl-C it is 130, as is
usual in shells. Any other exception is a bug, and shows its traceback.
"""

import json
import sys
from collections.abc import Sequence

import numpy as np

from clip_np.cli.messages import flags_of, name_flags, warnings_name_flags
from clip_np.cli.parser import build_parser
from clip_np.files import shown
from clip_np.training import TrainingError
from minigrad.backend import BackendError, move

MISTAKES = (ValueError, OSError, ImportError, TrainingError, BackendError)
FAILED = 1  # an exit status
INTERRUPTED = 130  # the exit status after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """The program `clip-np`: returns its exit status.

    argv: the arguments after the program's name; by default those of the process.
    """
    _print_any_character()
    arguments = build_parser().parse_args(argv)
    flags = flags_of(arguments.command_parser)
    try:
        _require_backend(getattr(arguments, "backend", None))
        with warnings_name_flags(flags):
            result = arguments.function(arguments)
    except MISTAKES as error:
        print(f"clip-np: error: {shown(name_flags(str(error), flags))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("clip-np: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(result))
    return 0


def _print_any_character() -> None:
    """Let no caption with an emoji end a run on a terminal that cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _require_backend(backend: str | None) -> None:
    """BackendError if there is no such GPU, before any data is read."""
    if backend is not None:
        move(np.zeros(1), backend)
