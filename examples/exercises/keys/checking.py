"""Answer keys of the chapter on checking derivatives."""

from types import ModuleType

import numpy as np

from examples.exercises.comparing import require, require_equal


def check_central(answer: ModuleType) -> None:
    x = np.array([[0.3, -1.0], [2.0, 0.5]])
    before = x.copy()

    def f(z: np.ndarray) -> float:
        return float((np.sin(z) * z[0, 0]).sum())

    right = np.cos(x) * x[0, 0]
    right[0, 0] += np.sin(x).sum()
    result = answer.numeric_gradient(f, x)
    require_equal(
        "the gradient",
        result,
        right,
        {
            "twice too large: the two points lie 2 h apart": 2 * right,
            "half of it: divide by 2 h once": right / 2,
        },
        tolerance=1e-7,
    )
    require(np.array_equal(x, before), "x was changed: put each element back, or use a copy")


def check_complex_step(answer: ModuleType) -> None:
    x, direction = np.array([0.4, 1.5]), np.array([2.0, -1.0])

    def f(z: np.ndarray) -> complex:
        return (np.exp(z) * np.sin(z)).sum()

    right = (np.exp(x) * (np.sin(x) + np.cos(x)) * direction).sum()
    require_equal(
        "the slope along the direction",
        answer.slope(f, x, direction),
        right,
        {
            "that is the slope along (1, 1): use the direction": (
                np.exp(x) * (np.sin(x) + np.cos(x))
            ).sum(),
            "that is the value of f: the slope is in the imaginary part": f(x),
            "divide the imaginary part by the step": 0.0,
        },
        tolerance=1e-13,
    )
