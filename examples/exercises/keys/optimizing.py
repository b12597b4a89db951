"""Answer keys of the chapter on layers and optimizers."""

from types import ModuleType

import numpy as np

from examples.exercises.comparing import require, require_equal
from minigrad.plain_adamw import adamw_update


def check_adamw(answer: ModuleType) -> None:
    rng = np.random.default_rng(0)
    parameter, gradient, mean = rng.standard_normal((3, 5))
    square = rng.uniform(0.1, 1.0, 5)
    for step in (1, 7):
        result = answer.adamw(parameter, gradient, mean, square, step=step)
        require(
            isinstance(result, tuple) and len(result) == 3,
            "adamw must return three arrays: parameter, mean and square",
        )
        right = adamw_update(parameter, gradient, mean, square, step=step)
        decayed_gradient = adamw_update(
            parameter, gradient + 1e-2 * parameter, mean, square, step=step, weight_decay=0.0
        )
        uncorrected = parameter - 1e-3 * (
            right.mean / (np.sqrt(right.square) + 1e-8) + 1e-2 * parameter
        )
        require_equal(
            f"the mean after step {step}",
            result[1],
            right.mean,
            {
                "the weight decay belongs to the step, not to the gradient: that is the W of "
                "AdamW": decayed_gradient.mean
            },
        )
        require_equal(f"the square after step {step}", result[2], right.square)
        require_equal(
            f"the parameter after step {step}",
            result[0],
            right.parameter,
            {
                "mean and square start at 0 and are too small at first: divide them by "
                "1 - beta^step": uncorrected,
                "the step goes the wrong way": 2 * parameter - right.parameter,
            },
        )


def check_clip_norm(answer: ModuleType) -> None:
    gradients = [np.array([3.0, 0.0]), np.array([[4.0], [12.0]])]  # of length 13 together
    for max_norm, factor in ((6.5, 0.5), (100.0, 1.0)):
        result = answer.clip_norm([array.copy() for array in gradients], max_norm)
        require(result is not None, "nothing was returned. Is the function written?")
        require(len(result) == 2, "there were two arrays, so there must be two results")
        for number, (array, shortened) in enumerate(zip(gradients, result)):
            alone = array * min(1.0, max_norm / np.linalg.norm(array))
            require_equal(
                f"array {number}, with max_norm {max_norm}",
                shortened,
                array * factor,
                {
                    "the arrays are one long gradient together: take the length over all of "
                    "them": alone,
                    "a gradient that is short enough stays as it is": array * max_norm / 13,
                },
            )
