"""An operation with a gradient rule of our choice, right or wrong."""

import numpy as np

from minigrad.tensor import record

POINT = np.array([[0.7, -1.2, 0.4], [1.5, 0.2, -0.3]])


def operation(vjp, forward=lambda a: a * a):
    """A function of one tensor with a gradient rule of our choice: vjp(g, a)."""

    def fn(x):
        a = x.data
        return record("planted", forward(a), (x,), lambda g: vjp(g, a))

    return fn


def right(g, a):
    return g * 2 * a


WRONG = {
    "transposed": lambda g, a: right(g, a)[::-1],
    "summed": lambda g, a: np.full_like(a, (2 * a * g).sum()),
    "not a number": lambda g, a: right(g, a) * np.nan,
    "forgets g": lambda g, a: 2 * a,
    "zero": lambda g, a: 0 * a,
}
