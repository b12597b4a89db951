"""tokens."""

from clip_np.tokens.tokenizer import Tokenizer, clean, learn_merges, split_words
from clip_np.tokens.vocabularies import MissingTokenizer, find_vocabulary
