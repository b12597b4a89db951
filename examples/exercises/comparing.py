"""How does a check tell what is wrong, and not only that something is?

Most wrong answers are one of a few that everybody gives once: a sum that forgets an
axis, a factor that is missing. So a key lists them, with a hint for each. If an answer
differs from the right one and equals such a mistake, the hint is printed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

NEAR = 1e-9  # the answers compute in float64


class Wrong(Exception):
    """An answer is wrong; the text says what is."""


def require(holds: bool, message: str) -> None:
    """Wrong, unless something holds."""
    if not holds:
        raise Wrong(message)


def require_equal(
    what: str,
    answer: Any,
    right: Any,
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = NEAR,
) -> None:
    """Wrong, unless an answer is the right array or number.

    what: of which result, for the message. mistakes: wrong results that are common,
    each under the hint that helps.
    """
    require(answer is not None, f"{what}: nothing was returned. Is the function written?")
    right = np.asarray(right, dtype=np.float64)
    try:
        answer = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what}: expected numbers, got {type(answer).__name__}") from None
    if is_near(answer, right, tolerance):
        return
    for hint, mistake in (mistakes or {}).items():
        if is_near(answer, np.asarray(mistake, dtype=np.float64), tolerance):
            raise Wrong(f"{what}: {hint}")
    if answer.shape != right.shape:
        raise Wrong(f"{what}: expected the shape {right.shape}, got {answer.shape}")
    place = tuple(np.argwhere(~np.isclose(answer, right, rtol=tolerance, atol=tolerance))[0])
    at = f" at {tuple(map(int, place))}" if place else ""
    raise Wrong(f"{what}: expected {right[place]:.6g}{at}, got {answer[place]:.6g}")


def is_near(first: np.ndarray, second: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays have one shape and nearly the same numbers."""
    return first.shape == second.shape and bool(
        np.allclose(first, second, rtol=tolerance, atol=tolerance)
    )
