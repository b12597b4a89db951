"""Chapter 16: what is one layer of a transformer?

A sequence of T tokens, each a row of W numbers, passes through a stack of blocks. A block adds
two things to every row: what the token gathers from the others (attention), and what it makes
of it by itself (a two-layer perceptron):

    x = x + attn(ln_1(x))
    x = x + mlp(ln_2(x))

Normalising inside the branch ("pre-LN") leaves a straight path through the sums, along which
gradients reach the first block undiminished.

CLIP reads one row of the last block only: the class token of an image, the end token of a
caption. `Block.pooled` computes just that row. It looks at all tokens, but each of them is
normalised and no more: a twelfth of a block's work is left, or less.

Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745 (pre-LN).
"""

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TextConfig, VisionConfig
from minigrad.backend import Array
from minigrad.nn import LayerNorm, Linear, Module, ModuleList


class MultiHeadAttention(Module):
    """Attention of a sequence to itself, `heads` maps side by side: (B, T, W) -> (B, T, W).

    One projection in_proj (3*W, W) makes queries, keys and values, in this order.
    """

    def __init__(self, width: int, heads: int, layers: int, rng: np.random.Generator) -> None:
        self.heads = heads
        self.in_proj = Linear(width, 3 * width, rng, std=width**-0.5)
        self.out_proj = Linear(width, width, rng, std=width**-0.5 * (2 * layers) ** -0.5)

    def forward(self, x: mg.Tensor, mask: Array | str | None) -> mg.Tensor:
        return self.out_proj(mg.self_attention(self.in_proj(x), self.heads, mask))

    def pooled(self, rows: mg.Tensor, x: mg.Tensor, lengths: Array | None) -> mg.Tensor:
        """What `rows` (B, W), one of each sequence of x (B, T, W), gather: (B, W).

        lengths (B,) is how many tokens each row may see; None for all. One query stands against T
        keys and values, so the matrices change sides: q . (K x_j) = (K^T q) . x_j, and V follows
        the mixing. The keys' bias, the same for all scores of a query, is nothing to softmax.
        """
        batch, length, width = x.shape
        by_head = self.heads, width // self.heads, width
        q, k, v = mg.split(self.in_proj.weight, 3)  # (W, W) each
        q_bias, _, v_bias = mg.split(self.in_proj.bias, 3)  # (W,) each
        queries = mg.linear(rows, q, q_bias).reshape(batch, *by_head[:2])  # (B, H, D)
        queries = (queries.swapaxes(0, 1) @ k.reshape(*by_head)).swapaxes(0, 1)  # (B, H, W)
        visible = None if lengths is None else np.arange(length) < lengths[:, None, None]
        # `attention` divides by sqrt(W), a head by the root of its own width, W / H.
        mixed = mg.attention(queries * self.heads**0.5, x, x, visible)  # (B, H, W)
        mixed = mixed.swapaxes(0, 1) @ v.reshape(*by_head).swapaxes(1, 2)  # (H, B, D)
        return self.out_proj(mixed.swapaxes(0, 1).reshape(batch, width) + v_bias)  # (B, W)

    def weights(self, x: mg.Tensor) -> mg.Tensor:
        """How much each token looks at each other: (B, T, W) -> (B, heads, T, T), rows sum to 1."""
        batch, length, width = x.shape
        depth = width // self.heads
        qkv = self.in_proj(x).reshape(batch, length, 3, self.heads, depth)  # (B, T, 3, H, D)
        q, k, _ = (part[0] for part in mg.split(qkv.transpose((2, 0, 3, 1, 4)), 3))  # (B, H, T, D)
        return mg.softmax(q @ k.swapaxes(-1, -2) * depth**-0.5)  # (B, H, T, T)


class MLP(Module):
    """Two layers with an activation between: (..., W) -> (..., mlp_width) -> (..., W)."""

    def __init__(
        self, width: int, mlp_width: int, activation: str, layers: int, rng: np.random.Generator
    ) -> None:
        self.c_fc = Linear(width, mlp_width, rng, std=(2 * width) ** -0.5)
        self.c_proj = Linear(mlp_width, width, rng, std=width**-0.5 * (2 * layers) ** -0.5)
        self.activation = {"quick_gelu": mg.quick_gelu, "gelu": mg.gelu}[activation]

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(Module):
    """Attention and a perceptron, each added to what comes in: (B, T, W) -> (B, T, W).

    Initial numbers follow OpenAI's rule for the text encoder; using it for both encoders is a
    choice of ours. The projections back onto the straight path are made small by the number
    of layers that add to it.
    """

    def __init__(self, config: VisionConfig | TextConfig, rng: np.random.Generator) -> None:
        self.ln_1 = LayerNorm(config.width)
        self.attn = MultiHeadAttention(config.width, config.heads, config.layers, rng)
        self.ln_2 = LayerNorm(config.width)
        self.mlp = MLP(config.width, config.mlp_width, config.activation, config.layers, rng)

    def forward(self, x: mg.Tensor, mask: Array | str | None = None) -> mg.Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))

    def pooled(self, x: mg.Tensor, positions: Array, lengths: Array | None) -> mg.Tensor:
        """`forward` for one token of each sequence: its row at `positions` (B,) -> (B, W)."""
        batch, length, width = x.shape
        chosen = np.arange(batch) * length + positions  # (B,)
        normed = self.ln_1(x)
        rows = mg.take(x.reshape(batch * length, width), chosen)  # (B, W)
        normed_rows = mg.take(normed.reshape(batch * length, width), chosen)  # (B, W)
        rows = rows + self.attn.pooled(normed_rows, normed, lengths)
        return rows + self.mlp(self.ln_2(rows))


class Transformer(Module):
    """A stack of blocks of which one row of the last is used."""

    def __init__(self, config: VisionConfig | TextConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.resblocks = ModuleList([Block(config, rng) for _ in range(config.layers)])

    def pooled(
        self, x: mg.Tensor, positions: Array, mask: str | None = None, lengths: Array | None = None
    ) -> mg.Tensor:
        """x (B, T, W) -> the rows at `positions` (B,) after the last block, (B, W)."""
        *body, last = self.resblocks
        for block in body:
            x = block(x, mask)
        return last.pooled(x, positions, lengths)

    def cost(self, length: int) -> float:
        """Multiplications for one sample of `length` tokens, one row of the last block wanted."""
        whole_blocks = self.config.layers - 1
        return whole_blocks * block_cost(self.config, length) + pooled_cost(self.config, length)


def block_cost(config: VisionConfig | TextConfig, length: int) -> float:
    """Multiplications in a block for one sample of `length` tokens."""
    width, mlp_width = config.width, config.mlp_width
    return length * width * (4 * width + 2 * mlp_width + 2 * length)


def pooled_cost(config: VisionConfig | TextConfig, length: int) -> float:
    """Multiplications in a block of which one row is wanted: about block_cost / length."""
    width, mlp_width = config.width, config.mlp_width
    return width * (4 * width + 2 * mlp_width + 2 * config.heads * length)
