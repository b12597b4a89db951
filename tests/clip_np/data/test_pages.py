"""Footers of parquet files that do not say what is in the file."""

import itertools

import pyarrow
import pyarrow.parquet
import pytest

from clip_np.data import DataError, pages
from clip_np.data.pages import Thrift, require_true_footer

COLUMNS = {
    "bytes": [b"x" * row for row in range(300)],
    "lists": [["t", str(row)] for row in range(300)],
    "numbers": list(range(300)),
    "nothing": [None] * 300,
    "truth": [True, False] * 150,
    "image": [{"bytes": b"q", "path": None}] * 300,
}
CODECS = ("none", "snappy", "zstd", "gzip", "lz4", "brotli")
WAYS = list(itertools.product(CODECS, (True, False), ("1.0", "2.0"), (40, 1000)))


@pytest.mark.parametrize("compression, dictionary, version, rows", WAYS)
def test_all_that_arrow_writes_is_true(tmp_path, compression, dictionary, version, rows):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table(COLUMNS),
        path,
        compression=compression,
        use_dictionary=dictionary,
        data_page_version=version,
        row_group_size=rows,
        data_page_size=500,
        write_page_index=True,
        write_page_checksum=True,
    )
    require_true_footer(path)


def zigzag(number: int) -> bytes:
    """A number >= 0 in Thrift's form."""
    number *= 2
    digits = b""
    while number > 127:
        digits += bytes([number & 127 | 128])
        number >>= 7
    return digits + bytes([number])


@pytest.fixture
def file(tmp_path):
    """A file of one column, and its footer's word about it."""
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"caption": ["a" * 50_000] * 300})
    pyarrow.parquet.write_table(table, path, use_dictionary=False, compression="zstd")
    chunk = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0)
    return path, chunk


def change_footer(path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    assert content.count(old, end) >= 1
    path.write_bytes(content[:end] + content[end:].replace(old, new))


def test_a_footer_that_says_too_little(file):
    path, chunk = file
    small = zigzag(chunk.total_uncompressed_size - 1)
    change_footer(path, zigzag(chunk.total_uncompressed_size), small)
    with pytest.raises(DataError, match=r"a\.parquet .* pages of chunk 0 hold 300 values in 15,0"):
        require_true_footer(path)


def test_a_footer_that_says_another_number_of_values(file):
    path, _ = file
    change_footer(path, zigzag(300), zigzag(299))
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        require_true_footer(path)


def test_pages_without_end(file, monkeypatch):
    path, _ = file
    require_true_footer(path)
    monkeypatch.setattr(pages, "MAX_PAGES", 0)
    with pytest.raises(DataError, match=r"\(MAX_PAGES\)"):
        require_true_footer(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1\xff\xff\0\0PAR1", b"x" * 100])
def test_files_without_a_footer(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a parquet file"):
        require_true_footer(tmp_path / "a.parquet")


def test_structures_in_structures_and_lists_without_end():
    with pytest.raises(ValueError, match="too deep"):
        Thrift(b"\x1c" * 100).structure()
    with pytest.raises(IndexError):
        Thrift(b"\x19\xfc\xff\xff\xff\xff\x07").structure()  # a list of 2^31 structures
    with pytest.raises(ValueError, match="64 bits"):
        Thrift(b"\x16" + b"\xff" * 20).structure()
