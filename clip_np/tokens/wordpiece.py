"""How does BERT turn words into ids?

Its vocabulary is a list of pieces. A piece that begins a word is written as it is, and
a piece inside a word begins with "##". A word is cut from the left: the longest piece
that fits comes first, then the longest one that fits the rest, and so on:

    word       unaffable
    pieces     un  ##aff  ##able           because "una" and "##affa" are no pieces
    ids        4895 ...                    the places of the pieces in the list

If at some place no piece fits, the whole word is [UNK], unknown, and so is a word of
more than 100 letters. A row begins with [CLS] and ends with [SEP], then comes [PAD]:

    [CLS]  ids ...  [SEP]  [PAD] ...

A text may name these tokens, and [MASK] too: "[MASK]" in a text is one id. How a text
becomes words is in bert_words.py, how a vocabulary is learned in
wordpiece_training.py, and in which files it comes in wordpiece_files.py.

Wu et al. 2016, arXiv:1609.08144, section 4.1; Devlin et al. 2018, arXiv:1810.04805.
"""

import functools
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from clip_np.files import file_errors, replace_file
from clip_np.tokens import wordpiece_files
from clip_np.tokens.bert_words import UNCASED, Cleaning, clean_for_bert, split_for_bert
from clip_np.tokens.ids import PUBLISHED_CONTEXT_LENGTH
from clip_np.tokens.rows import as_list, count_tokens, require_room, rows_of_ids
from clip_np.tokens.wordpiece_files import (
    CLS,
    CONTINUES,
    LONGEST_WORD,
    PAD,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    WORDPIECE_FORMAT,
    WordPieceVocabulary,
)
from clip_np.tokens.wordpiece_training import learn_pieces
from clip_np.tokens.words import require_text

CACHE_WORDS = 100_000  # words that a tokenizer remembers with their ids, about 26 MB


class WordPieceTokenizer:
    """Captions to token ids and back, as BERT does it.

    - pieces: the vocabulary. The place of a piece is its id. ValueError if a piece is
      there twice, or if [PAD], [UNK], [CLS] or [SEP] is missing.
    - context_length: the length of rows.
    - cleaning: what is done to a text first.

    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "a", "!"]
    >>> tokenizer = WordPieceTokenizer(pieces, context_length=7)
    >>> tokenizer.encode("Unaffable!")
    [4, 5, 6, 8]
    >>> tokenizer(["a", "unaffable me"])
    array([[2, 7, 3, 0, 0, 0, 0],
           [2, 4, 5, 6, 1, 3, 0]])
    >>> tokenizer.decode([2, 4, 5, 6, 8, 3, 0])
    'unaffable !'
    """

    def __init__(
        self,
        pieces: Iterable[str],
        context_length: int = PUBLISHED_CONTEXT_LENGTH,
        cleaning: Cleaning = UNCASED,
    ) -> None:
        self.pieces: tuple[str, ...] = tuple(pieces)
        self.vocabulary = {piece: number for number, piece in enumerate(self.pieces)}
        self.vocab_size = len(self.pieces)
        self.cleaning = cleaning
        _check_pieces(self.pieces, self.vocabulary)
        self.start_token_id = self.vocabulary[CLS]
        self.end_token_id = self.vocabulary[SEP]
        self.pad_token_id = self.vocabulary[PAD]
        self.unknown_token_id = self.vocabulary[UNK]
        self.context_length = operator.index(context_length)
        require_room(self.context_length)
        special = [token for token in SPECIAL_TOKENS if token in self.vocabulary]
        self._special = re.compile("(" + "|".join(map(re.escape, special)) + ")")
        self._longest = min(max(map(len, self.pieces)), LONGEST_WORD + len(CONTINUES))
        self._ids_of_word = functools.lru_cache(CACHE_WORDS)(self._cut)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        context_length: int | None = None,
        cleaning: Cleaning = UNCASED,
    ) -> "WordPieceTokenizer":
        """Learn a vocabulary of at most `vocab_size` pieces from captions.

        If context_length is None, rows are as long as the longest caption, but at most
        PUBLISHED_CONTEXT_LENGTH. ValueError as from `learn_pieces`.

        >>> tokenizer = WordPieceTokenizer.train(["a red bed", "a red car"], 40)
        >>> tokenizer.pieces[-2:]
        ('##ed', 'red')
        """
        texts = as_list(texts)
        pieces = learn_pieces(texts, vocab_size, cleaning)
        if context_length is None:
            longest = int(cls(pieces, cleaning=cleaning).lengths(texts).max())
            context_length = min(longest, PUBLISHED_CONTEXT_LENGTH)
        return cls(pieces, context_length, cleaning)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without [CLS] and [SEP].

        TypeError for anything else, ValueError for a text beyond MAX_TEXT_LENGTH.
        """
        require_text(text)
        ids: list[int] = []
        for number, part in enumerate(self._special.split(text)):
            if number % 2:  # every second part is one of the special tokens
                ids.append(self.vocabulary[part])
            else:
                ids += self._encode_words(part)
        return ids

    def _encode_words(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        ids: list[int] = []
        for word in split_for_bert(clean_for_bert(text, self.cleaning)):
            ids += self._ids_of_word(word)
        return ids

    def _cut(self, word: str) -> list[int]:
        """The ids of a word's pieces. `_ids_of_word` is this function with a memory."""
        pieces = cut_longest_first(word, self.vocabulary, self._longest)
        return [self.unknown_token_id] if pieces is None else [self.vocabulary[p] for p in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """The words, with spaces between them, of `encode`'s list or of a row.

        [CLS] and [PAD] are left out, and [SEP] ends the text. Raises ValueError for an
        id outside the vocabulary.
        """
        words: list[str] = []
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise ValueError(f"token id {token_id} is not in 0..{self.vocab_size - 1}")
            if token_id == self.end_token_id:
                break
            piece = self.pieces[token_id]
            if piece.startswith(CONTINUES) and words:
                words[-1] += piece.removeprefix(CONTINUES)
            elif token_id not in (self.start_token_id, self.pad_token_id):
                words.append(piece)
        return " ".join(words)

    def lengths(self, texts: str | Iterable[str]) -> np.ndarray:
        """How many tokens each text has with [CLS] and [SEP]: (n,) int64."""
        return count_tokens(self, as_list(texts))

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, truncate: bool = False
    ) -> np.ndarray:
        """Rows of ids for the text encoder: (n, T) int64.

        T is `context_length`, by default the tokenizer's. A text that does not fit
        raises ValueError. With `truncate` its row is cut, and its last id is still
        [SEP]. Raises ValueError for a T without room for [CLS] and [SEP].
        """
        length = self.context_length if context_length is None else context_length
        return rows_of_ids(self, as_list(texts), length, truncate)

    def to_json(self) -> str:
        """The tokenizer as the text of a JSON object, for `from_json`."""
        content = {
            "context_length": self.context_length,
            "format": WORDPIECE_FORMAT,
            "cleaning": self.cleaning._asdict(),
            "pieces": self.pieces,
        }
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "WordPieceTokenizer":
        """The tokenizer that `to_json` wrote.

        Raises ValueError, KeyError or TypeError for other texts.
        """
        return cls._from_vocabulary(wordpiece_files.parse_saved(json.loads(text)))

    @classmethod
    def load(cls, path: str | Path) -> "WordPieceTokenizer":
        """Read a vocabulary in one of the forms of wordpiece_files.py.

        path: a file, or the folder that holds it. Raises FileNotFoundError, or
        FileError that says what is wrong with which file.
        """
        file = wordpiece_files.find_wordpiece(path)
        with file_errors(file, "not a WordPiece vocabulary"):
            return cls._from_vocabulary(wordpiece_files.read_wordpiece(file))

    @classmethod
    def _from_vocabulary(cls, vocabulary: WordPieceVocabulary) -> "WordPieceTokenizer":
        return cls(vocabulary.pieces, vocabulary.context_length, vocabulary.cleaning)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to the file `path`, whole or not at all."""
        with replace_file(path) as file:
            file.write(f"{self.to_json()}\n".encode())


def cut_longest_first(
    word: str, vocabulary: Mapping[str, int], longest: int = LONGEST_WORD
) -> list[str] | None:
    """The pieces of a word, each the longest that fits, or None if there is no way.

    No piece has more than `longest` characters.

    >>> vocabulary = {piece: 0 for piece in ("a", "ab", "##c", "##cd", "##b")}
    >>> cut_longest_first("abcdb", vocabulary)
    ['ab', '##cd', '##b']
    >>> cut_longest_first("abd", vocabulary) is None
    True
    """
    if len(word) > LONGEST_WORD:
        return None
    pieces: list[str] = []
    start = 0
    while start < len(word):
        mark = CONTINUES if start else ""
        for stop in range(min(len(word), start + longest), start, -1):
            piece = mark + word[start:stop]
            if piece in vocabulary:
                break
        else:
            return None
        pieces.append(piece)
        start = stop
    return pieces


def _check_pieces(pieces: Sequence[str], vocabulary: Mapping[str, int]) -> None:
    """ValueError for a list that is no vocabulary."""
    for place, piece in enumerate(pieces):
        if not isinstance(piece, str) or not piece:
            raise ValueError(f"piece {place} of the vocabulary must be a text, got {piece!r:.60}")
        if vocabulary[piece] != place:
            raise ValueError(f"the vocabulary has {piece!r:.60} twice, as {place} and before it")
    for token in (PAD, UNK, CLS, SEP):
        if token not in vocabulary:
            raise ValueError(f"the vocabulary has no {token}")
