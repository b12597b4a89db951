"""Chapter 18: how does a caption become numbers?

Were each word a number, new words would have none; were each byte one, captions would be long.
*Byte-level byte-pair encoding* stands between the two:

1.  Clean the text (repair, HTML entities, white space, lower case) and split it into words.
2.  Spell each word in bytes, and mark its last byte with "</w>", the end of a word.
3.  Join two neighbouring pieces into one, again and again, in the order of a list of *merges*.
    The pieces that remain are the word's tokens: "red" may be one, "zyzzyva" five.

The merges are learned: start from bytes, join the most frequent pair of neighbours in the
training captions to a new piece, repeat. Bytes stay in the vocabulary, so no text is unreadable.

Cleaning, pattern and order of the vocabulary are those of the published CLIP models. A row of a
batch is ``start, tokens, end, 0, 0, ...``; the text encoder finds the end by its highest id.

Byte-pair encoding for text: Sennrich, Haddow and Birch (2016), https://arxiv.org/abs/1508.07909.
"""

from __future__ import annotations

import functools
import heapq
import html
import json
import operator
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from clip_np.safe_files import replace_file

START, END, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"
MAX_CONTEXT_LENGTH = 77
FORMAT = "clip_np tokenizer 1"
# Words that a tokenizer remembers, so that a long-lived one does not grow without bound.
CACHE_WORDS = 100_000

# One visible character for each byte, in the order of the vocabulary: the printable bytes of
# Latin-1 stand for themselves, the other 68 take the characters from 256 on.
_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_OTHERS = (byte for byte in range(256) if byte not in _PRINTABLE)
_SPELLING = {byte: chr(byte) for byte in _PRINTABLE}
_SPELLING |= {byte: chr(256 + number) for number, byte in enumerate(_OTHERS)}
_BYTES = {character: byte for byte, character in _SPELLING.items()}

# The words of lower-case ASCII text. `_shadow` brings any other text into this form.
_WORDS = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+"
)


@functools.cache
def _repair() -> Callable[[str], str]:
    """ftfy's repair of broken Unicode where it is installed, else no repair."""
    try:
        import ftfy
    except ImportError:
        return str
    return ftfy.fix_text


def clean(text: str) -> str:
    """Repair, unescape HTML twice, collapse white space, lower the case."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__} {_shorten(text)}")
    # On printable ASCII without entities the first two steps change nothing.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = html.unescape(html.unescape(_repair()(text)))
    return " ".join(text.split()).lower()


def _shadow(character: str) -> str:
    """An ASCII character that the word pattern treats as it should treat ``character``."""
    if character.isascii():
        return character
    if character == "ſ":
        return "s"  # CLIP's pattern ignores case, and this is a second lower case of S
    return {"L": "z", "N": "0"}.get(unicodedata.category(character)[0], "#")


def split_words(text: str) -> list[str]:
    """Words of a clean text: runs of letters, single digits, runs of other signs, 's 't 're ..."""
    if text.isascii():
        return _WORDS.findall(text)
    shadow = "".join(map(_shadow, text))
    return [text[match.start() : match.end()] for match in _WORDS.finditer(shadow)]


def _spell(word: str) -> list[str]:
    """The bytes of a word as characters, the last with the end-of-word mark."""
    try:
        pieces = [_SPELLING[byte] for byte in word.encode("utf-8")]
    except UnicodeEncodeError as error:
        hint = "half of a surrogate pair is no character (ftfy, when installed, repairs it)"
        raise ValueError(f"cannot tokenize {_shorten(word)}: {hint}") from error
    return [*pieces[:-1], pieces[-1] + END_OF_WORD]


def _join(pieces: list[Any], pair: tuple[Any, Any], joined: Any) -> list[Any]:
    """``pieces`` with every occurrence of ``pair``, from the left, replaced by ``joined``."""
    left, right = pair
    result: list[Any] = []
    for piece in pieces:
        if result and piece == right and result[-1] == left:
            result[-1] = joined
        else:
            result.append(piece)
    return result


def learn_merges(word_counts: Mapping[str, int], limit: int) -> list[tuple[str, str]]:
    """The ``limit`` merges that byte-pair encoding learns from words and how often they occur.

    The most frequent pair comes first, among equals the first in the alphabet, until no pair
    occurs twice. Counts are kept up to date, so a merge costs what the words with its pair cost.
    """
    words = [(_spell(word), count) for word, count in word_counts.items()]
    counts: Counter[tuple[str, str]] = Counter()
    holders: defaultdict[tuple[str, str], set[int]] = defaultdict(set)  # pair -> words
    for number, (pieces, count) in enumerate(words):
        for pair in pairwise(pieces):
            counts[pair] += count
            holders[pair].add(number)
    queue = sorted((-count, pair) for pair, count in counts.items())  # sorted, hence a heap
    merges: list[tuple[str, str]] = []
    while queue and len(merges) < limit:
        negative, pair = heapq.heappop(queue)
        if -negative != counts[pair]:
            continue  # the count has changed since, and a newer entry holds it
        if -negative < 2:
            break
        merges.append(pair)
        changed = set()
        for number in holders.pop(pair):
            before, count = words[number]
            after = _join(before, pair, "".join(pair))
            words[number] = (after, count)
            for pieces, change in ((before, -count), (after, count)):
                for neighbours in pairwise(pieces):
                    counts[neighbours] += change
                    holders[neighbours].add(number)
                    changed.add(neighbours)
        for neighbours in changed:
            heapq.heappush(queue, (-counts[neighbours], neighbours))
    return merges


def _build_vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Piece -> id. Raises ValueError for a merge that cannot have been learned."""
    pieces = [*_BYTES, *(character + END_OF_WORD for character in _BYTES)]
    vocabulary = {piece: token_id for token_id, piece in enumerate(pieces)}
    for number, merge in enumerate(merges):
        if not isinstance(merge, (tuple, list)) or [type(piece) for piece in merge] != [str, str]:
            raise ValueError(f"merge {number} must be a pair of strings, got {_shorten(merge)}")
        where, joined = f"merge {number} {tuple(merge)}", "".join(merge)
        unknown = [piece for piece in merge if piece not in vocabulary]
        if unknown:
            raise ValueError(f"{where} uses {unknown[0]!r}, which no merge before it makes")
        if merge[0].endswith(END_OF_WORD):
            raise ValueError(f"{where} continues a word after its end")
        if joined in vocabulary or joined in (START, END):
            raise ValueError(f"{where} makes {joined!r}, which the vocabulary has already")
        vocabulary[joined] = len(vocabulary)
    return vocabulary | {START: len(vocabulary), END: len(vocabulary) + 1}


def _shorten(value: Any) -> str:
    """``value`` as an error message shows it, at most about 60 characters."""
    shown = repr(value[:60]) if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _as_list(texts: str | Iterable[str]) -> list[str]:
    single = isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable)
    return [texts] if single else list(texts)


def _check_context_length(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 2:
        raise ValueError(f"context_length must be an integer of at least 2, got {value!r}")
    return int(value)


class Tokenizer:
    """Captions to token ids and back.

    ``merges`` are pairs of pieces in the order in which they are joined. The vocabulary follows
    from them: 256 bytes, 256 bytes that end a word, one piece a merge, start and end token.
    ``context_length`` is the default length of rows. Raises ValueError for merges that cannot
    have been learned and for a context length below 2.
    """

    def __init__(
        self, merges: Sequence[tuple[str, str]], context_length: int = MAX_CONTEXT_LENGTH
    ) -> None:
        self.vocabulary = ids = _build_vocabulary(merges)
        self.merges = tuple((left, right) for left, right in merges)
        self.context_length = _check_context_length(context_length)
        self.vocab_size = len(ids)
        self.start_token_id, self.end_token_id = ids[START], ids[END]
        self._pieces = list(ids)
        # The id of a joined pair is also its rank: earlier merges have lower ids.
        self._joined = {(ids[a], ids[b]): ids[a + b] for a, b in self.merges}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, context_length: int | None = None
    ) -> Tokenizer:
        """Learn a vocabulary of at most ``vocab_size`` from captions, in whatever order they come.

        It stays smaller where no further pair of pieces occurs twice. ``context_length`` None:
        the longest caption in tokens with start and end, at most 77. Raises ValueError for no
        texts or a ``vocab_size`` below 514: bytes, final bytes, start, end.
        """
        smallest = 2 * len(_SPELLING) + 2
        if vocab_size < smallest:
            raise ValueError(f"vocab_size must be at least {smallest}, got {vocab_size}")
        if not (texts := _as_list(texts)):
            raise ValueError("cannot train a tokenizer without texts")
        words = (word for text in texts for word in split_words(clean(text)))
        counts = Counter(word for word in words if word not in (START, END))
        merges = learn_merges(counts, vocab_size - smallest)
        if context_length is None:
            context_length = min(int(cls(merges).lengths(texts).max()), MAX_CONTEXT_LENGTH)
        return cls(merges, context_length)

    def _encode_word(self, word: str) -> list[int]:
        """Token ids of one word: make the earliest merge that applies until none does."""
        if word in (START, END):
            return [self.vocabulary[word]]
        ids = [self.vocabulary[piece] for piece in _spell(word)]
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self._joined.get(pair, self.vocab_size))
            if pair not in self._joined:
                break
            ids = _join(ids, pair, self._joined[pair])
        return ids

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without start and end.

        As in CLIP, a text that spells out "<|startoftext|>" or "<|endoftext|>" gets that token.
        Raises TypeError for anything but a string, ValueError for half of a surrogate pair.
        """
        ids: list[int] = []
        for word in split_words(clean(text)):
            word_ids = self._cache.get(word)
            if word_ids is None:
                word_ids = self._encode_word(word)
                if len(self._cache) >= CACHE_WORDS:
                    self._cache.clear()
                self._cache[word] = word_ids
            ids.extend(word_ids)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The clean text of token ids, words apart: of `encode`'s list or of a row.

        Start tokens are left out, and the first end token ends the text: what follows it is
        padding. Bytes that are no UTF-8 become "\\ufffd". Raises ValueError for an id outside
        the vocabulary, TypeError for one that is no integer.
        """
        spelled = []
        for position, token_id in enumerate(map(operator.index, ids)):
            if not 0 <= token_id < self.vocab_size:
                raise ValueError(f"ids[{position}] is {token_id}, not in 0..{self.vocab_size - 1}")
            if token_id == self.end_token_id:
                break
            if token_id != self.start_token_id:
                spelled.extend(self._pieces[token_id])
        text = bytes(map(_BYTES.__getitem__, spelled)).decode("utf-8", errors="replace")
        return text.replace(END_OF_WORD, " ").strip()

    def lengths(self, texts: str | Iterable[str]) -> np.ndarray:
        """How many tokens each text has with start and end: (n,) int64."""
        return np.array([len(self.encode(text)) + 2 for text in _as_list(texts)], dtype=np.int64)

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, truncate: bool = False
    ) -> np.ndarray:
        """Rows of ids for the text encoder: (n, T) int64, start + ids + end, padded with 0.

        T is ``context_length``, by default the tokenizer's own. A text that does not fit raises
        ValueError; with ``truncate`` its row is cut, and its last id is still the end token.
        """
        length = self.context_length if context_length is None else context_length
        texts = _as_list(texts)
        rows = np.zeros((len(texts), _check_context_length(length)), dtype=np.int64)
        for number, text in enumerate(texts):
            ids = self.encode(text)
            if len(ids) + 2 > length and not truncate:
                raise ValueError(
                    f"text {number} {_shorten(text)} has {len(ids) + 2} tokens with start and "
                    f"end, the limit is {length}: shorten it, or pass truncate=True to cut it"
                )
            ids = [self.start_token_id, *ids[: length - 2], self.end_token_id]
            rows[number, : len(ids)] = ids
        return rows

    def to_json(self) -> str:
        """The tokenizer as the text of a JSON file, for `from_json`."""
        content = {"context_length": self.context_length, "merges": self.merges}
        return json.dumps({"format": FORMAT, **content}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote. Raises ValueError for any other text."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not valid JSON: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f'not a file of this tokenizer: it lacks "format": "{FORMAT}"')
        if not isinstance(content.get("merges"), list):
            raise ValueError(f"merges must be a list, got {_shorten(content.get('merges'))}")
        return cls(content["merges"], content.get("context_length"))

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to the file ``path``: a crash leaves the old file or the new one."""
        with replace_file(path) as file:
            file.write(f"{self.to_json()}\n".encode())

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read what `save` wrote: a file, or a folder that holds ``tokenizer.json``.

        Raises FileNotFoundError, or ValueError that says what is wrong with which file.
        """
        path = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
