"""Chapter 18: how does a caption become a vector?

Each token id picks a row of a table; a learned position is added; the blocks let every token
look at itself and those before it (a causal mask, as in GPT). So the end token has seen the
whole caption, and its row, projected into the shared space, is the caption's vector.

What stands behind the end token is padding that nothing before it can see. Captions are
therefore cut behind the longest of the batch: the result is the same, for less work.

Radford et al. 2021, arXiv:2103.00020, section 2.4.
"""

import numpy as np

import minigrad as mg
from clip_np.encoders.config import TextConfig
from clip_np.encoders.transformer import Transformer
from minigrad.backend import Array, move
from minigrad.nn import Embedding, LayerNorm, Module, normal


class TextTransformer(Module):
    """Token ids (B, T) -> (B, embed_dim)."""

    def __init__(self, config: TextConfig, embed_dim: int, rng: np.random.Generator) -> None:
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.width, rng, std=0.02)
        self.positional_embedding = normal(rng, (config.context_length, config.width), 0.01)
        self.transformer = Transformer(config, rng)
        self.ln_final = LayerNorm(config.width)
        self.text_projection = normal(rng, (config.width, embed_dim), config.width**-0.5)

    def end_positions(self, tokens: Array) -> Array:
        """Where each row's end token stands: (B, T) -> (B,)."""
        eos = self.config.eos_token_id
        if eos is None:
            return tokens.argmax(axis=1)
        present = tokens == eos
        missing = np.flatnonzero(~present.any(axis=1))
        if len(missing):
            raise ValueError(f"encode_text: row {missing[0]} has no end token (id {eos})")
        return present.argmax(axis=1)

    def lengths(self, inputs: Array) -> Array:
        """A caption's tokens up to its end token, which is the last to matter: (B, T) -> (B,)."""
        return self.end_positions(inputs) + 1

    def cost(self, length: int) -> float:
        """Multiplications for one caption, as `Encoder` asks for them."""
        return self.transformer.cost(length)

    def forward(self, tokens: Array | mg.Tensor) -> mg.Tensor:
        # Ids stay on the host until they are checked and cut.
        tokens = move(mg.tensor(tokens).data, "numpy")
        limit = self.config.context_length
        if tokens.ndim != 2 or tokens.shape[1] > limit or tokens.dtype.kind not in "iu":
            needs = f"integer tokens of shape (B, T) with T at most {limit}"
            raise ValueError(f"encode_text: expected {needs}, got {tokens.dtype} {tokens.shape}")
        ends = self.end_positions(tokens)  # (B,)
        length = int(ends.max(initial=0)) + 1
        x = self.token_embedding(tokens[:, :length])  # (B, length, width)
        x = x + self.positional_embedding[:length]
        rows = self.transformer.pooled(x, ends, mask="causal", lengths=ends + 1)  # (B, width)
        return self.ln_final(rows) @ self.text_projection
