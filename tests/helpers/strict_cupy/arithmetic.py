"""Where CuPy computes other numbers than NumPy."""

import numpy as np

SPECIAL = (2, -1)  # exponents that are a product and a quotient


def power(x: object, y: object, **options: object) -> np.ndarray:
    """x ** y; of complex numbers in polar form.

    At a negative base that loses a complex step: an imaginary part of 1e-30 does not
    change the angle pi.
    """
    is_real = not (np.iscomplexobj(x) or np.iscomplexobj(y))
    if is_real or (np.ndim(y) == 0 and not isinstance(y, np.ndarray) and y in SPECIAL):
        return np.power(x, y, **options)
    x, y = np.asarray(x, complex), np.asarray(y, complex)
    size, angle = np.abs(x), np.angle(x)
    radius = size**y.real * np.exp(-y.imag * angle)
    turned = y.real * angle + y.imag * np.log(np.where(size == 0.0, 1.0, size))
    return np.positive(radius * np.exp(1j * turned), **options)


COMPUTES = {"power": power}
