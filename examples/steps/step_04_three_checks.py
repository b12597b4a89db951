"""How can a derivative be checked without knowing it?

    python examples/steps/step_04_three_checks.py

Take f(x) = exp(x) sin(x). Three ways, from rough to exact:

1. One-sided difference, (f(x + h) - f(x)) / h. Its error is about h f''(x) / 2.
2. Central difference, (f(x + h) - f(x - h)) / 2h. Its error falls with h^2.
3. Complex step, imag f(x + ih) / h. Its error falls with h^2 too, and nothing is
   subtracted, so h may be as small as 1e-30.

Both differences subtract two numbers that are nearly equal, and lose digits by it: the
smaller h, the more. So they are best at some middle h, and never exact: watch the
columns below get better and then worse. The complex step has no such floor. It needs a
function that computes with complex numbers, and minigrad's operations do.

Squire & Trapp 1998, "Using complex variables to estimate derivatives of real
functions", SIAM Review 40(1).
"""

import numpy as np

import minigrad as mg

x = 0.7


def f(z):
    return np.exp(z) * np.sin(z)


exact = np.exp(x) * (np.sin(x) + np.cos(x))
print("errors of    one-sided   central   complex step")
for h in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12):
    one_sided = (f(x + h) - f(x)) / h
    central = (f(x + h) - f(x - h)) / (2 * h)
    complex_step = f(x + 1j * h).imag / h
    errors = [abs(slope - exact) for slope in (one_sided, central, complex_step)]
    print(f"h = {h:.0e}    {errors[0]:8.0e}  {errors[1]:8.0e}       {errors[2]:8.0e}")

# The same as one call, for functions of whole arrays.
report = mg.gradcheck(lambda t: mg.exp(t) * mg.sin(t), [np.array([0.7, -1.2])])
print(f"gradcheck: the {report.method} method agrees to 1e-15: {report.error < 1e-15}")
