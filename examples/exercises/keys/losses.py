"""Answer keys of the exercises on the loss."""

from collections.abc import Callable

import numpy as np

import minigrad as mg
from clip_np.losses import contrastive_loss
from examples.exercises.comparing import Near, require, require_parts
from examples.exercises.judging import Mistake, judge

SINGLE = Near(relative=1e-4, absolute=1e-4)  # float32 rounds logits of 100 by 1e-5
LOGIT = 100.0  # CLIP's largest; e^100 is more than float32 can hold

Features = tuple[np.ndarray, np.ndarray, float]
LossRun = Callable[[np.ndarray, np.ndarray, float], dict[str, float]]


def _pairs(count: int, size: int) -> dict[str, object]:
    """Features of images and captions, and a logit scale."""
    rng = np.random.default_rng(count)
    images, texts = rng.standard_normal((2, count, size))
    return {"images": images, "texts": texts, "logit_scale": 0.7}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    return mg.softmax(mg.tensor(logits), axis=axis).numpy()


def _halves(logits: np.ndarray) -> tuple[float, float]:
    """Both cross-entropies: images choose, captions choose."""
    images, texts = (-np.log(np.diagonal(_softmax(logits, axis=axis))).mean() for axis in (1, 0))
    return images, texts


def _loss(logits: Callable) -> LossRun:
    """The loss of logits(images, texts, logit_scale)."""
    return lambda images, texts, logit_scale: {
        "the loss": sum(_halves(logits(images, texts, logit_scale))) / 2
    }


def _of_halves(combine: Callable) -> LossRun:
    """combine(half of images, half of captions, N) for the right logits."""
    return lambda images, texts, logit_scale: {
        "the loss": combine(*_halves(_logits(images, texts, logit_scale)), len(images))
    }


def _logits(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> np.ndarray:
    return np.exp(logit_scale) * _unit(images) @ _unit(texts).T


def _right_loss(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> dict[str, float]:
    images, texts, scale = (
        mg.tensor(np.asarray(array, np.float64)) for array in (images, texts, logit_scale)
    )
    return {"the loss": contrastive_loss(images, texts, scale).item()}


LOSS_MISTAKES = [
    Mistake("that is the half in which images choose; take the mean of both halves",
            _of_halves(lambda images, texts, count: images)),
    Mistake("that is the half in which captions choose; the other half is missing",
            _of_halves(lambda images, texts, count: texts)),
    Mistake("that is the sum of both halves, and the loss is their mean",
            _of_halves(lambda images, texts, count: images + texts)),
    Mistake("that is the sum over the N pairs, and a cross-entropy is their mean",
            _of_halves(lambda images, texts, count: count * (images + texts) / 2)),
    Mistake("the sign is wrong: a cross-entropy is -ln p, and never negative",
            _of_halves(lambda images, texts, count: -(images + texts) / 2)),
    Mistake("features have any length; divide each by its length first",
            _loss(lambda images, texts, scale: np.exp(scale) * images @ texts.T)),
    Mistake("only the images' features are divided by their lengths",
            _loss(lambda images, texts, scale: np.exp(scale) * _unit(images) @ texts.T)),
    Mistake("only the captions' features are divided by their lengths",
            _loss(lambda images, texts, scale: np.exp(scale) * images @ _unit(texts).T)),
    Mistake("divide each row by the length of this row (axis=1), not all by that of the array",
            _loss(lambda images, texts, scale: np.exp(scale) * images @ texts.T
                  / (np.linalg.norm(images) * np.linalg.norm(texts)))),
    Mistake("divide each row by its length, not each column: axis=1",
            _loss(lambda images, texts, scale: np.exp(scale) * _unit(images.T).T @ _unit(texts.T))),
    Mistake("logit_scale is a logarithm: multiply by exp(logit_scale)",
            _loss(lambda images, texts, scale: scale * _unit(images) @ _unit(texts).T)),
    Mistake("the cosines are not multiplied by exp(logit_scale)",
            _loss(lambda images, texts, scale: _unit(images) @ _unit(texts).T)),
    Mistake("the cosines are divided by exp(logit_scale): multiply",
            _loss(lambda images, texts, scale: _logits(images, texts, -scale))),
]  # fmt: skip


def _require_finite(result: object) -> None:
    """Wrong if a result for large logits in float32 is infinite or NaN."""
    if result is not None:
        require(
            bool(np.isfinite(result).all()),
            f"for logits of {LOGIT:g} in float32, the result is infinite or NaN, because e^100 is "
            "more than float32 can hold: subtract the largest logit of each choice first",
        )


def check_contrastive(clip_loss: Callable) -> None:
    def answer(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> dict[str, float]:
        return {"the loss": clip_loss(images, texts, logit_scale)}

    def finite(images: np.ndarray, texts: np.ndarray, logit_scale: float) -> dict[str, float]:
        result = clip_loss(images, texts, logit_scale)
        _require_finite(result)
        return {"the loss": result}

    cases = {f"of {count} pairs": _pairs(count, size=3) for count in (4, 2)}
    judge(answer, _right_loss, cases, LOSS_MISTAKES)
    images = np.array([[3, 0], [0, 2], [-1, 0], [0, -1]], dtype=np.float32)
    large = {
        "images": images,
        "texts": images[[0, 1, 3, 2]],  # two captions stand for the wrong image
        "logit_scale": np.float32(np.log(LOGIT)),
    }
    judge(finite, _right_loss, {f"with logits of {LOGIT:g} in float32": large}, near=SINGLE)


def check_to_logits(to_logits: Callable) -> None:
    name = "the gradient"

    def of(combine: Callable) -> Callable:
        """combine(p by rows, p by columns, the unit matrix, N)."""

        def run(logits: np.ndarray) -> dict[str, np.ndarray]:
            logits = np.asarray(logits, np.float64)
            p, q = _softmax(logits, axis=1), _softmax(logits, axis=0)
            return {name: combine(p, q, np.eye(len(logits)), len(logits))}

        return run

    def finite(logits: np.ndarray) -> dict[str, np.ndarray]:
        result = to_logits(logits)
        _require_finite(result)
        return {name: result}

    right = of(lambda p, q, eye, count: (p + q - 2 * eye) / (2 * count))
    rng = np.random.default_rng(1)
    cases = {f"of {count} pairs": {"logits": rng.standard_normal((count, count))}
             for count in (4, 2)}  # fmt: skip
    mistakes = [
        Mistake(hint, of(combine))
        for hint, combine in [
            ("only the rows are there; each column is a choice as well",
             lambda p, q, eye, count: (p - eye) / count),
            ("only the rows are there, and divided by 2 N; each column is a choice as well",
             lambda p, q, eye, count: (p - eye) / (2 * count)),
            ("only the columns are there; each row is a choice as well",
             lambda p, q, eye, count: (q - eye) / count),
            ("the loss is a mean over 2 N choices: divide",
             lambda p, q, eye, count: p + q - 2 * eye),
            ("divide by 2 N, not by N: the loss is the mean of two halves",
             lambda p, q, eye, count: (p + q - 2 * eye) / count),
            ("divide by 2 N, not by 2: each half is a mean over N choices",
             lambda p, q, eye, count: (p + q - 2 * eye) / 2),
            ("the right answers have to be pulled up: subtract 1 on the diagonal, once for the "
             "rows and once for the columns", lambda p, q, eye, count: (p + q) / (2 * count)),
            ("subtract 1 on the diagonal twice, once for the rows and once for the columns",
             lambda p, q, eye, count: (p + q - eye) / (2 * count)),
            ("the sign is wrong: a right answer's logit has to rise, so its gradient is negative",
             lambda p, q, eye, count: -(p + q - 2 * eye) / (2 * count)),
        ]
    ]  # fmt: skip
    judge(lambda logits: {name: to_logits(logits)}, right, cases, mistakes)
    large = np.float32(LOGIT) * np.array([[1, -1, 0], [-1, -1, 1], [0, 0.5, 1]], np.float32)
    case = f"with logits of {LOGIT:g} in float32"
    judge(finite, right, {case: {"logits": large}}, near=SINGLE)


def check_shards(gradients: Callable) -> None:
    names = "the gradient for images", "the gradient for captions", "the gradient for logit_scale"

    def answer(
        images: np.ndarray, texts: np.ndarray, logit_scale: float, shards: int
    ) -> dict[str, np.ndarray]:
        result = gradients(images, texts, logit_scale, shards)
        to_images, to_texts, to_scale = require_parts(
            result, 3, "gradients must return three things: for images, texts and logit_scale"
        )
        return dict(zip(names, (to_images, to_texts, to_scale)))

    def right(
        images: np.ndarray, texts: np.ndarray, logit_scale: float, shards: int
    ) -> dict[str, np.ndarray]:
        leaves = [
            mg.tensor(np.asarray(array), requires_grad=True)
            for array in (images, texts, logit_scale)
        ]
        contrastive_loss(leaves[0], leaves[1], leaves[2]).backward()
        return dict(zip(names, [leaf.grad for leaf in leaves]))

    def times(factor: Callable, chosen: tuple[str, ...]) -> Callable:
        """The right gradients, but some are multiplied by a factor of the pieces."""

        def run(**inputs: object) -> dict[str, np.ndarray]:
            results = right(**inputs)
            return {name: factor(inputs["shards"]) * results[name] for name in chosen}

        return run

    pairs = _pairs(count=6, size=3)
    pieces = {1: "one piece", 2: "two pieces", 3: "three pieces"}
    cases = {words: {**pairs, "shards": shards} for shards, words in pieces.items()}
    mistakes = [
        Mistake("twice too large (and with three pieces, three times)",
                times(lambda shards: shards, names[2:])),
        Mistake("too small: this one was right before",
                times(lambda shards: 1 / shards, names[:1])),
        Mistake("it is halved in every case, and the number of pieces may be any",
                times(lambda shards: shards / 2, names[2:])),
    ]  # fmt: skip
    judge(answer, right, cases, mistakes)
