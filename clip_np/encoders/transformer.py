"""What is one layer of a transformer?

A sequence of T tokens, each a row of W numbers, passes through a stack of *blocks*. A
block adds two things to every row: what the token gathers from the other tokens
(attention), and what it makes of that by itself (a perceptron of two layers):

    x = x + attn(ln_1(x))
    x = x + mlp(ln_2(x))

*Attention.* Each token asks a question, offers an answer to others, and says which
questions its answer is for. These three are linear maps of its row: the query q, the
value v and the key k. The score of two tokens is the product of one's query with the
other's key. A softmax over the scores turns them into probabilities, and the token
receives the mixture of all values:

    q_i = Q x_i + b_Q       k_j = K x_j + b_K       v_j = V x_j + b_V
    p_ij = softmax over j of (q_i . k_j / sqrt(D))
    o_i = sum over j of p_ij v_j

A mask may be added to the scores: 0 where token i may look at token j, and -infinity
where it may not, which makes p_ij 0. A causal mask lets a token look at itself and at
the tokens before it.

This is done H times in parallel, in *heads* with different matrices. Each head works
with D = W / H numbers; the H results are put side by side and mixed by one more matrix.
A sum of D products of independent numbers with mean 0 and variance 1 has variance D,
since each product has variance 1, and variances add up. Dividing by sqrt(D) brings it
back to 1, so that the softmax starts out neither flat nor certain.

*The perceptron* widens a row to mlp_width numbers, bends them with an activation, and
narrows them again.

The two sums are *residual connections*. Normalising inside the two branches ("pre-LN")
leaves a straight path through the sums, along which gradients reach the first block
undiminished.

*Positions.* Attention does not see the order of its tokens. Here the encoders add a
learned row for each position before the first block. Rotary positions would work
differently: between in_proj and the scores, they would rotate q and k in each head by
an angle that grows with the position. The added rows would be dropped. This would break
three things: the published layouts, which hold these rows; the fused
`mg.self_attention`, which reads Q and K straight from in_proj; and the way in which
pooled.py avoids the keys, because one vector K^T q could no longer serve all tokens.

Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762; Xiong et al. 2020,
arXiv:2002.04745 (pre-LN).
"""

import math
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TransformerConfig
from minigrad.backend import Array, move
from minigrad.nn import LayerNorm, Linear, Module, ModuleList


class InitialSpread(NamedTuple):
    """The standard deviations of a block's initial weights, layer by layer."""

    in_proj: float
    out_proj: float
    c_fc: float
    c_proj: float


def openai_spread(config: TransformerConfig) -> InitialSpread:
    """OpenAI's rule for a block of the text encoder; `Block` says what it means.

    >>> from clip_np.encoders import TextConfig
    >>> config = TextConfig(100, context_length=8, width=64, layers=2, heads=2)
    >>> openai_spread(config).out_proj
    0.0625
    """
    last = config.width**-0.5 * (2 * config.layers) ** -0.5
    return InitialSpread(
        in_proj=config.width**-0.5, out_proj=last, c_fc=(2 * config.width) ** -0.5, c_proj=last
    )


class MultiHeadAttention(Module):
    """Attention of a sequence to itself: (B, T, W) -> (B, T, W).

    One projection, in_proj, makes queries, keys and values. The rows of its weight
    (3*W, W) are the rows of Q, K and V, in this order.
    """

    def __init__(
        self, width: int, heads: int, spread: InitialSpread, rng: np.random.Generator | None
    ) -> None:
        self.heads = heads
        self.in_proj = Linear(width, 3 * width, rng, std=spread.in_proj)
        self.out_proj = Linear(width, width, rng, std=spread.out_proj)

    def forward(
        self,
        x: mg.Tensor,
        mask: Array | str | None = None,
        residual: mg.Tensor | None = None,
        lengths: Array | None = None,
    ) -> mg.Tensor:
        """What the tokens gather, added to `residual` (B, T, W) if there is one.

        With lengths, x and residual (N, W) are packed (packing.py).
        """
        qkv = self.in_proj(x)  # (B, T, 3*W) or (N, 3*W)
        return self.out_proj(mg.self_attention(qkv, self.heads, mask, lengths), residual)

    def probabilities(self, x: mg.Tensor, visible: Array | None = None) -> mg.Tensor:
        """p_ij, how much token i looks at token j: (B, T, W) -> (B, H, T, T).

        visible, booleans that broadcast to this shape, says which tokens may be looked
        at: p_ij is 0 for the others. None means all.
        """
        qkv = self._by_heads(x)  # (3, B, H, T, D)
        queries = qkv[0]  # (B, H, T, D)
        keys = qkv[1]  # (B, H, T, D)
        depth = keys.shape[-1]
        scores = queries @ keys.swapaxes(-1, -2) * depth**-0.5  # (B, H, T, T)
        if visible is not None:
            scores = mg.where(move(visible, x.backend), scores, -math.inf)
        return mg.softmax(scores)

    def mix(self, probabilities: mg.Tensor, x: mg.Tensor) -> mg.Tensor:
        """What tokens gather with these p_ij: (B, H, T, T), (B, T, W) -> (B, T, W).

        `mix(probabilities(x), x)` is the plain form of `forward(x)`. The probabilities
        are then on the tape, so that a gradient with respect to them can be asked for.
        """
        values = self._by_heads(x)[2]  # (B, H, T, D)
        mixtures = (probabilities @ values).swapaxes(1, 2)  # (B, T, H, D)
        return self.out_proj(mixtures.reshape(x.shape))

    def _by_heads(self, x: mg.Tensor) -> mg.Tensor:
        """Queries, keys and values, cut into heads: (B, T, W) -> (3, B, H, T, D)."""
        batch, length, width = x.shape
        depth = width // self.heads
        qkv = self.in_proj(x).reshape(batch, length, 3, self.heads, depth)  # (B, T, 3, H, D)
        return qkv.transpose((2, 0, 3, 1, 4))


class MLP(Module):
    """Two layers with an activation between: (..., W) -> (..., W)."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        activation: str,
        spread: InitialSpread,
        rng: np.random.Generator | None,
    ) -> None:
        self.c_fc = Linear(width, mlp_width, rng, std=spread.c_fc)
        self.c_proj = Linear(mlp_width, width, rng, std=spread.c_proj)
        self.activation = {"quick_gelu": mg.quick_gelu, "gelu": mg.gelu}[activation]

    def forward(self, x: mg.Tensor, residual: mg.Tensor | None = None) -> mg.Tensor:
        """The result, added to `residual` (..., W) if there is one."""
        return self.c_proj(self.activation(self.c_fc(x)), residual)


class Block(Module):
    """Attention and a perceptron, each added to what comes in: (B, T, W) -> (B, T, W).

    With lengths, the rows of x are packed (packing.py): (N, W) -> (N, W).

    Names and initial weights are OpenAI's. Their rule for the text encoder serves both
    encoders here, which is a choice of this project. Weights are normal with these
    standard deviations, in a stack of L blocks:

        in_proj    1/sqrt(W)                c_fc      1/sqrt(2 W)
        out_proj   1/sqrt(2 L W)            c_proj    1/sqrt(2 L W)

    With 1/sqrt(W), a sum of W terms is as large as one of its inputs. 2L branches add
    to the straight path, so each branch ends in a projection that is smaller by the
    factor 1/sqrt(2L): the sum of 2L independent numbers has 2L times their variance.
    The numbers of c_fc and c_proj do not follow from this reasoning (c_proj sums
    mlp_width terms, not W). They are OpenAI's, and are used as they are.

    >>> from clip_np.encoders import PRESETS
    >>> block = Block(PRESETS["tiny"].vision, np.random.default_rng(0))
    >>> block(mg.tensor(np.zeros((2, 17, 64), np.float32))).shape
    (2, 17, 64)
    """

    def __init__(self, config: TransformerConfig, rng: np.random.Generator | None) -> None:
        spread = openai_spread(config)
        self.ln_1 = LayerNorm(config.width)
        self.attn = MultiHeadAttention(config.width, config.heads, spread, rng)
        self.ln_2 = LayerNorm(config.width)
        self.mlp = MLP(config.width, config.mlp_width, config.activation, spread, rng)

    def forward(
        self, x: mg.Tensor, mask: Array | str | None = None, lengths: Array | None = None
    ) -> mg.Tensor:
        # x + attn(ln_1(x)), then x + mlp(ln_2(x)): their last layers add x
        x = self.attn(self.ln_1(x), mask, residual=x, lengths=lengths)
        return self.mlp(self.ln_2(x), residual=x)


class Transformer(Module):
    """A stack of blocks: (B, T, W) -> (B, T, W)."""

    def __init__(self, config: TransformerConfig, rng: np.random.Generator | None) -> None:
        self.resblocks = ModuleList([Block(config, rng) for _ in range(config.layers)])

    def forward(self, x: mg.Tensor, mask: Array | str | None = None) -> mg.Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


def block_cost(config: TransformerConfig, length: int) -> int:
    """The multiplications in one block for a sequence of `length` tokens.

    For each token these are

        3 W^2 + W^2        in_proj and out_proj
        2 W mlp_width      the perceptron
        2 W length         a score with each token, and its share in the mixture

    >>> from clip_np.encoders import TextConfig
    >>> config = TextConfig(100, context_length=8, width=10, layers=1, heads=2)
    >>> block_cost(config, length=8)
    10880
    """
    width = config.width
    projections = 4 * width**2
    perceptron = 2 * width * config.mlp_width
    mixture = 2 * width * length
    return length * (projections + perceptron + mixture)
