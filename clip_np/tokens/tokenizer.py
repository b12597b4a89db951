"""Chapter 21: how does a caption become numbers?

Were each word a number, new words would have none; were each byte one, captions would be long.
*Byte-level byte-pair encoding* stands between the two:

1.  Clean the text (repair, HTML entities, white space, lower case) and split it into words.
2.  Spell each word in bytes, and mark its last byte with "</w>", the end of a word.
3.  Join two neighbouring pieces into one, again and again, in the order of a list of *merges*.
    The pieces that remain are the word's tokens: "red" may be one, "zyzzyva" five.

The merges are learned: the pair of neighbours that is most frequent in the training captions is
joined, and so on. All else is as in the published CLIP models, whose method is that of Sennrich,
Haddow and Birch (2016), https://arxiv.org/abs/1508.07909. Their vocabulary can be read, too.
"""

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
from reprlib import repr as shortened
from typing import Any

import numpy as np

from clip_np.files import file_errors, replace_file
from clip_np.tokens import vocabularies
from clip_np.tokens.vocabularies import END, FORMAT, PAD_KEY, PUBLISHED_CONTEXT_LENGTH, START

Pair = tuple[str, str]
END_OF_WORD = "</w>"
CACHE_WORDS = 100_000  # words whose tokens a tokenizer remembers

# One visible character for each byte, in the order of the vocabulary: the printable bytes of
# Latin-1 stand for themselves, the other 68 take the characters from 256 on.
_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_OTHERS = (byte for byte in range(256) if byte not in _PRINTABLE)
_SPELLING = {byte: chr(byte) for byte in _PRINTABLE}
_SPELLING |= {byte: chr(256 + number) for number, byte in enumerate(_OTHERS)}
_BYTES = {character: byte for byte, character in _SPELLING.items()}

# The words of clean ASCII text. `split_words` brings any other text into this form.
_WORDS = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^ a-z0-9]+"
)
_SPACE = re.compile(r"[^\S\x1c-\x1f]+")  # the four separators are space to Python, not to Unicode


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
        raise TypeError(f"text must be a string, got {type(text).__name__} {shortened(text)}")
    # On printable ASCII without entities the first two steps change nothing.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = html.unescape(html.unescape(_repair()(text)))
    return _SPACE.sub(" ", text).strip().lower()


def split_words(text: str) -> list[str]:
    """Words of a clean text: runs of letters, single digits, runs of other signs, 's 't 're ..."""
    if text.isascii():
        return _WORDS.findall(text)
    # Beyond ASCII, z, 0 and # stand in for letters, numbers and other signs; and as CLIP's pattern
    # ignores case, "ſ" is an s to it, and U+0345, a mark with a capital letter, matches nothing.
    kinds = defaultdict(lambda: "#", L="z", N="0")
    signs = text.replace("ſ", "s").replace("\u0345", " ")
    shadow = "".join(c if c.isascii() else kinds[unicodedata.category(c)[0]] for c in signs)
    return [text[match.start() : match.end()] for match in _WORDS.finditer(shadow)]


def _spell(word: str) -> list[str]:
    """The bytes of a word as characters, the last with the end-of-word mark."""
    pieces = [_SPELLING[byte] for byte in word.encode("utf-8")]
    return [*pieces[:-1], pieces[-1] + END_OF_WORD]


def _join(pieces: list[str], ranks: Mapping[Pair, int]) -> list[str]:
    """Join neighbours, the pair of the lowest rank first and from the left, until no pair has one.
    A heap of the joins ahead spares looking for them: a word of 100,000 letters takes no minute."""
    pieces = [*pieces, ""]  # "" is also left where a piece was joined to the one before
    after, before = [*range(1, len(pieces)), 0], [*range(-1, len(pieces) - 1)]
    ahead = [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
    heapq.heapify(ahead)
    while ahead:
        rank, left = heapq.heappop(ahead)
        right = after[left]
        if ranks.get((pieces[left], pieces[right])) != rank:
            continue  # another join was here first
        pieces[left], pieces[right] = pieces[left] + pieces[right], ""
        after[left], before[after[right]] = after[right], left
        for at in (before[left], left):
            if (pair := (pieces[at], pieces[after[at]])) in ranks:
                heapq.heappush(ahead, (ranks[pair], at))
    return [piece for piece in pieces if piece]


def learn_merges(word_counts: Mapping[str, int], limit: int) -> list[Pair]:
    """The `limit` merges that byte-pair encoding learns from words and how often they occur.
    The most frequent pair comes first, among equals the first in the alphabet, until no pair
    occurs twice. Counts are not taken anew for each merge but corrected where it changes words."""
    words = {word: _spell(word) for word in word_counts}
    counts: Counter[Pair] = Counter()
    with_count: defaultdict[int, set[Pair]] = defaultdict(set)  # the same, the other way round
    holders: defaultdict[Pair, set[str]] = defaultdict(set)  # pair -> words that have had it

    def tally(word: str, sign: int) -> None:
        for pair in pairwise(words[word]):
            with_count[counts[pair]].discard(pair)
            counts[pair] += sign * word_counts[word]
            with_count[counts[pair]].add(pair)
            holders[pair].add(word)

    for word in words:
        tally(word, +1)
    merges: list[Pair] = []
    most = max(with_count, default=0)  # it never grows: a new pair holds the piece just joined
    while most > 1 and len(merges) < limit:
        if not with_count[most]:
            most -= 1
            continue
        pair = min(with_count[most])
        merges.append(pair)
        for word in holders.pop(pair):
            tally(word, -1)
            words[word] = _join(words[word], {pair: 0})
            tally(word, +1)
    return merges


def _build_vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """Piece -> id. Raises ValueError for a merge that cannot have been learned."""
    pieces = [*_BYTES, *(character + END_OF_WORD for character in _BYTES)]
    vocabulary = {piece: token_id for token_id, piece in enumerate(pieces)}
    for left, right in merges:
        joined = left + right
        known = left in vocabulary and right in vocabulary and not left.endswith(END_OF_WORD)
        if not known or joined in vocabulary or joined in (START, END):
            raise ValueError(f"a merge must join two known pieces to a new one, got {left, right}")
        vocabulary[joined] = len(vocabulary)
    return vocabulary | {START: len(vocabulary), END: len(vocabulary) + 1}


def _as_list(texts: str | Iterable[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


class Tokenizer:
    """Captions to token ids and back. `merges` are pairs of pieces in the order in which they are
    joined; `vocabulary` holds 256 bytes, 256 that end a word, one piece a merge, start and end;
    `context_length` is that of rows, `pad_token_id` what fills them behind the end token (the
    model sees none of it). ValueError for merges that cannot have been learned."""

    def __init__(
        self,
        merges: Iterable[Pair],
        context_length: int = PUBLISHED_CONTEXT_LENGTH,
        pad_token_id: int = 0,
    ) -> None:
        self.merges = tuple(map(tuple, merges))
        self.vocabulary = ids = _build_vocabulary(self.merges)
        self.context_length = operator.index(context_length)
        if context_length < 2:
            raise ValueError(f"context_length must be at least 2, got {context_length}")
        self.vocab_size, self.pad_token_id = len(ids), operator.index(pad_token_id)
        if not 0 <= pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id {pad_token_id} is not in 0..{self.vocab_size - 1}")
        self.start_token_id, self.end_token_id = ids[START], ids[END]
        self._pieces = dict(enumerate(ids)) | {ids[START]: ""}
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._word_ids = functools.lru_cache(CACHE_WORDS)(self._encode_words)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, context_length: int | None = None
    ) -> "Tokenizer":
        """Learn a vocabulary of at most `vocab_size` from captions: fewer where no further pair of
        pieces occurs twice. `context_length` None: the longest caption in tokens with start and
        end, at most 77. ValueError for no texts or below 514: bytes, final bytes, start, end."""
        texts, smallest = _as_list(texts), len(_build_vocabulary([]))
        if not texts or vocab_size < smallest:
            found = f"{len(texts)} texts and vocab_size {vocab_size}"
            raise ValueError(f"training needs texts and vocab_size >= {smallest}, got {found}")
        counts = Counter(word for text in texts for word in split_words(clean(text)))
        del counts[START], counts[END]
        merges = learn_merges(counts, vocab_size - smallest)
        if context_length is None:
            context_length = min(int(cls(merges).lengths(texts).max()), PUBLISHED_CONTEXT_LENGTH)
        return cls(merges, context_length)

    def _encode_words(self, text: str) -> list[int]:
        """Token ids of clean text without spaces: one word, or some, as in "it's"."""
        found: list[str] = []
        for word in split_words(text):
            found += [word] if word in (START, END) else _join(_spell(word), self._ranks)
        return [self.vocabulary[piece] for piece in found]

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without start and end. TypeError for anything but a string."""
        return [token_id for part in clean(text).split(" ") for token_id in self._word_ids(part)]

    def decode(self, ids: Iterable[int]) -> str:
        """The clean text, words apart, of `encode`'s list or of a row.
        Start tokens are left out, the first end token ends the text, and bytes that are no UTF-8
        become "\\ufffd". Raises ValueError for an id outside the vocabulary."""
        spelled = ""
        for token_id in ids:
            if token_id not in self._pieces:
                raise ValueError(f"token id {token_id} is not in 0..{self.vocab_size - 1}")
            if token_id == self.end_token_id:
                break
            spelled += self._pieces[token_id]
        text = bytes(_BYTES[character] for character in spelled).decode("utf-8", errors="replace")
        return text.replace(END_OF_WORD, " ").strip()

    def lengths(self, texts: str | Iterable[str]) -> np.ndarray:
        """How many tokens each text has with start and end: (n,) int64."""
        return np.array([len(self.encode(text)) + 2 for text in _as_list(texts)], dtype=np.int64)

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, truncate: bool = False
    ) -> np.ndarray:
        """Rows of ids for the text encoder: (n, T) int64, start + ids + end + padding.
        T is `context_length`, by default the tokenizer's own. A text that does not fit raises
        ValueError; with `truncate` its row is cut, and its last id is still the end token."""
        length = self.context_length if context_length is None else context_length
        texts = _as_list(texts)
        rows = np.full((len(texts), length), self.pad_token_id, dtype=np.int64)
        for number, text in enumerate(texts):
            ids = self.encode(text)
            if len(ids) + 2 > length and not truncate:
                found = f"{shortened(text)} has {len(ids) + 2} tokens with start and end"
                fix = f"the limit is {length}: shorten it, or pass truncate=True to cut it"
                raise ValueError(f"text {number} {found}, {fix}")
            ids = [self.start_token_id, *ids[: length - 2], self.end_token_id]
            rows[number, : len(ids)] = ids
        return rows

    def to_json(self) -> str:
        """The tokenizer as the text of a JSON file, for `from_json`."""
        content = {"context_length": self.context_length, "pad_token_id": self.pad_token_id}
        content |= {"format": FORMAT, "merges": self.merges}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote; ValueError, KeyError or TypeError for other texts."""
        return cls._from_content(json.loads(text))

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> "Tokenizer":
        if content["format"] != FORMAT:
            raise ValueError(f"the format is {content['format']!r}, not {FORMAT!r}")
        made = cls(content["merges"], content["context_length"], content.get("pad_token_id", 0))
        ids, given = made.vocabulary, content.get("vocabulary", made.vocabulary)
        for piece in ids | given:
            wanted, found = ids.get(piece), given.get(piece)
            if wanted != found:
                raise ValueError(f"the id of {piece!r} is {found!r}, by the merges it is {wanted}")
        return made

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to the file `path`: a crash leaves the old file or the new one."""
        with replace_file(path) as file:
            file.write(f"{self.to_json()}\n".encode())

    def save_huggingface(self, directory: str | Path) -> None:
        """Write the folder that transformers' `CLIPTokenizer.from_pretrained` and `load` read:
        vocab.json, merges.txt, tokenizer_config.json."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": self.context_length}
        config |= {f"{role}_token": END for role in ("eos", "unk", "pad")} | {"bos_token": START}
        contents = {
            "vocab.json": json.dumps(self.vocabulary, ensure_ascii=False),
            "merges.txt": "\n".join(["#version: 0.2", *map(" ".join, self.merges)]),
            "tokenizer_config.json": json.dumps(config | {PAD_KEY: self.pad_token_id}),
        }
        for name, content in contents.items():
            with replace_file(directory / name) as file:
                file.write(f"{content}\n".encode())
        for name in ("tokenizer.json", "special_tokens_map.json", "added_tokens.json"):
            (directory / name).unlink(missing_ok=True)  # another's, and transformers prefers it

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read what `save` or `save_huggingface` wrote, or a published vocabulary in one of the
        forms of clip_np/vocabularies.py: a file, or the folder that holds it.
        Raises FileNotFoundError, or FileError that says what is wrong with which file."""
        path = vocabularies.find_vocabulary(path)
        with file_errors(path, "no tokenizer"):
            return cls._from_content(vocabularies.read_vocabulary(path))

    @classmethod
    def published(cls) -> "Tokenizer":
        """The published vocabulary, 49,408 pieces, from an installed package that brings it along.
        Raises FileNotFoundError that says what to install where there is none."""
        return cls.load(vocabularies.find_published())
