"""How do messages of the library speak to somebody at the command line?

The library knows Python, so its errors and warnings name the parameters of its
functions, in backticks: "`image_column` names another column". At the command line the
same thing is an option, --image-column. So the names in backticks are replaced before a
message is printed, if the command has such an option, and left alone if it has none.
Messages quote names from files, so a printed warning is `shown`, as errors are.
"""

import argparse
import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping

from clip_np.files import shown

# Functions that are commands, too.
COMMANDS = {"build_index": "clip-np embed"}
NAME_IN_BACKTICKS = re.compile(r"`(\w+)`")


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The parameters that options of a command stand for, with the options' names.

    >>> parser = argparse.ArgumentParser(add_help=False)
    >>> action = parser.add_argument("--image-column")
    >>> flags_of(parser)
    {'image_column': '--image-column'}
    """
    # argparse has no public list of a parser's options.
    options = [action for action in parser._actions if action.option_strings]
    return {action.dest: action.option_strings[-1] for action in options}


def name_flags(message: str, flags: Mapping[str, str]) -> str:
    """The message with the command line's names for what stands in backticks.

    >>> name_flags("`image_column` or `split`?", {"image_column": "--image-column"})
    '--image-column or `split`?'
    """
    names = {**COMMANDS, **flags}

    def replacement(match: re.Match[str]) -> str:
        return names.get(match[1], match[0])

    return NAME_IN_BACKTICKS.sub(replacement, message)


@contextlib.contextmanager
def warnings_name_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Within the block, printed warnings name options of the command line.

    They are lines of the program, and name no line of its source. Those of Pillow are
    left out: they speak of its own source, and what cannot be read
    of a picture is an error that names the file.
    """
    # Only the text is changed. What is caught or recorded is the warning itself.
    usual = warnings.formatwarning

    def translated(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        return f"clip-np: warning: {shown(name_flags(str(message), flags))}\n"

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.formatwarning = translated
        try:
            yield
        finally:
            warnings.formatwarning = usual
