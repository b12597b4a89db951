"""How is the error function computed for a whole array?

    erf(x) = 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x
    erf'(x) = 2/sqrt(pi) exp(-x^2)

GELU needs it, and NumPy does not have it. Python has it for single numbers, so the
plain form is `np.vectorize(math.erf)`. The fast form is eleven times faster in float32
and five times in float64. It replaces the hard part of erf by a polynomial. Write, for
x >= 0,

    erf(x) = 1 - exp(-x^2) (1 - x r(x))  =  -expm1(-x^2) + exp(-x^2) x r(x)

which defines a function r. (expm1(z) is exp(z) - 1 without cancellation for small z.)
The function r is smooth. It is even smoother as a function of 1/(1 + x), which runs
from 1 at x = 0 down to 0 at infinity. From x = 6 on, erf is 1 to the last bit, so x
need not go beyond END = 6.5. The variable

    t(x) = (2/(1 + x) - SUM) / RANGE        SUM = 1 + 1/(1 + END)
                                            RANGE = 1 - 1/(1 + END)

maps [0, END] onto [-1, 1]: t(0) = 1 and t(END) = -1. There a polynomial through
Chebyshev points comes close to r: degree 9 is enough for float32, degree 20 for
float64. Python's erf gives the values of r at these points, once, when this file is
imported.

**Complex numbers.** The polynomial is for real numbers. A complex step
(minigrad/checking) asks for erf(a + i b) with a b near 1e-30, and there the Taylor
series is exact after its first term:

    erf(a + i b) = erf(a) + i b erf'(a) = erf(a) + i b 2/sqrt(pi) exp(-a^2)

What is left out is of the order of b^2, below the rounding of float64 as long as b is
below 1e-8. A larger b is refused.

Trefethen, "Approximation Theory and Approximation Practice", chapters 3 and 8.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from minigrad.backend import Array, array_module
from minigrad.inputs import floating
from minigrad.memory import empty
from minigrad.tensor import Tensor, record


def erf(x: Any) -> Tensor:
    """The error function: 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    x must be float32 or float64. A complex x is for complex steps: its imaginary part
    must be tiny (see the head of this file).

    >>> print(erf([-1.0, 0.0, 1.0]).data.round(4))
    [-0.8427  0.      0.8427]
    """
    (x,) = floating("erf", x)
    y, decay = erf_and_decay(x.data)

    def vjp(g: Array) -> Array:
        return g * (decay * (2.0 / math.sqrt(math.pi)))

    return record("erf", y, (x,), vjp)


# Slow and right, for arrays of any size; the tests hold `erf_and_decay` against it.
slow_erf = np.vectorize(math.erf, otypes=[float])

END = 6.5  # at x = 6.5, exp(-x^2) is 4e-19, and 1 - 4e-19 is 1 in float64
SUM = 1.0 + 1.0 / (1.0 + END)  # the sum of 1/(1 + x) at x = 0 and at x = END
RANGE = 1.0 - 1.0 / (1.0 + END)  # their difference


def _r(t: float) -> float:
    """r as a function of t in [-1, 1].

    From erf(x) = -expm1(-x^2) + exp(-x^2) x r follows, multiplied by exp(x^2),

        x r = exp(x^2) erf(x) - expm1(x^2)        without cancellation for small x
            = 1 - exp(x^2) erfc(x)                the same for large x, erfc = 1 - erf
    """
    x = 2.0 / (SUM + t * RANGE) - 1.0
    growth = math.exp(x * x)
    if x < 1.0:
        return (growth * math.erf(x) - math.expm1(x * x)) / x
    return (1.0 - growth * math.erfc(x)) / x


def _coefficients(degree: int) -> list[float]:
    """The coefficients, highest first, of the polynomial in t that comes close to r.

    It goes through r at `degree` + 1 Chebyshev points. None of them is t = 1 (x = 0),
    at which `_r` would divide by 0.
    """
    series = chebyshev.chebinterpolate(np.vectorize(_r, otypes=[float]), degree)
    return chebyshev.cheb2poly(series)[::-1].tolist()


_COEFFICIENTS = {"float32": _coefficients(9), "float64": _coefficients(20)}


LARGEST_IMAGINARY = 1e-8  # its square is the rounding of float64


def check_erf_dtype(x: Array) -> None:
    """TypeError unless x is float32, float64 or complex128."""
    if x.dtype.name not in (*_COEFFICIENTS, "complex128"):
        raise TypeError(f"erf: expected float32 or float64, got {x.dtype}")


def _at_a_complex_step(x: Array) -> tuple[Array, Array]:
    """erf(x) and exp(-x^2) for complex x, to first order in its imaginary part."""
    xp = array_module(x)
    if x.size and float(xp.abs(x.imag).max()) > LARGEST_IMAGINARY:
        raise ValueError(
            f"erf: complex numbers are for complex steps, with imaginary parts up to "
            f"{LARGEST_IMAGINARY}; got {float(xp.abs(x.imag).max()):.3g}"
        )
    y, _ = erf_and_decay(x.real)
    decay = xp.exp(-x.real * x.real)
    # d erf(a) = 2/sqrt(pi) exp(-a^2) da,  d exp(-a^2) = -2 a exp(-a^2) da
    slope = 2.0 / math.sqrt(math.pi) * decay
    return y + 1j * x.imag * slope, decay - 2j * x.imag * x.real * decay


def erf_and_decay(x: Array) -> tuple[Array, Array]:
    """The fast form of `slow_erf`, and exp(-x^2), which its derivative needs.

    Three arrays of x's size serve all steps. Complex x: see the head of this file.

    >>> y, decay = erf_and_decay(np.array([0.0, 1.0]))
    >>> print(y.round(4), decay.round(4))
    [0.     0.8427] [1.     0.3679]
    """
    check_erf_dtype(x)
    if x.dtype.kind == "c":
        return _at_a_complex_step(x)
    highest, *middle, lowest = _COEFFICIENTS[x.dtype.name]
    xp = array_module(x)
    size = empty(x.shape, x)
    t = empty(x.shape, x)
    r = empty(x.shape, x)
    # size = min(|x|, END): erf(-x) = -erf(x), so the sign can wait
    xp.abs(x, out=size)
    xp.minimum(size, END, out=size)
    # t = (2/(1 + size) - SUM) / RANGE
    xp.add(size, 1.0, out=t)
    xp.divide(2.0 / RANGE, t, out=t)
    t -= SUM / RANGE
    # r(t) by Horner's scheme: ((c_n t + c_(n-1)) t + ...) t + c_0
    xp.multiply(t, highest, out=r)
    for coefficient in middle:
        r += coefficient
        r *= t
    r += lowest
    # x_r = size r(t)
    x_r = r
    x_r *= size
    # minus = expm1(-size^2), decay = exp(-size^2) = 1 + minus
    minus = size
    minus *= size
    xp.negative(minus, out=minus)
    xp.expm1(minus, out=minus)
    decay = xp.add(minus, 1.0, out=t)
    # erf(size) = decay x_r - minus
    y = x_r
    y *= decay
    y -= minus
    # erf(x) has the sign of x
    return xp.copysign(y, x, out=y), decay
