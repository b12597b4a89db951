"""tokens."""

from clip_np.tokens.tokenizer import Tokenizer, clean, learn_merges, split_words
from clip_np.tokens.vocabularies import (
    PUBLISHED_CONTEXT_LENGTH,
    PUBLISHED_VOCABULARY_SIZE,
    MissingTokenizer,
    find_vocabulary,
)
