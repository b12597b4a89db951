"""Answer keys of the chapter on layers and optimizers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.exercises.comparing import require, require_parts
from examples.exercises.judging import Mistake, judge
from minigrad.plain_adamw import adamw_update

MEAN, SQUARE, PARAMETER = "the mean", "the square", "the parameter"
DEFAULTS = {"lr": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-2}


def _step(direction: Callable, decay: Callable = lambda p, lr, weight_decay: lr * weight_decay * p):
    """A wrong AdamW: a direction of means, divisors and eps, and a decay."""

    def run(
        p: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, step: int,
        options: Mapping[str, float],
    ) -> dict[str, np.ndarray]:  # fmt: skip
        all_options = {**DEFAULTS, **options}
        lr, b1, b2 = all_options["lr"], all_options["b1"], all_options["b2"]
        mean = b1 * mean + (1 - b1) * g
        square = b2 * square + (1 - b2) * g**2
        moved = lr * direction(mean, square, 1 - b1**step, 1 - b2**step, all_options["eps"])
        decayed = decay(p, lr, all_options["weight_decay"])
        return {MEAN: mean, SQUARE: square, PARAMETER: p - moved - decayed}

    return run


def _direction(mean: Any, square: Any, first: float, second: float, eps: float) -> Any:
    return mean / first / (np.sqrt(square / second) + eps)


def _right(
    p: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, step: int,
    options: Mapping[str, float],
) -> dict[str, np.ndarray]:  # fmt: skip
    chosen = {**DEFAULTS, **options}
    betas = chosen.pop("b1"), chosen.pop("b2")
    state = adamw_update(p, g, mean, square, step, betas=betas, **chosen)
    return {MEAN: state.mean, SQUARE: state.square, PARAMETER: state.parameter}


def _corrected_means(**inputs: Any) -> dict[str, np.ndarray]:
    chosen = {**DEFAULTS, **inputs["options"]}
    results = _right(**inputs)
    return {
        MEAN: results[MEAN] / (1 - chosen["b1"] ** inputs["step"]),
        SQUARE: results[SQUARE] / (1 - chosen["b2"] ** inputs["step"]),
    }


def _decay_in_gradient(**inputs: Any) -> dict[str, np.ndarray]:
    decay = {**DEFAULTS, **inputs["options"]}["weight_decay"]
    g = inputs["g"] + decay * inputs["p"]
    return _right(**{**inputs, "g": g, "options": {**inputs["options"], "weight_decay": 0.0}})


def _without_betas(**inputs: Any) -> dict[str, np.ndarray]:
    results = _right(**{**inputs, "options": {}})
    return {MEAN: results[MEAN], SQUARE: results[SQUARE]}


def _swapped(**inputs: Any) -> dict[str, np.ndarray]:
    results = _right(**inputs)
    return {MEAN: results[SQUARE], SQUARE: results[MEAN]}


ADAMW_MISTAKES = [
    Mistake("the weight decay belongs to the step, not to the gradient: that is the W of AdamW",
            _decay_in_gradient),
    Mistake("return the running mean as it is; the division by 1 - beta^n is for the step only",
            _corrected_means),
    Mistake("mean and square start at 0 and are too small at first: divide them by 1 - beta^step",
            _step(lambda mean, square, first, second, eps: mean / (np.sqrt(square) + eps))),
    Mistake("eps stands inside of the root: add it to the root",
            _step(lambda mean, square, first, second, eps:
                  mean / first / np.sqrt(square / second + eps))),
    Mistake("the step goes the wrong way",
            _step(lambda *inputs: -_direction(*inputs),
                  decay=lambda p, lr, weight_decay: -lr * weight_decay * p)),
    Mistake("the weight decay is missing", _step(_direction, decay=lambda *inputs: 0.0)),
    Mistake("the weight decay is not multiplied by lr",
            _step(_direction, decay=lambda p, lr, weight_decay: weight_decay * p)),
    Mistake("b1 and b2 are arguments: use them in place of 0.9 and 0.999", _without_betas),
    Mistake("the order is parameter, mean, square", _swapped),
]  # fmt: skip


def check_adamw(adamw: Callable) -> None:
    def answer(
        p: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, step: int,
        options: Mapping[str, float],
    ) -> dict[str, np.ndarray]:  # fmt: skip
        parameter, new_mean, new_square = require_parts(
            adamw(p, g, mean, square, step, **options),
            3,
            "adamw must return three arrays: parameter, mean and square",
        )
        return {MEAN: new_mean, SQUARE: new_square, PARAMETER: parameter}

    rng = np.random.default_rng(0)
    p, g, mean = rng.standard_normal((3, 5))
    first = {"p": p, "g": g, "mean": mean, "square": rng.uniform(0.1, 1.0, 5)}
    table = {name: array[:4].reshape(2, 2) for name, array in first.items()}
    other = {"lr": 0.5, "b1": 0.8, "b2": 0.9, "eps": 0.1, "weight_decay": 0.3}
    cases = {
        "after step 1": {**first, "step": 1, "options": {}},
        "after step 7": {**first, "step": 7, "options": {}},
        "with other options": {**table, "step": 2, "options": other},
    }
    judge(answer, _right, cases, ADAMW_MISTAKES)


def check_clip_norm(clip_norm: Callable) -> None:
    def scaled(factor: Callable) -> Callable:
        """A function that multiplies each array by factor(array, length, max_norm)."""

        def run(gradients: Sequence[np.ndarray], max_norm: float) -> dict[str, np.ndarray]:
            length = np.sqrt(sum((array**2).sum() for array in gradients))
            return {
                f"array {number}": array * factor(array, length, max_norm)
                for number, array in enumerate(gradients)
            }

        return run

    def answer(gradients: Sequence[np.ndarray], max_norm: float) -> dict[str, np.ndarray]:
        result = clip_norm(gradients, max_norm)
        require(result is not None, "nothing was returned. Is the function written?")
        require(
            len(result) == len(gradients),
            f"there were {len(gradients)} arrays, so there must be as many results",
        )
        return {f"array {number}": array for number, array in enumerate(result)}

    gradients = [np.array([3.0, 0.0]), np.array([[4.0], [12.0]])]  # of length 13 together
    three = [np.array([0.5, -2.0]), np.array(-1.0), np.array([[1.5, 0.25]])]
    cases = {
        f"max_norm {max_norm}": {"gradients": arrays, "max_norm": max_norm}
        for arrays, max_norm in ((gradients, 6.5), (gradients, 100.0), (three, 1.0))
    }
    mistakes = [
        Mistake(hint, scaled(factor))
        for hint, factor in [
            ("the arrays are one long gradient together: take the length over all of them",
             lambda array, length, limit: min(1.0, limit / np.linalg.norm(array))),
            ("a gradient that is short enough stays as it is",
             lambda array, length, limit: limit / length),
            ("the gradient is as long as before", lambda array, length, limit: 1.0),
            ("the gradient is too long and stayed as it is, or is short and was changed: turn the "
             "condition around",
             lambda array, length, limit: limit / length if length < limit else 1.0),
            ("that cuts single numbers, so the direction changes: one factor for all",
             lambda array, length, limit: np.clip(array, -limit, limit) / np.where(array, array, 1)
             ),
            ("the length is the root of the sum of squares",
             lambda array, length, limit: min(1.0, limit / length**2)),
        ]
    ]  # fmt: skip
    mistakes.append(
        Mistake(
            "the length is one root of all squares, not the sum of the arrays' lengths",
            lambda gradients, max_norm: {
                f"array {number}": array
                * min(1.0, max_norm / sum(np.linalg.norm(each) for each in gradients))
                for number, array in enumerate(gradients)
            },
        )
    )
    judge(answer, scaled(lambda array, length, limit: min(1.0, limit / length)), cases, mistakes)
