"""One step into the complex plane measures a slope exactly.

For an analytic f and a direction v,

    f(x + i h v) = f(x) + i h (slope along v) - h^2 (a real number) - i h^3 ...

So the imaginary part, divided by h, is the slope, up to an error of order h^2. h may be
tiny, because nothing is subtracted. The check wants thirteen digits.
"""


def slope(f, x, direction):
    """d/dt f(x + t direction) at t = 0, for an f that takes complex arrays."""
    ...  # your line
