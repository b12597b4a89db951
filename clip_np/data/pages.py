"""Does a parquet file say at its end what is really in it?

A parquet file ends with a table of contents, the *footer*. It says of each chunk of a
column how many values it has and how many bytes they take. But Arrow decodes *pages*,
and each page begins with a header of its own that says how large it is:

    PAR1 | page header, page | page header, page | ... | footer | its length | PAR1

A hostile file says little in its footer and much in its pages. So the headers of all
pages are read here, which is quick: nothing is unpacked. Together they must say what
the footer says, and then the bounds of stored_images.py hold for what Arrow unpacks.

Both are in Thrift's compact form: numbers of 7 bits a byte, and structures as lists of
(number of the field, type, value).
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from clip_np.data.errors import DataError

MAGIC = b"PAR1"
END_BYTES = 8  # the length of the footer, and MAGIC
HEADER_BYTES = 2**16
"""What is read for the header of a page, which may quote two values of the page."""
MAX_FOOTER = 2**23  # bytes; it takes Python 15 times as many. 10,000 groups have less
MAX_PAGES = 100_000  # of a file; one has a megabyte, or some thousand values
MAX_DEPTH = 16  # of structures in one another; the format has 7

TRUE, FALSE = 1, 2  # types of fields that have no value besides

# Numbers of the fields that are looked at.
SCHEMA, ROW_GROUPS, COLUMNS, ROWS, METADATA, SECRET = 2, 4, 1, 3, 3, 8
TYPE = 1  # of an element of the schema, and in the metadata of a column
BYTE_ARRAY = 6
REPETITION, NAME, CHILDREN = 3, 4, 5  # of an element of the schema
OPTIONAL, REPEATED = 1, 2
SIZES, BYTES_OF_TEXTS, REPETITIONS, DEFINITIONS = 16, 1, 2, 3
PATH, VALUES, UNPACKED, PACKED, FIRST_PAGE, DICTIONARY = 3, 5, 6, 7, 9, 11
PAGE_TYPE, PAGE_UNPACKED, PAGE_PACKED = 1, 2, 3
DATA_PAGES = {0: 5, 3: 8}  # type of the page -> field with its number of values
PAGE_VALUES = 1

Fields = dict[int, Any]


def require_true_footer(path: Path) -> None:
    """DataError if the pages of a parquet file are not what its footer says."""
    try:
        with open(path, "rb") as file:
            pages = 0
            for number, chunk in enumerate(_chunks(file)):
                for _ in _pages(file, chunk, f"chunk {number}"):
                    pages += 1
                    if pages > MAX_PAGES:
                        raise ValueError(f"it has more than {MAX_PAGES:,} pages (MAX_PAGES)")
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read as a parquet file: its footer or the header of a page is "
            f"damaged ({type(error).__name__}: {error})"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def _chunks(file: BinaryIO) -> Iterator[Fields]:
    """What the footer says of each chunk of a column.

    ValueError if that does not fit the schema: Arrow would end the program.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - END_BYTES))
    end = file.read(END_BYTES)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or length > min(size - END_BYTES, MAX_FOOTER):
        raise ValueError("it does not end with a footer")
    file.seek(size - END_BYTES - length)
    footer = Thrift(file.read(length)).structure()
    root, *elements = footer[SCHEMA]
    leaves = list(_leaves(iter(elements), count=root.get(CHILDREN, 0)))
    for group in footer.get(ROW_GROUPS, []):
        if len(group[COLUMNS]) != len(leaves):
            raise ValueError(f"a group has {len(group[COLUMNS])} columns, not {len(leaves)}")
        for column, (path, kind, *levels) in zip(group[COLUMNS], leaves):
            if SECRET in column:
                raise ValueError("it is encrypted")
            if (column[METADATA][PATH], column[METADATA][TYPE]) != (path, kind):
                raise ValueError("its columns and its schema have different names or types")
            sizes = column[METADATA].get(SIZES, {})
            if BYTES_OF_TEXTS in sizes and kind != BYTE_ARRAY:
                raise ValueError("a column without texts has a number of bytes of texts")
            for field, level in zip((REPETITIONS, DEFINITIONS), levels):
                if len(sizes.get(field, [])) not in (0, level + 1):
                    raise ValueError(f"counts of {len(sizes[field])} levels, not {level + 1}")
            if group[ROWS] != 0:  # a group without rows has no pages, and none is read
                yield column[METADATA]


def _leaves(
    elements: Iterator[Fields],
    count: int,
    parents: Sequence[bytes] = (),
    repeated: int = 0,
    defined: int = 0,
) -> Iterator[tuple[list[bytes], int, int, int]]:
    """Of each column: its names, its type, its highest repetition and definition level.

    The levels count the structures around a value: those that may be repeated, and
    those that may be repeated or missing. ValueError for names that are not UTF-8.
    """
    for _ in range(count):
        element = next(elements, None)
        if element is None:
            raise ValueError("the schema ends too early")
        element[NAME].decode("utf-8")
        kind = element.get(REPETITION)
        path = [*parents, element[NAME]]
        inner_repeated = repeated + (kind == REPEATED)
        inner_defined = defined + (kind in (OPTIONAL, REPEATED))
        if children := element.get(CHILDREN):
            yield from _leaves(elements, children, path, inner_repeated, inner_defined)
        else:
            yield path, element[TYPE], inner_repeated, inner_defined


def _pages(file: BinaryIO, chunk: Fields, name: str) -> Iterator[Fields]:
    """The headers of the pages of a chunk.

    ValueError unless they say what the footer says of it.
    """
    start = chunk[FIRST_PAGE]
    if 0 < chunk.get(DICTIONARY, 0) < start:
        start = chunk[DICTIONARY]
    place, unpacked, values = start, 0, 0
    while place < start + chunk[PACKED]:
        file.seek(place)
        thrift = Thrift(file.read(HEADER_BYTES))
        header = thrift.structure()
        if min(header[PAGE_PACKED], header[PAGE_UNPACKED]) < 0:
            raise ValueError(f"{name} has a page of fewer than 0 bytes")
        place += thrift.place + header[PAGE_PACKED]
        unpacked += thrift.place + header[PAGE_UNPACKED]
        field = DATA_PAGES.get(header[PAGE_TYPE])
        values += 0 if field is None else header[field][PAGE_VALUES]
        yield header
    if unpacked > chunk[UNPACKED] or values != chunk[VALUES]:
        raise ValueError(
            f"the pages of {name} hold {values:,} values in {unpacked:,} bytes, its footer says "
            f"{chunk[VALUES]:,} in {chunk[UNPACKED]:,}"
        )


class Thrift:
    """Reads structures in Thrift's compact form; `place` is the next byte."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def structure(self, depth: int = 0) -> Fields:
        """A structure: number of a field -> its value."""
        if depth > MAX_DEPTH:
            raise ValueError("structures lie too deep in one another")
        fields: Fields = {}
        number = 0
        while head := self._byte():  # 0 ends the structure
            step = head >> 4  # from the number of the field before
            number = number + step if step else self._number()
            kind = head & 15
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        """A value of one of the types of Thrift's compact form, by its number."""
        match kind:
            case 1 | 2 | 3:  # in a list, a truth value takes a byte
                return self._byte()
            case 4 | 5 | 6:  # integers of 16, 32 and 64 bits
                return self._number()
            case 7:  # a double
                return self._bytes(8)
            case 8:  # bytes, which may be a text
                return self._bytes(self._unsigned())
            case 9 | 10:  # a list, a set: a byte has the type, and the number if it is short
                head = self._byte()
                count = self._unsigned() if head >> 4 == 15 else head >> 4
                self._require(count)
                return [self._value(head & 15, depth + 1) for _ in range(count)]
            case 12:  # another structure
                return self.structure(depth + 1)
        raise ValueError(f"a field of type {kind}, which parquet files do not have")

    def _byte(self) -> int:
        """The next byte; IndexError at the end."""
        self.place += 1
        return self.content[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._require(count)
        self.place += count
        return self.content[self.place - count : self.place]

    def _require(self, count: int) -> None:
        """IndexError unless at least `count` bytes are left."""
        if count > len(self.content) - self.place:
            raise IndexError(f"{count} bytes are needed, {len(self.content) - self.place} are left")

    def _unsigned(self) -> int:
        """A number without a sign: 7 bits a byte, the lowest first.

        The eighth bit says that another byte follows.
        """
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _number(self) -> int:
        """A number with a sign."""
        number = self._unsigned()
        # 0, 1, 2, 3, 4 mean 0, -1, 1, -2, 2, so small numbers of both signs are short.
        return (number >> 1) ^ -(number & 1)
