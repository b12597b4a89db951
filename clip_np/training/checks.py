"""Is this value one that a run can have?

Options come from a caller, or from a checkpoint that somebody else has sent. Python
would take a text, a list or a number of 400 digits as well, and fail later, somewhere
else, with a message about something else. So the kind and the range of each value are
looked at where it comes in.
"""

import math
import os
import types
import typing
from typing import Any

LARGEST_NUMBER = 2**63 - 1
"""What fits into the integers of NumPy, in which steps and sizes end up."""

LONGEST_TEXT = 4096
"""Characters of a path or a name: the longest path that Linux takes."""

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
QUOTED = 60  # characters of a bad value that a message shows


def require_kind(name: str, value: Any, expected: Any) -> None:
    """ValueError if `value` is not of a type such as int, float, `str | None`.

    A whole number is also a number; True and False are neither. Texts can be names of
    files. Numbers are finite, and not larger than LARGEST_NUMBER.

    >>> require_kind("steps", 7, int | None)
    >>> require_kind("steps", "7", int | None)
    Traceback (most recent call last):
    ValueError: `steps` must be a whole number or nothing, got '7'
    """
    is_union = isinstance(expected, types.UnionType)
    kinds = typing.get_args(expected) if is_union else (expected,)
    if value is None and type(None) in kinds:
        return
    kind = next(kind for kind in kinds if kind is not type(None))
    if not _is_of(value, kind):
        wanted = KINDS[kind] + (" or nothing" if type(None) in kinds else "")
        raise ValueError(f"`{name}` must be {wanted}, got {shown(value)}")


def require_range(name: str, value: float, lowest: float, highest: float) -> None:
    """ValueError for a number out of its bounds.

    >>> require_range("step", -1, lowest=0, highest=10)
    Traceback (most recent call last):
    ValueError: `step` must lie in 0..10, got -1
    """
    if not lowest <= value <= highest:
        raise ValueError(f"`{name}` must lie in {lowest:g}..{highest:g}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value as a message quotes it: not all of a long one.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = ascii(value)
    except ValueError:  # Python does not write out numbers of thousands of digits
        text = f"a number of {value.bit_length()} bits"
    return text if len(text) <= QUOTED else text[:QUOTED] + "..."


def _is_of(value: Any, kind: type) -> bool:
    """Whether a value is of a kind, and such that it can be worked with."""
    if kind is str:
        return isinstance(value, str) and _can_be_a_name(value)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int)
    # An integer may be too large to be compared as a float; NaN compares as false.
    return isinstance(value, int | float) and (isinstance(value, int) or math.isfinite(value))


def _can_be_a_name(text: str) -> bool:
    """Whether the system could open a file of this name."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return b"\0" not in encoded and len(text) <= LONGEST_TEXT
