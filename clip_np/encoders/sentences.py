"""How is a whole text compared with another, without images?

A sentence encoder is a text encoder that was trained on pairs of sentences that mean
the same. It is used like CLIP's text half: the vectors of two sentences point in
similar directions if the sentences mean something similar.

    texts -> tokenizer -> ids (n, T) -> BertEncoder -> (n, W) [-> length 1]

Texts of similar length are encoded together, so that little is computed for padding,
and every core encodes batches of its own.

Reimers and Gurevych 2019, "Sentence-BERT", arXiv:1908.10084.
"""

import warnings
from collections.abc import Sequence
from reprlib import repr as shortened

import numpy as np

import minigrad as mg
from clip_np.encoders.bert import BertEncoder
from clip_np.tokens import TokenizerProtocol, as_list
from minigrad.memory import Arena, using
from minigrad.nn import Module
from minigrad.threads import blas_threads, count_workers, parallel_map

BATCH_SIZE = 32
"""Texts that are encoded together: enough for large products, few enough that their
lengths are similar. It is what the library sentence-transformers takes."""


class SentenceEncoder(Module):
    """Texts -> vectors (n, width), with the tokenizer that belongs to the encoder.

    unit_length says whether vectors are scaled to length 1.
    """

    def __init__(
        self, encoder: BertEncoder, tokenizer: TokenizerProtocol, unit_length: bool
    ) -> None:
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.unit_length = unit_length

    def forward(self, tokens: np.ndarray | mg.Tensor) -> mg.Tensor:
        """Token ids (B, T) -> vectors (B, width)."""
        features = self.encoder(tokens)
        return mg.normalize(features) if self.unit_length else features

    def encode(self, texts: str | Sequence[str]) -> np.ndarray:
        """The vectors of texts: (n, width) float32; one text is a list of one.

        A text longer than the tokenizer's context_length is cut, as in the library
        sentence-transformers, and a warning names the first one.

        >>> from clip_np.encoders import TextConfig
        >>> from clip_np.tokens import WordPieceTokenizer
        >>> tokenizer = WordPieceTokenizer.train(["a red ball", "a car"], 60)
        >>> config = TextConfig(60, 16, width=8, layers=1, heads=2, kind="bert")
        >>> encoder = BertEncoder(config, None, np.random.default_rng(0))
        >>> model = SentenceEncoder(encoder, tokenizer, unit_length=True)
        >>> model.encode(["a", "red car"]).shape
        (2, 8)
        """
        texts = as_list(texts)
        _warn_of_long_texts(self.tokenizer, texts)
        rows = self.tokenizer(texts, truncate=True)  # (n, T)
        order = np.argsort(self.encoder.lengths(rows), kind="stable")  # (n,)
        batches = [order[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]
        vectors = np.zeros((len(rows), self.encoder.config.width), np.float32)

        def encode_batch(batch: np.ndarray) -> None:
            with mg.no_grad(), using(Arena()):
                vectors[batch] = self(rows[batch]).numpy()

        workers = count_workers(self.encoder.positional_embedding.data, workers=None)
        with blas_threads(1):
            parallel_map(encode_batch, batches, workers)
        return vectors


def _warn_of_long_texts(tokenizer: TokenizerProtocol, texts: Sequence[str]) -> None:
    """A warning if some texts do not fit into a row."""
    lengths = tokenizer.lengths(texts)  # (n,)
    long = np.flatnonzero(lengths > tokenizer.context_length)
    if len(long):
        first = int(long[0])
        warnings.warn(
            f"{len(long)} of {len(texts)} texts are cut to {tokenizer.context_length} tokens; "
            f"the first is text {first} with {lengths[first]}, {shortened(texts[first])}",
            stacklevel=3,
        )
