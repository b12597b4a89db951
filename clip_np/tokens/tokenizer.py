"""How does a caption become numbers, and numbers a caption?

If each word were a number, new words would have none. If each byte were one, captions
would be long. *Byte-level byte-pair encoding* lies between the two. With the published
vocabulary:

    text       "A red zyzzyva"
    words      a       red         zyzzyva               words.py
    bytes      a</w>   r e d</w>   z y z z y v a</w>     spelling.py
    pieces     a</w>   red</w>     zy zzy va</w>         bpe.py
    ids        320     736         6615 21275 1892       ids.py

A frequent word is one piece and a rare one several, but no word is unknown. The text
encoder gets rows of one length, with a start and an end token:

    <|startoftext|>  ids ...  <|endoftext|>  padding ...

All of this is as in the published models (Radford et al. 2021, arXiv:2103.00020).
"""

import functools
import json
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from clip_np.files import file_errors, make_folder, replace_file
from clip_np.tokens import vocabularies
from clip_np.tokens.bpe import learn_merges, merge_pairs
from clip_np.tokens.ids import PUBLISHED_CONTEXT_LENGTH, SMALLEST_VOCABULARY_SIZE, number_pieces
from clip_np.tokens.plain import Pair
from clip_np.tokens.rows import as_list, count_tokens, require_room, rows_of_ids
from clip_np.tokens.spelling import spell, unspell
from clip_np.tokens.vocabularies import FORMAT, NO_LIMIT, PAD_KEY, Vocabulary
from clip_np.tokens.words import END, START, clean, split_words

CACHE_WORDS = 100_000
"""Words that a tokenizer remembers with their ids, about 26 MB. Most words of a caption
have come before, so captions are encoded ten times as fast."""

HUGGINGFACE_LEFTOVERS = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json")
"""Files of another tokenizer in the same folder, which transformers would prefer."""


class Tokenizer:
    """Captions to token ids and back.

    - merges: pairs of pieces, in the order in which they were learned. ValueError for
      merges that cannot have been learned.
    - context_length: the length of rows.
    - pad_token_id: fills a row after the end token. The model sees none of it.

    >>> tokenizer = Tokenizer([("r", "e"), ("re", "d</w>")], context_length=6)
    >>> tokenizer.encode("red")
    [513]
    >>> tokenizer.decode([513, 513])
    'red red'
    >>> tokenizer(["Red", "reds"])  # 514 starts, 515 ends
    array([[514, 513, 515,   0,   0,   0],
           [514, 512,  67, 338, 515,   0]])
    """

    def __init__(
        self,
        merges: Iterable[Pair],
        context_length: int = PUBLISHED_CONTEXT_LENGTH,
        pad_token_id: int = 0,
    ) -> None:
        self.merges: tuple[Pair, ...] = tuple((left, right) for left, right in merges)
        self.vocabulary = number_pieces(self.merges)
        self.vocab_size = len(self.vocabulary)
        self.start_token_id = self.vocabulary[START]
        self.end_token_id = self.vocabulary[END]
        self.context_length = operator.index(context_length)
        require_room(self.context_length)
        self.pad_token_id = operator.index(pad_token_id)
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id {pad_token_id} is not in 0..{self.vocab_size - 1}")
        self._pieces = {token_id: piece for piece, token_id in self.vocabulary.items()}
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._word_ids = functools.lru_cache(CACHE_WORDS)(self._encode_words)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, context_length: int | None = None
    ) -> "Tokenizer":
        """Learn a vocabulary of at most `vocab_size` pieces from captions.

        It has fewer pieces if no further pair of pieces occurs twice. If context_length
        is None, rows are as long as the longest caption, with start and end, but at
        most PUBLISHED_CONTEXT_LENGTH. Raises ValueError for no texts, or for a
        vocab_size below SMALLEST_VOCABULARY_SIZE: all bytes, start and end.

        >>> tokenizer = Tokenizer.train(["a red bed", "a red car"], vocab_size=517)
        >>> tokenizer.merges
        (('e', 'd</w>'), ('r', 'ed</w>'))
        """
        texts = as_list(texts)
        if not texts or vocab_size < SMALLEST_VOCABULARY_SIZE:
            raise ValueError(
                f"training needs texts and vocab_size >= {SMALLEST_VOCABULARY_SIZE}, got "
                f"{len(texts)} texts and vocab_size {vocab_size}"
            )
        word_counts = Counter(word for text in texts for word in split_words(clean(text)))
        del word_counts[START], word_counts[END]
        merges = learn_merges(word_counts, limit=vocab_size - SMALLEST_VOCABULARY_SIZE)
        if context_length is None:
            longest = int(cls(merges).lengths(texts).max())
            context_length = min(longest, PUBLISHED_CONTEXT_LENGTH)
        return cls(merges, context_length)

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without start and end. TypeError for anything else."""
        ids: list[int] = []
        for word in clean(text).split(" "):
            ids += self._word_ids(word)
        return ids

    def _encode_words(self, text: str) -> list[int]:
        """Token ids of clean text without spaces: one word, or several, as in "it's".

        `_word_ids` is this function with a memory.
        """
        pieces: list[str] = []
        for word in split_words(text):
            if word in (START, END):
                pieces.append(word)
            else:
                pieces += merge_pairs(spell(word), self._ranks)
        return [self.vocabulary[piece] for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """The clean text, with spaces between words, of `encode`'s list or of a row.

        Start tokens are left out, and the first end token ends the text. Bytes that are
        not UTF-8 become "\\ufffd". Raises ValueError for an id outside the vocabulary.
        """
        pieces = []
        for token_id in ids:
            if token_id not in self._pieces:
                raise ValueError(f"token id {token_id} is not in 0..{self.vocab_size - 1}")
            if token_id == self.end_token_id:
                break
            if token_id != self.start_token_id:
                pieces.append(self._pieces[token_id])
        return unspell(pieces)

    def lengths(self, texts: str | Iterable[str]) -> np.ndarray:
        """How many tokens each text has with start and end: (n,) int64."""
        return count_tokens(self, as_list(texts))

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, truncate: bool = False
    ) -> np.ndarray:
        """Rows of ids for the text encoder: (n, T) int64.

        T is `context_length`, by default the tokenizer's. A text that does not fit
        raises ValueError. With `truncate` its row is cut, and its last id is still the
        end token. Raises ValueError for a T without room for start and end.
        """
        length = self.context_length if context_length is None else context_length
        return rows_of_ids(self, as_list(texts), length, truncate)

    def to_json(self) -> str:
        """The tokenizer as the text of a JSON object, for `from_json`."""
        content = {
            "context_length": self.context_length,
            "pad_token_id": self.pad_token_id,
            "format": FORMAT,
            "merges": self.merges,
        }
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote.

        Raises ValueError, KeyError or TypeError for other texts.
        """
        return cls._from_vocabulary(vocabularies.parse_saved(json.loads(text)))

    @classmethod
    def _from_vocabulary(cls, vocabulary: Vocabulary) -> "Tokenizer":
        """The tokenizer that a file describes. ValueError if it contradicts itself."""
        tokenizer = cls(vocabulary.merges, vocabulary.context_length, vocabulary.pad_token_id)
        if tokenizer.context_length >= NO_LIMIT:  # each text would become a row of so many ids
            raise ValueError(
                f"context_length must be below {NO_LIMIT:,}, got {tokenizer.context_length:,}"
            )
        if vocabulary.ids is not None:
            for piece in tokenizer.vocabulary | dict(vocabulary.ids):
                listed = vocabulary.ids.get(piece)
                expected = tokenizer.vocabulary.get(piece)
                if listed != expected:
                    raise ValueError(
                        f"the id of {piece!r} is {listed!r}, by the merges it is {expected}"
                    )
        return tokenizer

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to the file `path`, whole or not at all."""
        with replace_file(path) as file:
            file.write(f"{self.to_json()}\n".encode())

    def save_huggingface(self, directory: str | Path) -> None:
        """Write a folder in Hugging Face's form: vocab.json, merges.txt and settings.

        `load` and the `CLIPTokenizer.from_pretrained` of transformers read it.
        """
        directory = Path(directory)
        make_folder(directory)
        config = {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": self.context_length,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
            "bos_token": START,
            PAD_KEY: self.pad_token_id,
        }
        merge_lines = [f"{left} {right}" for left, right in self.merges]
        contents = {
            "vocab.json": json.dumps(self.vocabulary, ensure_ascii=False),
            "merges.txt": "\n".join(["#version: 0.2", *merge_lines]),
            "tokenizer_config.json": json.dumps(config),
        }
        for name, content in contents.items():
            with replace_file(directory / name) as file:
                file.write(f"{content}\n".encode())
        for name in HUGGINGFACE_LEFTOVERS:
            (directory / name).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a vocabulary in one of the forms of vocabularies.py.

        path: a file, or the folder that holds it. Raises FileNotFoundError, or
        FileError that says what is wrong with which file.
        """
        file = vocabularies.find_vocabulary(path)
        with file_errors(file, "not a tokenizer"):
            return cls._from_vocabulary(vocabularies.read_vocabulary(file))

    @classmethod
    def published(cls) -> "Tokenizer":
        """The published vocabulary of 49,408 pieces, from an installed package.

        Raises FileNotFoundError that says what to install if there is none.
        """
        return cls.load(vocabularies.find_published())
