"""Which exercises are there, and to which chapter does each belong?

The chapters are those of docs/reading_order.md. `read` names the file of the chapter
that explains what an exercise needs; it often holds a faster form of the answer, too.
"""

from collections.abc import Callable
from typing import NamedTuple

from examples.exercises.keys import (
    checking,
    encoders,
    engine,
    graphs,
    losses,
    measuring,
    optimizing,
    tokens,
)

ENGINE = "The engine: how a program knows its own derivative"
OPTIMIZING = "Layers, optimizers, cores"
CHECKING = "Is it right, and what does it do?"
TOKENS = "A caption becomes numbers"
ENCODERS = "An image and a caption become vectors, and vectors a loss"
MEASURING = "How good is a model?"
TRAINING = "A loss becomes a step, and steps become a run"

# Here `read` holds the whole answer: it is for afterwards.
HOLDS_THE_ANSWER = ("unbroadcast", "adamw", "clip_norm", "shards", "zero_shot")


class Exercise(NamedTuple):
    """One exercise.

    check raises `Wrong` for an answer, a function, that is not right. Its parameter has
    the name of this function.
    """

    number: int
    name: str
    chapter: str
    title: str
    read: str
    check: Callable[[Callable], None]

    @property
    def reading(self) -> str:
        """Where to read, and when, as a line of the text."""
        holds_it = self.name.endswith(HOLDS_THE_ANSWER)
        return f"{'Compare afterwards with' if holds_it else 'Read'}: {self.read}"


def _catalogue() -> tuple[Exercise, ...]:
    """The exercises, in the order of the book."""
    rows = [
        (ENGINE, "softplus", "write the vjp of softplus",
         "minigrad/ops/elementary.py", engine.check_softplus),
        (ENGINE, "unbroadcast", "sum a gradient back to a shape",
         "minigrad/ops/basic.py", engine.check_unbroadcast),
        (ENGINE, "matmul", "the derivatives of a product of matrices",
         "minigrad/ops/linear.py", engine.check_matmul),
        (ENGINE, "logsumexp", "a logsumexp that does not overflow",
         "minigrad/ops/probabilities.py", engine.check_logsumexp),
        (ENGINE, "backward", "walk back through a graph that branches",
         "minigrad/tape.py", graphs.check_backward),
        (ENGINE, "layer_norm", "find the planted mistake in layer_norm",
         "minigrad/plain.py", engine.check_layer_norm),
        (OPTIMIZING, "adamw", "one step of AdamW",
         "minigrad/plain_adamw.py", optimizing.check_adamw),
        (OPTIMIZING, "clip_norm", "shorten a gradient that is too long",
         "minigrad/clipping.py", optimizing.check_clip_norm),
        (CHECKING, "central", "measure a gradient by central differences",
         "minigrad/checking/numeric.py", checking.check_central),
        (CHECKING, "complex_step", "measure a slope by a complex step",
         "minigrad/checking/complex_step.py", checking.check_complex_step),
        (TOKENS, "merge", "learn one merge of byte-pair encoding",
         "clip_np/tokens/plain.py", tokens.check_merge),
        (TOKENS, "longest_first", "cut a word into its longest pieces",
         "clip_np/tokens/wordpiece.py", tokens.check_longest_first),
        (ENCODERS, "patches", "cut images into patches",
         "clip_np/encoders/vit.py", encoders.check_patches),
        (ENCODERS, "window", "make attention use a window",
         "clip_np/encoders/transformer.py", encoders.check_window),
        (ENCODERS, "end_token", "read the token that ends a caption",
         "clip_np/encoders/text.py", encoders.check_end_token),
        (ENCODERS, "contrastive", "the loss of CLIP",
         "clip_np/losses/contrastive.py", losses.check_contrastive),
        (ENCODERS, "to_logits", "the gradient of the loss for its logits",
         "clip_np/losses/contrastive.py", losses.check_to_logits),
        (MEASURING, "recall", "recall at k, with ties",
         "clip_np/evaluation/metrics.py", measuring.check_recall),
        (MEASURING, "zero_shot", "classes from sentences",
         "clip_np/evaluation/zero_shot.py", measuring.check_zero_shot),
        (TRAINING, "shards", "find the planted mistake in a batch of two pieces",
         "clip_np/training/batch_gradient.py", losses.check_shards),
    ]  # fmt: skip
    return tuple(
        Exercise(number, f"exercise_{number:02}_{name}", chapter, title, read, check)
        for number, (chapter, name, title, read, check) in enumerate(rows, 1)
    )


CATALOGUE = _catalogue()


def exercise(number: int) -> Exercise:
    """The exercise of a number. KeyError if there is none."""
    for entry in CATALOGUE:
        if entry.number == number:
            return entry
    raise KeyError(f"there is no exercise {number}; they are numbered 1 to {len(CATALOGUE)}")
