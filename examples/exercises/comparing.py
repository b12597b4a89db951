"""Is a result the right one, and if not, where does it differ?

Numbers are compared up to rounding, everything else exactly. What is printed of two
numbers has as many digits as it needs to show that they differ.
"""

from typing import Any, NamedTuple

import numpy as np

DIGITS = range(6, 18)  # 17 digits tell any two float64 numbers apart


class Wrong(Exception):
    """An answer is wrong; the text says what is."""


class Near(NamedTuple):
    """How far a number may be from the right one: a part of it, and an amount."""

    relative: float = 1e-9  # the answers compute in float64
    absolute: float = 1e-9


NEAR = Near()


def require(holds: bool, message: str) -> None:
    """Wrong, unless something holds."""
    if not holds:
        raise Wrong(message)


def require_parts(result: Any, count: int, message: str) -> Any:
    """The result, if it is a tuple or a list of so many things. Wrong otherwise."""
    require(result is not None, "nothing was returned. Is the function written?")
    require(isinstance(result, (tuple, list)) and len(result) == count, message)
    return result


def numbers_of(value: Any) -> np.ndarray | None:
    """The array that a value is or can be made into; None if it is not of numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biufc" else None


def is_same(answer: Any, right: Any, near: Near = NEAR) -> bool:
    """Whether an answer is right: near in each number, or else equal."""
    numbers = numbers_of(right)
    if numbers is None:
        return type(answer) is type(right) and bool(answer == right)
    got = numbers_of(answer)
    return (
        got is not None
        and got.shape == numbers.shape
        and np.iscomplexobj(got) == np.iscomplexobj(numbers)
        and bool(np.isclose(got, numbers, near.relative, near.absolute, equal_nan=True).all())
    )


def difference(answer: Any, right: Any, near: Near = NEAR) -> str:
    """What was expected and what came, at the first place where they differ."""
    numbers = numbers_of(right)
    if numbers is None:
        return _difference_of_objects(answer, right)
    array = numbers_of(answer)
    if array is None:
        return f"expected numbers, got {type(answer).__name__}"
    if array.shape != numbers.shape:
        return f"expected the shape {numbers.shape}, got {array.shape}"
    if np.iscomplexobj(array):
        return "expected real numbers, got complex ones"
    close = np.isclose(array, numbers, near.relative, near.absolute, equal_nan=True)
    place = tuple(int(index) for index in np.argwhere(~close)[0])
    at = f" at {place}" if place else ""
    texts = _until_they_differ(float(numbers[place]), float(array[place]))
    return f"expected {texts[0]}{at}, got {texts[1]}"


def _difference_of_objects(answer: Any, right: Any) -> str:
    """The same of other things; of two dictionaries, one entry is enough."""
    if not isinstance(answer, dict) or not isinstance(right, dict):
        return f"expected {right!r}, got {answer!r}"
    for key, value in right.items():
        if key not in answer:
            extra = [other for other in answer if other not in right]
            return f"expected {key!r}" + (f", got {extra[0]!r}" if extra else ", which is missing")
        if answer[key] != value:
            return f"of {key!r}: expected {value!r}, got {answer[key]!r}"
    extra = [other for other in answer if other not in right]
    return f"{extra[0]!r} should not be there"


def _until_they_differ(first: float, second: float) -> tuple[str, str]:
    """Two numbers as text, with enough digits."""
    for digits in DIGITS:
        kind = f"{'#' if digits > DIGITS[0] else ''}.{digits}g"  # with #, zeros at the end stay
        texts = format(first, kind), format(second, kind)
        if texts[0] != texts[1]:
            break
    return texts
