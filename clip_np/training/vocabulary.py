"""Which words does a new model learn?

Those of its captions. Before a run starts, a tokenizer is trained on the training
captions (clip_np/tokens), of the kind that belongs to the text encoder. It also settles
the context length, how many tokens a caption may have: as many as the longest caption
needs, since a longer context costs time and memory for nothing.
"""

from collections.abc import Callable
from typing import Any

from clip_np.data import Pairs
from clip_np.tokens import Tokenizer, TokenizerProtocol, WordPieceTokenizer
from clip_np.training.watch import warn_of_truncation

TRAINERS: dict[str, Callable[[list[str], int], Any]] = {
    "gpt": Tokenizer.train,
    "bert": WordPieceTokenizer.train,
}
"""The kind of a text encoder -> what makes a tokenizer of texts and a vocab_size."""

TAG_TOKENS = 8
"""Room, in tokens, for a pair's further words: one to three tags and commas."""


def train_tokenizer(
    pairs: Pairs, vocab_size: int, context_limit: int, kind: str = "gpt"
) -> TokenizerProtocol:
    """A tokenizer for the captions of `pairs`, with at most `vocab_size` tokens.

    kind is the kind of the text encoder. The context is that of `fit_context`.
    """
    texts = [*pairs.captions, *(pairs.tags or [])]
    tokenizer: TokenizerProtocol = TRAINERS[kind](texts, vocab_size)
    fit_context(tokenizer, pairs, context_limit)
    return tokenizer


def fit_context(tokenizer: TokenizerProtocol, pairs: Pairs, context_limit: int) -> None:
    """Make the tokenizer's rows as long as the captions of `pairs` need.

    They fit the longest caption, and TAG_TOKENS more if the data has tags, but have at
    most `context_limit` tokens. If many captions are longer, a warning says so.
    """
    lengths = tokenizer.lengths(list(pairs.captions))  # (N,)
    wanted = int(lengths.max()) + (TAG_TOKENS if pairs.tags else 0)
    tokenizer.context_length = min(wanted, context_limit)
    warn_of_truncation(lengths, tokenizer.context_length)
