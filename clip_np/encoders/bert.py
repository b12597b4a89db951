"""How does a transformer that sees both directions make a vector of a caption?

    tokens (B, T)        [CLS] a red circle [SEP] [PAD] [PAD]
    embedding            token row + position row + segment row, then a layer norm
    L blocks             every token looks at every token that is no padding
    pooling              the mean of these tokens, or the first row, [CLS]: (B, W)
    text_projection      (B, W) -> (B, E)

In GPT (text.py) a token sees those before it, so that the next word can be predicted.
BERT was trained to fill gaps, for which a token may look ahead as well. So there is no
causal mask. But then padding has to be hidden from every token: a column of the
attention scores is -inf where a row has ended.

*The block* is the first one that was published, "post-LN": what a branch adds is
normalised together with what it is added to,

    x = ln_1(x + attn(x))
    x = ln_2(x + mlp(x))

*Segments.* BERT was also trained on pairs of sentences, and a learned row says to which
of the two a token belongs. A caption is one sentence, so its tokens all have row 0.

*Which vector stands for the caption?* For "cls" it is the row of the first token, and
then the last block computes no other row (pooled.py). For "mean" it is the mean of the
rows up to the last token that is no padding, which suits sentences better: Reimers and
Gurevych 2019, "Sentence-BERT", arXiv:1908.10084, table 6.

`plain_forward` computes all rows of all columns. `forward` leaves out the padding
(packing.py), and for "cls" the rows that nobody reads.

Devlin et al. 2018, "BERT", arXiv:1810.04805.
"""

from collections.abc import Iterator

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TextConfig
from clip_np.encoders.packing import pack
from clip_np.encoders.pooled import pick_rows, pooled_attention, pooled_cost
from clip_np.encoders.shapes import ParameterShape, block_shapes, norm_shapes
from clip_np.encoders.token_ids import checked_ids
from clip_np.encoders.transformer import MLP, InitialSpread, MultiHeadAttention, block_cost
from minigrad.backend import Array, move, on_host
from minigrad.nn import Embedding, LayerNorm, Module, ModuleList, Parameter, normal

INITIAL_STD = 0.02  # of all weights, as in BERT's code; biases start at 0
BERT_SPREAD = InitialSpread(
    in_proj=INITIAL_STD, out_proj=INITIAL_STD, c_fc=INITIAL_STD, c_proj=INITIAL_STD
)
ONE_SEGMENT = 0  # the row of the segment table for all tokens of a caption


class PostNormBlock(Module):
    """Attention and a perceptron, normalised after each sum: (B, T, W) -> (B, T, W).

    With lengths, the rows of x are packed (packing.py): (N, W) -> (N, W).
    """

    def __init__(self, config: TextConfig, rng: np.random.Generator | None) -> None:
        width = config.width
        self.attn = MultiHeadAttention(width, config.heads, BERT_SPREAD, rng)
        self.ln_1 = bert_norm(config)
        self.mlp = MLP(width, config.mlp_width, config.activation, BERT_SPREAD, rng)
        self.ln_2 = bert_norm(config)

    def forward(
        self, x: mg.Tensor, mask: Array | None = None, lengths: Array | None = None
    ) -> mg.Tensor:
        x = self.ln_1(x + self.attn(x, mask, lengths=lengths))
        return self.ln_2(x + self.mlp(x))

    def first_rows(self, x: mg.Tensor, visible: Array) -> mg.Tensor:
        """The fast form of `forward(x, mask)[:, 0]`: (B, T, W) -> (B, W).

        visible (B, 1, T) says which tokens may be looked at.
        """
        rows = pick_rows(x, np.zeros(len(x), np.int64))  # (B, W)
        rows = self.ln_1(rows + pooled_attention(self.attn, rows, x, visible))
        return self.ln_2(rows + self.mlp(rows))


class PostNormTransformer(Module):
    """A stack of post-LN blocks."""

    def __init__(self, config: TextConfig, rng: np.random.Generator | None) -> None:
        self.resblocks = ModuleList([PostNormBlock(config, rng) for _ in range(config.layers)])


class BertEncoder(Module):
    """Token ids (B, T) -> features (B, embed_dim).

    With None for embed_dim there is no projection, and the features are the pooled rows
    (B, width), as in published sentence encoders.

    >>> config = TextConfig(9, 4, width=8, layers=2, heads=2, kind="bert")
    >>> encoder = BertEncoder(config, embed_dim=3, rng=np.random.default_rng(0))
    >>> encoder(np.array([[2, 5, 3, 0], [2, 5, 6, 3]])).shape
    (2, 3)
    """

    def __init__(
        self, config: TextConfig, embed_dim: int | None, rng: np.random.Generator | None
    ) -> None:
        self.config = config
        width = config.width
        self.token_embedding = Embedding(config.vocab_size, width, rng, std=INITIAL_STD)
        self.positional_embedding = normal(rng, (config.context_length, width), INITIAL_STD)
        self.segment_embedding = normal(rng, (segment_count(config), width), INITIAL_STD)
        self.ln_embedding = bert_norm(config)
        self.transformer = PostNormTransformer(config, rng)
        self.text_projection: Parameter | None = None
        if embed_dim is not None:
            self.text_projection = normal(rng, (width, embed_dim), width**-0.5)

    @staticmethod
    def shapes(config: TextConfig, embed_dim: int | None) -> Iterator[ParameterShape]:
        """The names and shapes of the parameters, without making them."""
        width = config.width
        yield ParameterShape("token_embedding.weight", (config.vocab_size, width))
        yield ParameterShape("positional_embedding", (config.context_length, width))
        yield ParameterShape("segment_embedding", (segment_count(config), width))
        yield from norm_shapes("ln_embedding", width)
        if embed_dim is not None:
            yield ParameterShape("text_projection", (width, embed_dim))
        yield from block_shapes(config)

    def lengths(self, inputs: Array) -> Array:
        """The tokens up to the last one that is no padding: (B, T) -> (B,).

        A padding token between words counts as a word, as in the library transformers.

        >>> config = TextConfig(9, 4, width=8, layers=2, heads=2, kind="bert")
        >>> encoder = BertEncoder(config, embed_dim=3, rng=None)
        >>> encoder.lengths(np.array([[2, 5, 3, 0], [2, 0, 6, 3]]))
        array([3, 4])
        """
        is_token = inputs != self.config.pad_token_id  # (B, T)
        counts = np.arange(1, inputs.shape[1] + 1)  # (T,), tokens up to a column
        return (is_token * counts).max(axis=1, initial=0)  # (B,)

    def plain_forward(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """The features as the papers define them. `forward` is faster and equal."""
        ids = self._checked(tokens)  # (B, T)
        visible = np.arange(ids.shape[1]) < self.lengths(ids)[:, None]  # (B, T)
        x = self._embed(ids, np.arange(ids.shape[1]))  # (B, T, W)
        for block in self.transformer.resblocks:
            x = block(x, visible[:, None, None, :])  # the same keys for all heads and queries
        return self._project(self._pool(x, visible))  # (B, E)

    def forward(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """The fast form of `plain_forward`."""
        ids = self._checked(tokens)  # (B, T)
        is_packed = on_host(self.positional_embedding.data)
        rows = self._packed_rows(ids) if is_packed else self._padded_rows(ids)  # (B, W)
        return self._project(rows)  # (B, E)

    def _packed_rows(self, ids: Array) -> mg.Tensor:
        """The pooled rows, without work for padding: (B, T) -> (B, W)."""
        packing = pack(self.lengths(ids))
        x = self._embed(ids[packing.rows, packing.columns], packing.columns)  # (N, W)
        *whole_blocks, last_block = self.transformer.resblocks
        for block in whole_blocks:
            x = block(x, lengths=packing.lengths)
        if self.config.pooling == "cls":
            tokens = mg.padded(x, packing.lengths)  # (B, T, W)
            rows = last_block.first_rows(tokens, packing.visible[:, None, :])  # (B, W)
        else:
            tokens = mg.padded(last_block(x, lengths=packing.lengths), packing.lengths)
            rows = self._pool(tokens, packing.visible)  # (B, W)
        return packing.in_order_of_batch(rows)  # (B, W)

    def _padded_rows(self, ids: Array) -> mg.Tensor:
        """`_packed_rows` with padding up to the longest caption: (B, T) -> (B, W)."""
        lengths = self.lengths(ids)  # (B,)
        longest = int(lengths.max(initial=0))
        visible = np.arange(longest) < lengths[:, None]  # (B, longest)
        mask = None if visible.all() else visible[:, None, None, :]  # (B, 1, 1, longest)
        x = self._embed(ids[:, :longest], np.arange(longest))  # (B, longest, W)
        *whole_blocks, last_block = self.transformer.resblocks
        for block in whole_blocks:
            x = block(x, mask)
        if self.config.pooling == "cls":
            return last_block.first_rows(x, visible[:, None, :])  # (B, W)
        return self._pool(last_block(x, mask), visible)  # (B, W)

    def attention_maps(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """Who looks at whom in captions (B, T), layer by layer: (layers, B, H, T, T).

        Nobody looks at padding, so its columns are 0.
        """
        ids = self._checked(tokens)  # (B, T)
        visible = np.arange(ids.shape[1]) < self.lengths(ids)[:, None]  # (B, T)
        mask = visible[:, None, None, :]  # (B, 1, 1, T)
        maps = []
        with mg.no_grad():
            x = self._embed(ids, np.arange(ids.shape[1]))  # (B, T, W)
            for block in self.transformer.resblocks:
                maps.append(block.attn.probabilities(x, mask))  # (B, H, T, T)
                x = block(x, mask)  # (B, T, W)
            return mg.stack(maps)  # (layers, B, H, T, T)

    def cost(self, length: int) -> float:
        """Multiplications in the blocks for one caption; look-ups need none."""
        if self.config.pooling == "cls":
            return pooled_cost(self.config, length)
        return self.config.layers * block_cost(self.config, length)

    def _embed(self, ids: Array, columns: Array) -> mg.Tensor:
        """What goes into the first block, for tokens in these columns of captions.

        (B, T), (T,) -> (B, T, W), or packed (N,), (N,) -> (N, W)
        """
        positions = mg.take(self.positional_embedding, columns)  # (T, W) or (N, W)
        segment = self.segment_embedding[ONE_SEGMENT]  # (W,)
        return self.ln_embedding(self.token_embedding(ids) + (positions + segment))

    def _pool(self, x: mg.Tensor, visible: Array) -> mg.Tensor:
        """One row for each caption: (B, T, W) -> (B, W). visible (B, T), boolean."""
        batch, _, width = x.shape
        if self.config.pooling == "cls":
            return pick_rows(x, np.zeros(batch, np.int64))  # (B, W)
        shares = visible / visible.sum(axis=1, keepdims=True)  # (B, T), rows sum to 1
        shares = move(shares.astype(x.dtype), x.backend)
        return (shares[:, None, :] @ x).reshape(batch, width)  # (B, 1, T) @ (B, T, W) -> (B, W)

    def _project(self, rows: mg.Tensor) -> mg.Tensor:
        return rows if self.text_projection is None else rows @ self.text_projection

    def _checked(self, tokens: Array | mg.Tensor) -> Array:
        """The ids (B, T) on the host; ValueError for a row without a token."""
        ids = checked_ids(tokens, self.config.context_length)
        empty = np.flatnonzero(self.lengths(ids) == 0)
        if len(empty):
            raise ValueError(
                f"encode_text: row {empty[0]} holds nothing but padding "
                f"(id {self.config.pad_token_id}); begin it with [CLS], as the tokenizer does"
            )
        return ids


def bert_norm(config: TextConfig) -> LayerNorm:
    """A layer norm with the constant of the configuration."""
    assert config.norm_eps is not None  # TEXT_DEFAULTS has one for this kind
    return LayerNorm(config.width, config.norm_eps)


def segment_count(config: TextConfig) -> int:
    """How many rows the table of segments has."""
    assert config.n_segments is not None  # as in `bert_norm`
    return config.n_segments
