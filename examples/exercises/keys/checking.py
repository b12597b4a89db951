"""Answer keys of the chapter on checking derivatives.

f writes down at which points it was called. So a key knows the h of an answer, and can
compute what a common mistake gives with this h.
"""

from collections.abc import Callable

import numpy as np

from examples.exercises.comparing import Near, require
from examples.exercises.judging import Mistake, judge

GOOD_H = 1e-5  # for central differences: one that is much larger or smaller costs digits

Results = dict[str, np.ndarray]


class Watched:
    """A function that remembers where it was called."""

    def __init__(self, f: Callable) -> None:
        self.f = f
        self.points: list[np.ndarray] = []

    def __call__(self, z: np.ndarray) -> complex:
        """f(z)."""
        self.points.append(np.array(z))
        return self.f(z)

    def h(self, x: np.ndarray, length: float = 1.0) -> float:
        """How far from x, in lengths, the farthest point was; to three digits."""
        ways = [np.abs(point - x).max() for point in self.points if point.shape == x.shape]
        return float(f"{max(ways, default=0.0) / length:.3g}")


def check_central(numeric_gradient: Callable) -> None:
    name = "the gradient"
    f = Watched(lambda z: float((np.sin(z) * z.flat[0]).sum()))

    def right(x: np.ndarray) -> Results:
        gradient = np.cos(x) * x.flat[0]
        gradient.flat[0] += np.sin(x).sum()
        return {name: gradient}

    def quotient(
        ahead: int, behind: int, divisor: float, fits: Callable = lambda h: True
    ) -> Callable:
        """The difference of two points, which lie `ahead` h and `behind` h from x."""

        def run(x: np.ndarray) -> Results:
            h = f.h(x)
            if h == 0.0 or not fits(h):
                return {}
            gradient = np.zeros(x.shape)
            for place in np.ndindex(x.shape):
                move = np.zeros(x.shape)
                move[place] = h
                gradient[place] = f.f(x + ahead * move) - f.f(x + behind * move)
            return {name: gradient / (divisor * h)}

        return run

    one_side = "the points x and x + h lie on one side: the error is of order h. Go up and down"
    mistakes = [
        Mistake("twice too large: the two points lie 2 h apart", quotient(1, -1, 1.0)),
        Mistake("half of it: divide by 2 h once", quotient(1, -1, 4.0)),
        Mistake("the sign is wrong: up minus down", quotient(-1, 1, 2.0)),
        Mistake(one_side, quotient(1, 0, 1.0)),
        Mistake(one_side, quotient(0, -1, 1.0)),
        Mistake(
            "h is too large: the error is of order h^2",
            quotient(1, -1, 2.0, fits=lambda h: h > GOOD_H),
        ),
        Mistake(
            "h is too small: the two values differ in their last digits only, which are rounded",
            quotient(1, -1, 2.0, fits=lambda h: h < GOOD_H),
        ),
    ]
    cases = {
        f"x of shape {x.shape}": {"x": x}
        for x in (np.array([[0.3, -1.0], [2.0, 0.5]]), np.array([0.7, 1.1, -2.0]))
    }
    judge(lambda x: {name: numeric_gradient(f, x)}, right, cases, mistakes, Near(1e-7, 1e-7))


def check_complex_step(slope: Callable) -> None:
    name = "the slope along the direction"
    f = Watched(lambda z: (np.exp(z) * np.sin(z)).sum())

    def answer(x: np.ndarray, direction: np.ndarray) -> Results:
        result = slope(f, x, direction)
        require(
            not np.iscomplexobj(result),
            "the result is complex: the slope is its imaginary part, a real number",
        )
        return {name: result}

    def along(x: np.ndarray, direction: np.ndarray) -> Results:
        return {name: (np.exp(x) * (np.sin(x) + np.cos(x)) * direction).sum()}

    def by_h(formula: Callable) -> Callable:
        """formula(x, h v, h) with the h of the answer."""

        def run(x: np.ndarray, direction: np.ndarray) -> Results:
            h = f.h(x, length=float(np.abs(direction).max()))
            return {name: formula(x, h * direction, h)} if h > 0.0 else {}

        return run

    digits = "subtracting two values costs digits: step in the imaginary direction, x + 1j h v"
    rounded = Near(relative=1e-4, absolute=0.0)  # the rounding depends on every digit of h
    mistakes = [
        Mistake("that is the slope along (1, 1): use the direction",
                lambda x, direction: along(x, np.ones_like(x))),
        Mistake("the direction was scaled to length 1: a step along v is as long as v",
                lambda x, direction: along(x, direction / np.linalg.norm(direction))),
        Mistake("a slope may be negative: no absolute value",
                lambda x, direction: {name: abs(along(x, direction)[name])}),
        Mistake("that is the value of f: the slope is in the imaginary part",
                lambda x, direction: {name: f.f(x)}),
        Mistake("divide the imaginary part by the step",
                by_h(lambda x, move, h: f.f(x + 1j * move).imag)),
        Mistake("that is the real part: the slope is in the imaginary part",
                by_h(lambda x, move, h: f.f(x + 1j * move).real / h)),
        Mistake("that is the real part: the slope is in the imaginary part",
                by_h(lambda x, move, h: (f.f(x + 1j * move) - f.f(x)).real / h)),
        Mistake("h is too large: the error is of order h^2, and h may be tiny",
                by_h(lambda x, move, h: f.f(x + 1j * move).imag / h)),
        Mistake(digits, by_h(lambda x, move, h: (f.f(x + move) - f.f(x)) / h), rounded),
        Mistake(digits, by_h(lambda x, move, h: (f.f(x + move) - f.f(x - move)) / (2 * h)),
                rounded),
    ]  # fmt: skip
    cases = {
        f"x of shape {x.shape}": {"x": x, "direction": direction}
        for x, direction in (
            (np.array([0.4, 1.5]), np.array([2.0, -1.0])),
            (np.array([[0.1, -0.6, 1.0]]), np.array([[0.5, 1.5, 1.0]])),
        )
    }
    judge(answer, along, cases, mistakes, Near(relative=1e-13, absolute=0.0))
