"""Answer keys of the chapter on the loss."""

from types import ModuleType

import numpy as np

import minigrad as mg
from clip_np.losses import contrastive_loss
from examples.exercises.comparing import require_equal


def _pairs(count: int = 4) -> tuple[np.ndarray, np.ndarray, float]:
    """Features of images and captions, and a logit scale."""
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((2, count, 3))
    return images, texts, 0.7


def _value(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> float:
    return contrastive_loss(
        mg.tensor(images), mg.tensor(texts), mg.tensor(np.array(logit_scale))
    ).item()


def _softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    return mg.softmax(mg.tensor(logits), axis=axis).numpy()


def check_contrastive(answer: ModuleType) -> None:
    images, texts, logit_scale = _pairs()
    right = _value(images, texts, logit_scale)
    unit_images, unit_texts = (
        array / np.linalg.norm(array, axis=1, keepdims=True) for array in (images, texts)
    )
    logits = np.exp(logit_scale) * unit_images @ unit_texts.T
    one_way, other_way = (
        -np.log(np.diagonal(_softmax(logits, axis=axis))).mean() for axis in (1, 0)
    )
    unscaled = unit_images @ unit_texts.T
    log_scaled = logit_scale * unscaled
    not_unit = np.exp(logit_scale) * images @ texts.T

    def both_ways(x: np.ndarray) -> float:
        ways = [-np.log(np.diagonal(_softmax(x, axis=axis))).mean() for axis in (1, 0)]
        return sum(ways) / 2

    require_equal(
        "the loss",
        answer.clip_loss(images, texts, logit_scale),
        right,
        {
            "that is the half in which images choose; take the mean of both halves": one_way,
            "that is the half in which captions choose; the other half is missing": other_way,
            "that is the sum of both halves, and the loss is their mean": one_way + other_way,
            "features have any length; divide each by its length first": both_ways(not_unit),
            "logit_scale is a logarithm: multiply by exp(logit_scale)": both_ways(log_scaled),
            "the cosines are not multiplied by exp(logit_scale)": both_ways(unscaled),
        },
    )


def check_to_logits(answer: ModuleType) -> None:
    logits = np.random.default_rng(1).standard_normal((4, 4))
    p, q = _softmax(logits, axis=1), _softmax(logits, axis=0)
    eye = np.eye(4)
    right = (p + q - 2 * eye) / 8
    require_equal(
        "the gradient",
        answer.to_logits(logits),
        right,
        {
            "only the rows are there; each column is a choice as well": (p - eye) / 4,
            "the loss is a mean over 2 N choices: divide": p + q - 2 * eye,
            "divide by 2 N, not by N: the loss is the mean of two halves": 2 * right,
            "the right answers have to be pulled up: subtract 1 on the diagonal, once for the "
            "rows and once for the columns": (p + q) / 8,
        },
    )


def check_shards(answer: ModuleType) -> None:
    images, texts, logit_scale = _pairs(count=6)
    leaves = [mg.tensor(array, requires_grad=True) for array in (images, texts)]
    scale = mg.tensor(np.array(logit_scale), requires_grad=True)
    contrastive_loss(leaves[0], leaves[1], scale).backward()
    for shards in (1, 2, 3):
        result = answer.gradients(images, texts, logit_scale, shards)
        require_equal(f"for images, {shards} pieces", result[0], leaves[0].grad)
        require_equal(f"for captions, {shards} pieces", result[1], leaves[1].grad)
        require_equal(
            f"for the temperature, {shards} pieces",
            result[2],
            scale.grad,
            {
                "every piece computes the loss of the whole batch, so the gradient for the one "
                "temperature is counted once for each piece": shards * scale.grad
            },
        )
