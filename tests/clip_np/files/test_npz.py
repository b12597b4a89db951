"""NumPy's files: arrays come back as they were, and nothing in a file runs."""

import io
import pathlib
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from clip_np.files import FileError, read_npz, write_npz

ARRAYS = {
    "weights": np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32),
    "block.0/bias": np.arange(5, dtype=np.float64),
    "scale": np.float32(2.5),
    "empty": np.zeros((0, 3), np.int64),
    "bytes": np.frombuffer(b"some bytes", np.uint8),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": np.arange(12).reshape(3, 4).T,
    "strided": np.arange(20)[::3],
    "mask": np.array([[True], [False]]),
    "foreign order": np.arange(3, dtype=">f4"),
}


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS)
    found = read_npz(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable
        assert found[name].flags.aligned
    with np.load(path) as plain:  # the format is NumPy's own
        assert all((plain[name] == array).all() for name, array in ARRAYS.items())
    write_npz(path, {})
    assert read_npz(path) == {}


def test_arrays_that_numpy_wrote_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert all(found[name].tobytes() == array.tobytes() for name, array in ARRAYS.items())


def test_equal_arrays_give_equal_bytes(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", ARRAYS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    write_npz(tmp_path / "b.npz", {name: array.copy("K") for name, array in ARRAYS.items()})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_objects_are_never_written(tmp_path):
    write_npz(tmp_path / "a.npz", ARRAYS)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(tmp_path / "a.npz", {"x": np.array([{}, None])})
    assert list(read_npz(tmp_path / "a.npz")) == list(ARRAYS)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def with_header(text: str, data: bytes = bytes(24), version: tuple[int, int] = (1, 0)) -> bytes:
    """The bytes of an .npy file with this header."""
    header = (text + "\n").encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + data


def header_of(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def archive(path: pathlib.Path, entries, compression: int = zipfile.ZIP_STORED) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in entries:
            file.writestr(name, data)
    return path


def assert_refused(path: pathlib.Path, message: str | None = None) -> None:
    with pytest.raises(FileError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


def test_the_forged_headers_below_differ_from_a_right_one_in_one_thing(tmp_path):
    for version in ((1, 0), (2, 0)):
        entry = with_header(header_of("(3,)"), version=version)
        assert (read_npz(archive(tmp_path / "a.npz", [("x.npy", entry)]))["x"] == 0).all()


DEEP = 3000


FORGED = [
    with_header(header_of("(4,)")),
    with_header(header_of("(2,)")),
    with_header(header_of("()")),
    with_header(header_of("(-3,)")),
    with_header(header_of("(-1, -3)")),
    with_header(header_of("(4294967296, 4294967296)"), b""),  # 2^64 is 0 in 64 bits
    with_header(header_of("(2305843009213693955,)")),  # times 8 bytes is 24 in 64 bits
    with_header(header_of("(1000000000000,)")),
    with_header(header_of(f"({'9' * 500},)")),
    with_header(header_of("(0, 9223372036854775807, 9223372036854775807)"), b""),
    with_header(header_of("(3.0,)")),
    with_header(header_of("3")),
    with_header(header_of("('3',)")),
    with_header(header_of(f"({'1,' * 70}3)")),  # more dimensions than an array can have
    with_header(header_of("(3,)", "'<f7'")),
    with_header(header_of("(3,)", "'nonsense'")),
    with_header(header_of("(3,)", "'S0'"), b""),
    with_header(header_of("(3,)", "[('a', '<f8'), ('a', '<f8')]")),
    with_header(header_of("(3,)", "17")),
    with_header(header_of("(3,)", "__import__('os').system('echo')")),
    with_header(header_of("(3,)") + " " * 20_000),
    with_header(header_of("(" * DEEP + ")" * DEEP)),
    with_header(header_of("-" * DEEP + "1")),
    with_header("{'descr': '<f8'}"),
    with_header("{'descr': '<f8', 'fortran_order': 0, 'shape': (3,), }"),
    with_header("'''unterminated"),
    with_header("[1, 2"),
    with_header("\x00\x00"),
    with_header(""),
    with_header(header_of("(3,)"), version=(7, 7)),
    with_header(header_of("(3,)"), version=(3, 0)),
    with_header(header_of("(3,)"))[:9],
    with_header(header_of("(3,)"))[:40],
    b"\x93NUMPX" + with_header(header_of("(3,)"))[6:],
    b"\x89PNG\r\n\x1a\n",
    b"",
]


@pytest.mark.parametrize("entry", FORGED, ids=range(len(FORGED)))
def test_forged_entries_are_refused(tmp_path, entry):
    path = archive(tmp_path / "a.npz", [("right.npy", npy(np.arange(3))), ("x.npy", entry)])
    tracemalloc.start()
    assert_refused(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


ALARM = []


def ring(text: str) -> None:
    ALARM.append(text)


class Bomb:
    """Unpickling one rings the alarm."""

    def __reduce__(self):
        return ring, ("exploded",)


def test_pickles_are_refused_and_do_not_run(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([Bomb()], dtype=object))
    with np.load(path, allow_pickle=True) as file:
        file["x"]
    assert ALARM == ["exploded"]  # it does work where it is let in
    ALARM.clear()
    assert_refused(path, "x holds Python objects, which are never loaded")
    fields = np.array([(Bomb(), 1)], dtype=[("a", object), ("b", int)])
    np.savez(path, fields)
    assert_refused(path, "holds Python objects, which are never loaded")
    archive(path, [("x.pkl", np.array([Bomb()], dtype=object).dumps())])
    assert_refused(path)
    path.write_bytes(np.array([Bomb()], dtype=object).dumps())
    assert_refused(path)
    assert ALARM == []


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    for data in (b"", b"PK\x03\x04", b"text" * 1000, npy(np.arange(3)), bytes(5000)):
        path.write_bytes(data)
        assert_refused(path, "damaged, or not an .npz file")
    assert_refused(archive(path, [("notes.txt", "no array")]), "damaged, or not an .npz file")
    assert_refused(archive(path, [("folder/", "")]))


def test_missing_files_and_folders_are_the_callers_business(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "nowhere.npz")
    with pytest.raises(OSError, match=tmp_path.name):
        read_npz(tmp_path)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    path, entry = tmp_path / "a.npz", npy(np.arange(3))
    assert_refused(archive(path, [("x.npy", entry), ("x.npy", entry)]), "two arrays named 'x'")
    assert_refused(archive(path, [("x", entry), ("x.npy", entry)]), "two arrays named 'x'")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    bomb = npy(np.zeros(20_000_000, np.uint8))
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive(path, [("x.npy", bomb)], compression)
        assert path.stat().st_size < 50_000
        tracemalloc.start()
        assert_refused(path, "compressed")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def forge_sizes(data: bytes, compressed: int | None, plain: int | None) -> bytes:
    """An archive of one entry whose central directory claims other sizes."""
    start = data.rindex(b"PK\x01\x02")
    found = struct.unpack("<II", data[start + 20 : start + 28])
    claimed = [old if new is None else new for old, new in zip(found, (compressed, plain))]
    return data[: start + 20] + struct.pack("<II", *claimed) + data[start + 28 :]


@pytest.mark.parametrize(
    "compressed, plain",
    [(None, 2**31), (2**31, None), (2**31, 2**31), (0, None), (None, 0), (10, 10), (None, 100)],
)
def test_sizes_that_are_not_true_are_refused(tmp_path, compressed, plain):
    path = archive(tmp_path / "a.npz", [("x.npy", npy(np.arange(100)))])
    path.write_bytes(forge_sizes(path.read_bytes(), compressed, plain))
    tracemalloc.start()
    assert_refused(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_overlapping_entries_are_refused(tmp_path):
    """Many names for the same bytes would make a small file large in memory."""
    path = archive(tmp_path / "a.npz", [("a.npy", npy(np.zeros(100_000)))])
    data = path.read_bytes()
    start, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    directory = data[start:end]
    names = [f"{chr(97 + number)}.npy".encode() for number in range(26)]
    entries = b"".join(directory.replace(b"a.npy", name) for name in names)
    tail = struct.pack("<HHII", len(names), len(names), len(entries), start)
    path.write_bytes(data[:start] + entries + data[end : end + 8] + tail + data[end + 20 :])
    tracemalloc.start()
    assert_refused(path, "claims more bytes of arrays than it has")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_cut_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS)
    data = path.read_bytes()
    cuts = [*range(0, len(data), 37), *range(len(data) - 30, len(data))]
    for cut in cuts:
        path.write_bytes(data[:cut])
        assert_refused(path)
    path.write_bytes(data)
    assert len(read_npz(path)) == len(ARRAYS)


def test_damaged_files_are_read_rightly_or_refused(tmp_path):
    """Flipped bits, missing and doubled pieces: no wrong number, no other exception."""
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for round_number in range(600):
        damaged = bytearray(data)
        place = int(rng.integers(len(data)))
        length = int(rng.integers(1, 30))
        match round_number % 4:
            case 0:
                damaged[place] ^= 1 << int(rng.integers(8))
            case 1:
                damaged[place : place + length] = rng.bytes(len(damaged[place : place + length]))
            case 2:
                del damaged[place : place + length]
            case 3:
                damaged[place:place] = damaged[place : place + length]
        path.write_bytes(damaged)
        try:
            found = read_npz(path)
        except FileError:
            refused += 1
            continue
        # The contents have no checksum: names may differ, and entries may be missing.
        for name in found.keys() & ARRAYS.keys():
            assert found[name].tobytes() == ARRAYS[name].tobytes()
        assert len(found) <= len(ARRAYS)
    assert 400 < refused < 600


def test_every_byte_of_the_directory_may_be_wrong(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, {"x": np.arange(3), "y": np.float32(1)})
    data = path.read_bytes()
    for place in range(data.index(b"PK\x01\x02"), len(data)):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            try:
                found = read_npz(path)
            except FileError:
                continue
            assert len(found) <= 2
