"""How well can a derivative be measured, and what does a wrong one look like?

    python examples/gradient_check.py

draws gradient_check.png next to this file. It needs matplotlib. On the left stands the
error of a numeric derivative of a small network against the step h. A difference has
two errors: its formula is wrong by a power of h, and the subtraction of nearly equal
numbers is wrong by their last bit over h. So it is best at a middle step. The complex
step subtracts nothing, and is exact as soon as h is small.

On the right, r(h) = |f(x + h d) - f(x) - h <gradient, d>|, what is left of the
network's change without the part that the gradient explains. If the gradient is right,
this is the second-order term, and falls with h^2. If the gradient is a tenth too large,
the rest falls with h. `minigrad.taylor_slope` measures the two slopes.
"""

import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg

RNG = np.random.default_rng(0)
POINT = RNG.standard_normal((4, 3))
DIRECTION = RNG.standard_normal((4, 3))
WEIGHT = RNG.standard_normal((3, 3))
TARGET = RNG.standard_normal((4, 3))
MISTAKE = 1.1  # the factor of the wrong gradient


def network(x: mg.Tensor) -> mg.Tensor:
    """(4, 3) -> (): two layers and a softmax, weighted."""
    hidden = mg.tanh(x @ mg.tensor(WEIGHT))  # (4, 3)
    return (mg.softmax(hidden @ mg.tensor(WEIGHT.T)) * mg.tensor(TARGET)).sum()


def careless_network(x: mg.Tensor) -> mg.Tensor:
    """The same value, but a vjp that is a tenth too large."""
    again = mg.record("careless", x.data, (x,), lambda g: g * MISTAKE)
    return network(again)


def value(t: complex) -> complex:
    """The network's value, t along the direction."""
    return network(mg.tensor(POINT + t * DIRECTION)).item()


def slope_of(fn) -> float:
    """The derivative along the direction, from the tape."""
    x = mg.tensor(POINT, requires_grad=True)
    (gradient,) = mg.grad(fn(x), [x])
    return float((gradient * DIRECTION).sum())


def draw_errors(axes: plt.Axes) -> None:
    """Relative error against step, for three ways to measure a derivative."""
    exact = slope_of(network)
    measured = {
        "one-sided difference": (".", lambda h: (value(h) - value(0.0)) / h),
        "central difference": ("o", lambda h: (value(h) - value(-h)) / (2.0 * h)),
        "complex step": (".", lambda h: value(1j * h).imag / h),
    }
    steps = np.logspace(-20, -0.5, 79)
    for name, (marker, derivative) in measured.items():
        errors = np.array([abs(derivative(h) / exact - 1.0) for h in steps])
        shown = np.maximum(errors, 1e-17)
        axes.loglog(steps, shown, marker, markersize=5, fillstyle="none", label=name)
    axes.set_xlabel("step h")
    axes.set_ylabel("relative error (0 drawn at 1e-17)")
    axes.set_title("Measuring a derivative")
    axes.legend(loc="center left")


def draw_remainders(axes: plt.Axes) -> None:
    """What Taylor's first two terms leave, for a right and for a wrong gradient."""
    steps = 0.5 ** np.arange(2, 16)
    for name, fn in (("right gradient", network), ("gradient a tenth too large", careless_network)):
        slope = mg.taylor_slope(fn, [POINT], [DIRECTION])
        rest = [abs(value(h) - value(0.0) - h * slope_of(fn)) for h in steps]
        axes.loglog(steps, rest, "o-", markersize=4, label=f"{name}: slope {slope:.2f}")
    axes.set_xlabel("step h")
    axes.set_ylabel("remainder r(h)")
    axes.set_title("Judging a gradient")
    axes.legend()


def main(path: pathlib.Path) -> None:
    """Draw both into a PNG file."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    draw_errors(left)
    draw_remainders(right)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    print(f"picture: {path}")


if __name__ == "__main__":
    main(pathlib.Path(__file__).with_suffix(".png"))
