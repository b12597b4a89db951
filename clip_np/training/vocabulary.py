"""Which words does a new model learn?

Those of its captions. Before a run starts, a tokenizer is trained on the training
captions (clip_np/tokens). It also settles the context length, how many tokens a caption
may have: as many as the longest caption needs, since a longer context costs time and
memory for nothing.
"""

from clip_np.data import Pairs
from clip_np.tokens import Tokenizer
from clip_np.training.watch import warn_of_truncation

TAG_TOKENS = 8
"""Room, in tokens, for a pair's further words: one to three tags and commas."""


def train_tokenizer(pairs: Pairs, vocab_size: int, context_limit: int) -> Tokenizer:
    """A tokenizer for the captions of `pairs`, with at most `vocab_size` tokens.

    Its context fits the longest caption, and TAG_TOKENS more if the data has tags. It
    is at most `context_limit` tokens. If many captions are longer, a warning says so.
    """
    captions = list(pairs.captions)
    tags = list(pairs.tags or [])
    tokenizer = Tokenizer.train(captions + tags, vocab_size)
    lengths = tokenizer.lengths(captions)  # (N,)
    wanted = int(lengths.max()) + (TAG_TOKENS if tags else 0)
    context_length = min(wanted, context_limit)
    warn_of_truncation(lengths, context_length)
    return Tokenizer(tokenizer.merges, context_length=context_length)
