"""What did a person mean who mistyped something?

argparse says what it does not know. This adds what is nearest to it:

    clip-np serch a.npz red         did you mean search?
    clip-np train --steeps 3        did you mean --steps?
    clip-np train photos            did you mean --data photos?
"""

import argparse
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

LIKENESS = 0.6  # of two words, from 0 to 1: one letter in four may differ
UNKNOWN_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser whose errors name what is like a mistyped command."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and end the program with status 2."""
        unknown = UNKNOWN_CHOICE.search(message)
        if unknown:
            choices = re.split(r",\s*", unknown[2].replace("'", ""))
            message += suggestion(unknown[1], choices)
        super().error(message)


def refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """End the program if a command got arguments that it does not know."""
    if not unknown:
        return
    # argparse has no public list of a parser's options.
    flags = [flag for action in parser._actions for flag in action.option_strings]
    hints = [_hint(argument, flags) for argument in unknown]
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(hints)}")


def _hint(argument: str, flags: Sequence[str]) -> str:
    """What an unknown argument may have meant, or ""."""
    if argument.startswith("-"):
        return suggestion(argument.partition("=")[0], flags)
    is_data = os.path.exists(argument) and "--data" in flags
    return f"; did you mean --data {argument}?" if is_data else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words as a question, or "".

    >>> suggestion("serch", ["train", "search"])
    '; did you mean search?'
    >>> suggestion("draw", ["train", "search"])
    ''
    """
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=LIKENESS)
    return f"; did you mean {nearest[0]}?" if nearest else ""
