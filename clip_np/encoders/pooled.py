"""What is left of the last block, if only one row of its result is read?

CLIP reads one row of what its transformer computes: the class token of an image, the
end token of a caption. In the last block, the other T - 1 rows are computed for nobody.
The chosen row needs one query, one row of attention and one pass through the
perceptron. But it seems to need the keys and values of all T tokens, 2 T W^2
multiplications, which is most of what remains. These can be avoided, too.

*The keys.* With a single query q, the score of token j is

    q . k_j = q . (K x_j + b_K) = (K^T q) . x_j + q . b_K

On the left, K is applied to T tokens; on the right, K^T is applied to one query. The
last term is the same for every j. A softmax does not change when all scores grow by the
same number, so the bias b_K drops out.

*The values.* The mixture of the values is the value of the mixture, as probabilities
sum to 1:

    sum of p_j v_j = sum of p_j (V x_j + b_V) = V (sum of p_j x_j) + b_V

So each head needs one query of width W, K^T q, and the tokens x themselves serve as its
keys and as its values. This is what `mg.attention` computes, with H heads where there
usually are T tokens:

    queries (B, H, W),  keys = values = x (B, T, W)   ->   mixtures (B, H, W)

Its scale needs a correction. It divides scores by the root of the width of its queries,
sqrt(W). A head divides by sqrt(D), and W = H D, so the queries are multiplied by
sqrt(H) beforehand.

What remains is 4 W^2 + 2 W mlp_width for the row, and 2 H W for each token. Compared
with the whole block (`block_cost`), that is about one part in T.
"""

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TransformerConfig
from clip_np.encoders.packing import Packing
from clip_np.encoders.transformer import Block, MultiHeadAttention, Transformer, block_cost
from minigrad.backend import Array


def pick_rows(x: mg.Tensor, positions: Array) -> mg.Tensor:
    """One token of each sequence, the one at `positions` (B,): (B, T, W) -> (B, W).

    >>> x = mg.tensor(np.arange(6.0).reshape(2, 3, 1))
    >>> pick_rows(x, np.array([0, 2])).data
    array([[0.],
           [5.]])
    """
    batch, length, width = x.shape
    rows = np.arange(batch) * length + positions  # (B,)
    return mg.take(x.reshape(batch * length, width), rows)  # (B, W)


def pooled_attention(
    attention: MultiHeadAttention, rows: mg.Tensor, x: mg.Tensor, visible: Array | None
) -> mg.Tensor:
    """What `rows` (B, W), one token of each sequence of x (B, T, W), gather: (B, W).

    visible (B, 1, T), boolean, says which tokens each row may see. None means all.
    """
    batch, _, width = x.shape
    heads = attention.heads
    depth = width // heads
    q_weight, k_weight, v_weight = mg.split(attention.in_proj.weight, 3)  # (W, W) each
    q_bias, _, v_bias = mg.split(attention.in_proj.bias, 3)  # (W,) each
    k_by_head = k_weight.reshape(heads, depth, width)  # (H, D, W)
    v_by_head = v_weight.reshape(heads, depth, width)  # (H, D, W)

    # K^T q, head by head.
    queries = mg.linear(rows, q_weight, q_bias).reshape(batch, heads, depth)  # (B, H, D)
    queries = queries.swapaxes(0, 1) @ k_by_head  # (H, B, D) @ (H, D, W) -> (H, B, W)
    queries = queries.swapaxes(0, 1) * heads**0.5  # (B, H, W)

    # sum of p_j x_j, then V, then b_V.
    mixtures = mg.attention(queries, x, x, visible)  # (B, H, W)
    values = mixtures.swapaxes(0, 1) @ v_by_head.swapaxes(1, 2)  # (H, B, D)
    values = values.swapaxes(0, 1).reshape(batch, width) + v_bias  # (B, W)
    return attention.out_proj(values)


def pooled_block(
    block: Block, x: mg.Tensor, positions: Array, mask: str | None = None
) -> mg.Tensor:
    """The fast form of `pick_rows(block(x, mask), positions)`: (B, T, W) -> (B, W).

    mask is None or "causal": the row at position t then sees the tokens 0 to t.

    >>> from clip_np.encoders import PRESETS
    >>> rng = np.random.default_rng(0)
    >>> block = Block(PRESETS["tiny"].text, rng)
    >>> x = mg.tensor(rng.standard_normal((2, 5, 64), dtype=np.float32))
    >>> ends = np.array([4, 2])
    >>> fast = pooled_block(block, x, ends, mask="causal")
    >>> plain = pick_rows(block(x, mask="causal"), ends)
    >>> fast.shape, np.allclose(fast.data, plain.data, atol=1e-5)
    ((2, 64), True)
    """
    length = x.shape[1]
    visible = None
    if mask == "causal":
        visible = np.arange(length) <= positions[:, None, None]  # (B, 1, T)
    normed = block.ln_1(x)  # (B, T, W)
    rows = pick_rows(x, positions)  # (B, W)
    normed_rows = pick_rows(normed, positions)  # (B, W)
    return _finished_rows(block, rows, normed_rows, normed, visible)


def packed_pooled_block(block: Block, x: mg.Tensor, packing: Packing) -> mg.Tensor:
    """`pooled_block` for the last tokens of packed captions: (N, W) -> (B, W).

    The last token sees all others of its caption, with a causal mask and without.
    """
    normed = block.ln_1(x)  # (N, W)
    rows = mg.take(x, packing.ends)  # (B, W)
    normed_rows = mg.take(normed, packing.ends)  # (B, W)
    tokens = mg.padded(normed, packing.lengths)  # (B, T, W)
    visible = packing.visible[:, None, :]  # (B, 1, T)
    return _finished_rows(block, rows, normed_rows, tokens, visible)


def _finished_rows(
    block: Block, rows: mg.Tensor, normed_rows: mg.Tensor, tokens: mg.Tensor, visible: Array | None
) -> mg.Tensor:
    """What a block makes of some rows (B, W), which look at tokens (B, T, W): (B, W).

    normed_rows and tokens have passed the block's first norm.
    """
    # x + attn(ln_1(x)), then x + mlp(ln_2(x))
    rows = rows + pooled_attention(block.attn, normed_rows, tokens, visible)
    return rows + block.mlp(block.ln_2(rows))


def pooled_transformer(
    transformer: Transformer, x: mg.Tensor, positions: Array, mask: str | None = None
) -> mg.Tensor:
    """The fast form of `pick_rows(transformer(x, mask), positions)`: -> (B, W)."""
    *whole_blocks, last_block = transformer.resblocks
    for block in whole_blocks:
        x = block(x, mask)
    return pooled_block(last_block, x, positions, mask)


def packed_pooled_transformer(
    transformer: Transformer, x: mg.Tensor, packing: Packing, mask: str | None = None
) -> mg.Tensor:
    """`pooled_transformer` for the last tokens of packed captions: (N, W) -> (B, W)."""
    *whole_blocks, last_block = transformer.resblocks
    for block in whole_blocks:
        x = block(x, mask, packing.lengths)
    return packed_pooled_block(last_block, x, packing)


def pooled_cost(config: TransformerConfig, length: int) -> int:
    """The multiplications in `pooled_transformer` for a sequence of `length` tokens.

    >>> from clip_np.encoders import PRESETS
    >>> config = PRESETS["ViT-B/32"].vision
    >>> blocks = pooled_cost(config, length=50) / block_cost(config, length=50)
    >>> round(blocks, 2)  # instead of 12
    11.02
    """
    width = config.width
    row = 4 * width**2 + 2 * width * config.mlp_width
    tokens = 2 * config.heads * width * length
    return (config.layers - 1) * block_cost(config, length) + row + tokens
