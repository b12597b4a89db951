"""From captions to rows of numbers for the text encoder, and back.

    "A red ball" --> words --> bytes --> pieces --> ids --> row of ids
                  clean,    spell    merge_pairs   number_pieces
                  split_words

The input is texts. The output is rows of token ids, (n, T) int64: start, the ids of the
text, end, padding. The pieces that text is cut into are learned from captions, or read
from a published vocabulary. A piece at the end of a word is marked with "</w>".

>>> tokenizer = Tokenizer.train(["a red ball", "a red car", "a blue car"], 530)
>>> rows = tokenizer(["a red car", "a ball"])
>>> rows.shape
(2, 8)
>>> tokenizer.decode(rows[0])
'a red car'

Read first spelling.py, words.py and plain.py (the whole method as short loops), then
bpe.py (the same loops, fast), ids.py, tokenizer.py and vocabularies.py.

The text encoder BERT comes with another tokenizer: bert_words.py and wordpiece.py, with
their files and their way of learning next to them.

The model asks little of a tokenizer: see protocol.py. To add another kind, write a
class that offers it, and add a line to the table in saved.py, which reads checkpoints.
"""

from clip_np.tokens.words import clean, split_words
from clip_np.tokens.bpe import learn_merges, merge_pairs
from clip_np.tokens.ids import PUBLISHED_CONTEXT_LENGTH, PUBLISHED_VOCABULARY_SIZE, START_AND_END
from clip_np.tokens.protocol import TokenizerProtocol
from clip_np.tokens.rows import as_list
from clip_np.tokens.vocabularies import find_vocabulary
from clip_np.tokens.tokenizer import HUGGINGFACE_LEFTOVERS, Tokenizer
from clip_np.tokens.bert_words import CASED, UNCASED, Cleaning
from clip_np.tokens.wordpiece import WordPieceTokenizer
from clip_np.tokens.saved import tokenizer_from_json
from clip_np.tokens.missing import MissingTokenizer

__all__ = [
    "CASED",
    "HUGGINGFACE_LEFTOVERS",
    "PUBLISHED_CONTEXT_LENGTH",
    "PUBLISHED_VOCABULARY_SIZE",
    "START_AND_END",
    "UNCASED",
    "Cleaning",
    "MissingTokenizer",
    "Tokenizer",
    "TokenizerProtocol",
    "WordPieceTokenizer",
    "as_list",
    "clean",
    "find_vocabulary",
    "learn_merges",
    "merge_pairs",
    "split_words",
    "tokenizer_from_json",
]
