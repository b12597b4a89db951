"""How do we know that a derivative is right?

Compare it with one that needs no calculus. A mistake in a vjp shows at once:

>>> import numpy as np
>>> import minigrad as mg
>>> def wrong_square(x):
...     a = x.data
...     return mg.record("square", a * a, (x,), lambda g: g * a)  # no factor 2
>>> mg.gradcheck(wrong_square, [np.array([0.5, 1.5])])
Traceback (most recent call last):
minigrad.checking.gradients.GradientError: gradcheck: wrong gradient: input 0, ...

- `numeric`: how to measure a derivative without calculus.
- `gradients`: the gradient that the tape gives, and the faults that it can have besides
  a wrong value.
- `elements`: `gradcheck` compares the two, element by element.
- `directions`: `taylor_slope` looks along one direction. This works for a whole model.
- `complex_step`: `jvp` and `hvp`, exact first and second derivatives along a direction.

All inputs must be float64, because float32 leaves too few digits to judge a derivative.
"""

from minigrad.checking.complex_step import hvp, jvp
from minigrad.checking.directions import taylor_slope
from minigrad.checking.elements import Report, gradcheck
from minigrad.checking.gradients import GradientError
from minigrad.checking.numeric import CENTRAL_STEP, COMPLEX_STEP, TOLERANCE

__all__ = [  # noqa: RUF022 - in reading order
    "gradcheck",
    "Report",
    "GradientError",
    "TOLERANCE",
    "taylor_slope",
    "jvp",
    "hvp",
    "COMPLEX_STEP",
    "CENTRAL_STEP",
]
