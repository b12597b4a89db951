"""What happens when the data on disk is not what it should be?

A data set is made by people, and people make mistakes: a column is called something
else, a picture is missing, a text is not UTF-8. All such mistakes are a `DataError`.
Its message names the file and the row, what was found there, what was expected, and how
to mend it.
"""

from collections.abc import Sequence
from typing import Any

SHOWN_IN_MESSAGES = 3  # items: enough to find the mistake, few enough for one line


class DataError(ValueError):
    """The data on disk is not what it should be; the message names file and fix."""


class DataWarning(UserWarning):
    """The data were read in a way that somebody might not expect; the text says how."""


def a_few(items: Sequence[Any]) -> str:
    """The first three of `items` for a message, and how many more there are.

    >>> a_few(["a.png", "b.png"])
    'a.png, b.png'
    >>> a_few(range(10))
    '0, 1, 2 and 7 more'
    """
    shown = ", ".join(str(item) for item in items[:SHOWN_IN_MESSAGES])
    hidden = len(items) - SHOWN_IN_MESSAGES
    return f"{shown} and {hidden} more" if hidden > 0 else shown
