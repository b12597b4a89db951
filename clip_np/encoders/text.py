"""How does a caption become a vector?

A caption arrives as a row of token ids, with a start token in front, an end token after
the last word, and padding up to a common length T:

    "a red circle"   ->   49406   320   736   7117   49407   0   0   0      (T = 8)

(These ids are those of the published vocabulary. Its start token is 49406, its end
token 49407.) Each id picks a row of a table, and a learned position is added. The
blocks let every token look at itself and the tokens before it (a causal mask, as in
GPT). So only the end token has seen the whole caption. Its row, projected into the
shared space, is the vector of the caption.

*Where is the end token?* OpenAI's vocabulary gives it the highest id of all. So it
stands at the largest id of each row, and `tokens.argmax(axis=1)` finds it. Other
vocabularies name its id in `TextConfig.eos_token_id`. The end token is then the first
occurrence of this id.

*What about the padding?* Nothing before the end token can see it, because of the causal
mask, and nobody reads a row after the end token. So the padding needs no mask of its
own. And it can be left out, because the features stay the same.

`plain_forward` computes all rows of all columns. `forward` leaves out the padding
(clip_np/encoders/packing.py), and the rows of the last block that nobody reads
(clip_np/encoders/pooled.py).

Radford et al. 2021, arXiv:2103.00020, section 2.4.
"""

from collections.abc import Iterator

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TextConfig
from clip_np.encoders.packing import pack
from clip_np.encoders.pooled import (
    packed_pooled_transformer,
    pick_rows,
    pooled_cost,
    pooled_transformer,
)
from clip_np.encoders.shapes import ParameterShape, block_shapes, norm_shapes
from clip_np.encoders.token_ids import checked_ids
from clip_np.encoders.transformer import Transformer
from minigrad.backend import Array, on_host
from minigrad.nn import Embedding, LayerNorm, Module, normal

TOKEN_STD = 0.02  # initial embeddings of tokens and of positions, as in OpenAI's code
POSITION_STD = 0.01


class TextTransformer(Module):
    """Token ids (B, T) -> features (B, embed_dim)."""

    def __init__(self, config: TextConfig, embed_dim: int, rng: np.random.Generator | None) -> None:
        self.config = config
        width = config.width
        self.token_embedding = Embedding(config.vocab_size, width, rng, std=TOKEN_STD)
        self.positional_embedding = normal(rng, (config.context_length, width), POSITION_STD)
        self.transformer = Transformer(config, rng)
        self.ln_final = LayerNorm(width)
        self.text_projection = normal(rng, (width, embed_dim), width**-0.5)

    @staticmethod
    def shapes(config: TextConfig, embed_dim: int) -> Iterator[ParameterShape]:
        """The names and shapes of the parameters, without making them."""
        width = config.width
        yield ParameterShape("token_embedding.weight", (config.vocab_size, width))
        yield ParameterShape("positional_embedding", (config.context_length, width))
        yield from norm_shapes("ln_final", width)
        yield ParameterShape("text_projection", (width, embed_dim))
        yield from block_shapes(config)

    def end_positions(self, tokens: Array) -> Array:
        """Where the end token stands in each row: (B, T) -> (B,).

        ValueError for a row without an end token, if the configuration names its id.

        >>> from clip_np.encoders import PRESETS
        >>> text = TextTransformer(PRESETS["tiny"].text, 64, np.random.default_rng(0))
        >>> text.end_positions(np.array([[512, 72, 513, 0], [512, 72, 73, 513]]))
        array([2, 3])
        """
        eos_token_id = self.config.eos_token_id
        if eos_token_id is None:
            return tokens.argmax(axis=1)  # the end token has the highest id
        is_end = tokens == eos_token_id  # (B, T)
        rows_without = np.flatnonzero(~is_end.any(axis=1))
        if len(rows_without):
            raise ValueError(
                f"encode_text: row {rows_without[0]} has no end token (id {eos_token_id}); "
                "append it to each caption, as the model's tokenizer does"
            )
        return is_end.argmax(axis=1)  # the first True

    def plain_forward(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """The features as the paper defines them. `forward` is faster and equal."""
        ids = checked_ids(tokens, self.config.context_length)  # (B, T)
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]  # (B, T, W)
        x = self.transformer(x, mask="causal")  # (B, T, W)
        rows = pick_rows(x, self.end_positions(ids))  # (B, W)
        return self.ln_final(rows) @ self.text_projection  # (B, E)

    def forward(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """The fast form of `plain_forward`."""
        ids = checked_ids(tokens, self.config.context_length)  # (B, T)
        is_packed = on_host(self.text_projection.data)
        rows = self._packed_rows(ids) if is_packed else self._padded_rows(ids)  # (B, W)
        return self.ln_final(rows) @ self.text_projection  # (B, E)

    def _packed_rows(self, ids: Array) -> mg.Tensor:
        """What the blocks make of the end tokens, without padding: (B, T) -> (B, W)."""
        packing = pack(self.lengths(ids))
        x = self.token_embedding(ids[packing.rows, packing.columns])  # (N, W)
        x = x + mg.take(self.positional_embedding, packing.columns)  # (N, W)
        rows = packed_pooled_transformer(self.transformer, x, packing, mask="causal")  # (B, W)
        return packing.in_order_of_batch(rows)  # (B, W)

    def _padded_rows(self, ids: Array) -> mg.Tensor:
        """`_packed_rows` with padding up to the longest caption: (B, T) -> (B, W)."""
        ends = self.end_positions(ids)  # (B,)
        longest = int(ends.max(initial=0)) + 1
        x = self.token_embedding(ids[:, :longest])  # (B, longest, W)
        x = x + self.positional_embedding[:longest]  # (longest, W) is added to each caption
        return pooled_transformer(self.transformer, x, ends, mask="causal")  # (B, W)

    def lengths(self, inputs: Array) -> Array:
        """The tokens up to the end token, the last one that matters: (B, T) -> (B,)."""
        return self.end_positions(inputs) + 1  # (B,)

    def attention_maps(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        """Who looks at whom in captions (B, T), layer by layer: (layers, B, H, T, T).

        A token sees itself and those before it, so what is above the diagonal is 0.
        """
        ids = checked_ids(tokens, self.config.context_length)  # (B, T)
        length = ids.shape[1]
        visible = np.tril(np.ones((length, length), bool))  # (T, T)
        maps = []
        with mg.no_grad():
            x = self.token_embedding(ids) + self.positional_embedding[:length]  # (B, T, W)
            for block in self.transformer.resblocks:
                maps.append(block.attn.probabilities(block.ln_1(x), visible))  # (B, H, T, T)
                x = block(x, mask="causal")  # (B, T, W)
            return mg.stack(maps)  # (layers, B, H, T, T)

    def cost(self, length: int) -> float:
        """Multiplications in the blocks for one caption; look-ups need none."""
        return pooled_cost(self.config, length)
