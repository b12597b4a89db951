"""How are millions of rows held in little memory?

A text in Python needs 50 bytes more than its letters, and a path or a function needs
200 bytes. A row of a data set has three of them. So `open_dataset` packs the columns:

    Texts      the letters of all texts one after another, and where each one ends
    Sources    two numbers for each image: which reader reads it, and which image of it

Both look like lists. The text or the path of a row is made when somebody asks for it,
and is then forgotten. `take` picks rows without copying the letters.
"""

import abc
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

from clip_np.data.errors import DataError
from clip_np.data.images import ImageSource
from clip_np.data.pairs import Pairs, Row
from clip_np.data.splits import SPLIT_NAMES

IS_PATH = -1  # in place of a reader's number: the image is the file of the row's name
IS_OBJECT = -2  # the source itself is kept
NO_UNICODE = "surrogatepass"  # file names may hold bytes that are no letters
NAME_IS_KEY = -1  # in place of a key: the reader wants the row's name


@dataclass(frozen=True)
class Located:
    """The source of an image that stays where it is until somebody asks for it.

    >>> Located(reader=Path, key="cat.png")()
    PosixPath('cat.png')
    """

    reader: Callable[[Any], Any]
    key: int | str  # a row's number, or the row's name

    def __call__(self) -> Any:
        return self.reader(self.key)


Item = TypeVar("Item", covariant=True)


class _Packed(Sequence[Item], Generic[Item]):
    """What looks like a list and makes an item when it is asked for."""

    rows: np.ndarray  # which of the packed items these are, in this order

    @abc.abstractmethod
    def _item(self, row: int) -> Item:
        """The packed item number `row`."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._item(row) for row in self.rows[index].tolist()]
        return self._item(int(self.rows[index]))

    def __iter__(self) -> Iterator[Item]:
        return (self._item(int(row)) for row in self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]  # as lists have none

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __repr__(self) -> str:
        return repr(list(self))


class Texts(_Packed[str]):
    """Many texts in one piece of memory.

    >>> texts = Texts.of(["a cat", "", "größe"])
    >>> texts
    ['a cat', '', 'größe']
    >>> texts.take([2, 0])[0]
    'größe'
    """

    def __init__(self, letters: bytes | bytearray, ends: np.ndarray, rows: np.ndarray) -> None:
        self._letters = letters
        self._ends = ends  # (N + 1,): where each text ends, after a 0
        self.rows = rows

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """The texts, packed."""
        builder = _TextsBuilder()
        for text in texts:
            builder.add(text.encode("utf-8", NO_UNICODE))
        return builder.finish()

    def _item(self, row: int) -> str:
        return self._letters[self._ends[row] : self._ends[row + 1]].decode("utf-8", NO_UNICODE)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Texts":
        """The texts of these rows, in this order."""
        return Texts(self._letters, self._ends, self.rows[np.asarray(indices, dtype=np.int64)])


class _TextsBuilder:
    """Collects encoded texts one by one; `finish` makes them `Texts`."""

    def __init__(self) -> None:
        self._letters = bytearray()
        self._ends = array("q", [0])

    def add(self, letters: bytes) -> None:
        self._letters += letters
        self._ends.append(len(self._letters))

    def finish(self) -> Texts:
        ends = np.frombuffer(self._ends, dtype=np.int64)
        return Texts(self._letters, ends, np.arange(len(ends) - 1, dtype=np.int32))


class Sources(_Packed[ImageSource]):
    """The sources of images, most of them as two numbers."""

    def __init__(
        self,
        readers: np.ndarray,  # (N,) int32: the number of a reader, IS_PATH or IS_OBJECT
        keys: np.ndarray,  # (N,) int64: what the reader wants, or the number of an object
        names: Texts,
        reader_of: Sequence[Callable[[Any], Any]],
        objects: Sequence[ImageSource],
        rows: np.ndarray,
    ) -> None:
        self._readers = readers
        self._keys = keys
        self._names = names
        self._reader_of = reader_of
        self._objects = objects
        self.rows = rows

    def _item(self, row: int) -> ImageSource:
        reader = int(self._readers[row])
        key = int(self._keys[row])
        if reader == IS_OBJECT:
            return self._objects[key]
        if reader == IS_PATH:
            return Path(self._names[row])
        return Located(self._reader_of[reader], self._names[row] if key == NAME_IS_KEY else key)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Sources":
        """The sources of these rows, in this order."""
        return Sources(
            readers=self._readers,
            keys=self._keys,
            names=self._names,
            reader_of=self._reader_of,
            objects=self._objects,
            rows=self.rows[np.asarray(indices, dtype=np.int64)],
        )


class _SourcesBuilder:
    """Collects sources one by one; `finish` makes them `Sources`.

    A source that the name of its row already says needs no memory beyond two numbers.
    """

    def __init__(self) -> None:
        self._readers = array("i")
        self._keys = array("q")
        self._reader_of: list[Callable[[Any], Any]] = []
        self._number_of: dict[int, int] = {}  # id of a reader -> its number
        self._objects: list[ImageSource] = []

    def add(self, source: ImageSource, name: str) -> None:
        if isinstance(source, Path) and str(source) == name:
            self._append(IS_PATH, 0)
        elif isinstance(source, Located) and isinstance(source.key, int):
            self._append(self._number(source.reader), source.key)
        elif isinstance(source, Located) and source.key == name:
            self._append(self._number(source.reader), NAME_IS_KEY)
        else:
            self._append(IS_OBJECT, len(self._objects))
            self._objects.append(source)

    def _append(self, reader: int, key: int) -> None:
        self._readers.append(reader)
        self._keys.append(key)

    def _number(self, reader: Callable[[Any], Any]) -> int:
        number = self._number_of.setdefault(id(reader), len(self._reader_of))
        if number == len(self._reader_of):
            self._reader_of.append(reader)  # which also keeps its id from being used again
        return number

    def finish(self, names: Texts) -> Sources:
        return Sources(
            readers=np.array(self._readers, dtype=np.int32),
            keys=np.array(self._keys, dtype=np.int64),
            names=names,
            reader_of=self._reader_of,
            objects=self._objects,
            rows=np.arange(len(self._keys), dtype=np.int32),
        )


def pack_rows(rows: Iterable[Row]) -> tuple[Pairs, np.ndarray]:
    """The pairs of some rows, packed, and the split of each: (N,) of texts.

    Raises DataError for a text that is no Unicode.
    """
    captions = _TextsBuilder()
    names = _TextsBuilder()
    tags = _TextsBuilder()
    sources = _SourcesBuilder()
    splits = array("b")
    has_tags = False
    for row in rows:
        try:
            captions.add(row.caption.encode("utf-8"))
            tags.add(row.tags.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise DataError(
                f"{row.name}: its caption or tags are no Unicode text ({error}): correct "
                "their encoding"
            ) from error
        names.add(row.name.encode("utf-8", NO_UNICODE))
        sources.add(row.source, row.name)
        splits.append(SPLIT_NAMES.index(row.split))
        has_tags = has_tags or bool(row.tags)
    packed_names = names.finish()
    pairs = Pairs(
        captions=captions.finish(),
        names=packed_names,
        tags=tags.finish() if has_tags else None,
        sources=sources.finish(packed_names),
    )
    return pairs, np.array(SPLIT_NAMES, dtype=object)[np.array(splits, dtype=np.int8)]
