"""What does the rest of the program need to know of an encoder?

An encoder turns a batch of B samples, images or captions, into B vectors of the same
width. Four questions are enough to train with it, whatever is inside:

    encoder(inputs)             the vectors, (B, E)
    encoder.lengths(inputs)     how many tokens of each sample pass through it, (B,)
    encoder.cost(length)        how much work one sample of that length is
    encoder.mixes_samples()     whether a vector depends on the samples beside it

The last three exist because a training step cuts the batch into pieces of equal work,
one for each core. Every image has the same number of tokens. A caption of five words
has fewer than one of fifty, and is less work. An encoder that mixes samples cannot be
cut: it would encode a half batch as another whole. Batch norms do this while they
train.

`CLIP.encoders` is the one mapping of names to encoders, {"vision": ..., "text": ...}.
"""

from collections.abc import Iterator
from typing import Protocol

import minigrad as mg
from minigrad.backend import Array
from minigrad.nn import Parameter


class Encoder(Protocol):
    """What the two encoders have in common. Any `Module` with these methods is one."""

    def __call__(self, inputs: Array | mg.Tensor, /) -> mg.Tensor:
        """The features (B, E) of B samples, not normalised."""
        ...

    def parameters(self) -> list[Parameter]:
        """Every parameter once, as in `minigrad.nn.Module`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The same with their paths, as in `minigrad.nn.Module`."""
        ...

    def mixes_samples(self) -> bool:
        """Whether a sample's features depend on the other samples of its batch.

        As in `minigrad.nn.Module`.
        """
        ...

    def lengths(self, inputs: Array) -> Array:
        """How many tokens of each sample pass through the encoder: (B,) integers."""
        ...

    def cost(self, length: int) -> float:
        """The multiplications for one sample of `length` tokens, up to a common factor.

        Costs of different encoders can be compared and added. They are estimates for
        sharing out work, so small terms may be left out.
        """
        ...


def is_frozen(encoder: Encoder) -> bool:
    """Whether an encoder keeps its weights: no parameter of it requires a gradient.

    >>> from minigrad.nn import Linear
    >>> layer = Linear(2, 3, rng=None)
    >>> for parameter in layer.parameters():
    ...     parameter.requires_grad = False
    >>> is_frozen(layer)
    True
    """
    return not any(parameter.requires_grad for _, parameter in encoder.named_parameters())
