"""Tar files as a stream: each pair once an epoch, in an order of seed and epoch."""

import io
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from loaders import assert_same, loader_of
from small_data import encoded

from clip_np.data import DataError, Row, open_dataset, shard_stream, tar_shards
from clip_np.data.shard_stream import shuffled

HELD_OUT = 6
BUFFER = 8
PAIRS = 30


def write_shard(path: Path, rows: range, without_caption=()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for row in rows:
            contents = {"png": encoded((row, 9, 9)), "txt": f"picture {row}".encode()}
            if row in without_caption:
                del contents["txt"]
            for ending, content in contents.items():
                member = tarfile.TarInfo(f"{row:06}.{ending}")
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Three shards of 10, 5 and 15 pairs."""
    monkeypatch.setattr(shard_stream, "VALIDATION_PAIRS", HELD_OUT)
    monkeypatch.setattr(shard_stream, "SHUFFLE_BUFFER", BUFFER)
    for number, rows in enumerate((range(10), range(10, 15), range(15, PAIRS))):
        write_shard(tmp_path / f"{number:05}.tar", rows)
    return tmp_path


def captions_of(batches) -> list[str]:
    return [caption for batch in batches for caption in batch.captions]


def test_every_pair_comes_once_an_epoch_in_another_order(folder):
    splits = open_dataset(folder, streaming=True)
    held_out = {f"picture {row}" for row in range(HELD_OUT)}
    assert set(splits["validation"].captions) == held_out
    assert len(splits["train"]) == BUFFER  # the sample
    batches = list(splits["train"].batches(4, seed=0, start=0, stop=12))
    first, second = captions_of(batches[:6]), captions_of(batches[6:])
    everything = {f"picture {row}" for row in range(HELD_OUT, PAIRS)}
    assert set(first) == set(second) == everything
    assert first != second
    assert first != captions_of(splits["train"].batches(4, seed=1, start=0, stop=6))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_resumes_at_any_step(folder, workers):
    def loaded(start: int, stop: int) -> list:
        stream = open_dataset(folder, streaming=True)["train"]  # as a new process does
        return list(loader_of(stream, data_workers=workers).batches(start, stop))

    whole = loaded(0, 20)
    assert_same(loaded(14, 20), whole[14:])


def test_a_stream_reads_no_image_before_its_batch(folder, monkeypatch):
    places = []
    real = tar_shards.TarImages.__call__

    def read(images, number: int) -> bytes:
        places.append(number)
        return real(images, number)

    monkeypatch.setattr(tar_shards.TarImages, "__call__", read)
    stream = open_dataset(folder, streaming=True)["train"]
    batches = stream.batches(4, seed=0, start=14, stop=16)
    next(batches).open_image(0)
    assert len(places) == 1


def test_epochs_before_are_skipped_whole(folder):
    stream = open_dataset(folder, streaming=True)["train"]
    whole = list(stream.batches(4, seed=0, start=0, stop=40))
    read, seeds = stream.read, []
    stream.read = lambda seed: seeds.append(seed) or read(seed)
    assert stream.epoch_rows == PAIRS - HELD_OUT
    assert captions_of(stream.batches(4, 0, 38, 40)) == captions_of(whole[38:])
    assert seeds == [6]


def test_splits_of_their_own_and_bad_rows(folder):
    write_shard(folder / "val" / "0.tar", range(40, 44))
    write_shard(folder / "test-0.tar", range(50, 53))
    write_shard(folder / "00003.tar", range(60, 64), without_caption=(61,))
    with pytest.raises(DataError, match=r"00003\.tar 000061: no caption"):
        list(open_dataset(folder, streaming=True)["train"].batches(4, 0, 0, 12))
    skipped = []
    splits = open_dataset(folder, streaming=True, skipped=skipped)
    assert set(splits["validation"].captions) == {f"picture {row}" for row in range(40, 44)}
    assert set(splits["test"].captions) == {f"picture {row}" for row in range(50, 53)}
    batches = list(splits["train"].batches(3, 0, 0, 33))
    assert len(set(captions_of(batches))) == PAIRS + 3
    assert [problem.partition(":")[0] for problem in skipped] == ["00003.tar 000061"]


def test_what_cannot_be_streamed(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="`streaming` is for tar files, and for sets of"):
        open_dataset(tmp_path / "empty", streaming=True)
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "none", streaming=True)
    with pytest.raises(DataError, match="the tar files hold too few pairs"):
        open_dataset(write_shard(tmp_path / "few" / "0.tar", range(4)), streaming=True)


def test_the_buffer_mixes_and_is_bounded():
    taken = []

    def rows():
        for number in range(100):
            taken.append(number)
            yield Row(str(number), "", "", b"", "train")

    mixed = shuffled(rows(), np.random.default_rng(0), size=10)
    start = [int(row.caption) for row in islice(mixed, 50)]
    assert len(taken) <= 60 and start != sorted(start)
    everything = start + [int(row.caption) for row in mixed]
    assert sorted(everything) == list(range(100))
    few = shuffled(islice(rows(), 3), np.random.default_rng(0), size=10)
    assert {row.caption for row in few} == {"0", "1", "2"}
