"""What does a gradient say along one direction?

A check of a whole model, element by element, would run the model millions of times. A
check along one direction d needs a few runs. It sees one number, <gradient, d>. If the
gradient is off by e, this number is off by <e, d>, which is 0 only for a d at a right
angle to e. A random d has this angle with probability 0. So draw d at random, from a
normal distribution: then a wrong gradient shows, unless rounding hides it.

`taylor_slope` judges the gradient. Take away from f(x + h d) the first two terms of its
Taylor series. A remainder is left:

    r(h) = |f(x + h d) - f(x) - h <gradient, d>|

It falls with h^2: half the h, a quarter of r. In a plot of log r against log h this is
a slope of 2. If the gradient is wrong, a part of the first-order term is left, and the
slope is 1. `examples/gradient_check.py` draws both.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.checking.gradients import checked_gradients
from minigrad.checking.numeric import Function, evaluate, float64_arrays, float64_directions

# A remainder below this share of the result is nothing but rounding.
ROUNDING = 1e-13


def taylor_slope(
    fn: Function,
    inputs: Sequence[Any],
    direction: Sequence[Any],
    start: float = 1e-3,
    halvings: int = 5,
    seed: int = 0,
) -> float:
    """The slope of log r(h) against log h, for h = start, start/2, start/4, ...

    `start` is halved `halvings` times. `direction` has an array for each input, such as
    random numbers of its shape.

    The slope is about 2 if fn's gradient along the direction is right, and about 1 if
    it is wrong. Steps with a remainder that drowns in rounding are left out. If fewer
    than two are left, fn is a straight line, as its gradient says, and the slope is
    infinite. Raises TypeError for inputs that are not float64, ValueError for a
    direction that does not fit.

    >>> import minigrad as mg
    >>> round(mg.taylor_slope(mg.exp, [np.zeros(3)], [np.ones(3)]), 1)
    2.0
    """
    arrays = float64_arrays("taylor_slope", inputs)
    directions = float64_directions("taylor_slope", direction, arrays)
    value, cotangent, gradients = checked_gradients(fn, arrays, seed)
    slope = sum((gradient * step).sum() for gradient, step in zip(gradients, directions))
    noise = ROUNDING * np.abs(cotangent * value).sum()
    steps, remainders = [], []
    for halving in range(halvings + 1):
        h = start * 0.5**halving
        change = evaluate(fn, arrays, directions, h) - value
        remainder = abs((cotangent * change).sum() - h * slope)
        if not remainder <= noise:  # a NaN must not be left out
            steps.append(h)
            remainders.append(remainder)
    if len(steps) < 2:
        return np.inf
    return _slope_of_line(np.log(steps), np.log(remainders))


def _slope_of_line(x: np.ndarray, y: np.ndarray) -> float:
    """The slope of the straight line that fits the points best (least squares)."""
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))
