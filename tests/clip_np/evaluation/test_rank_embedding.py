"""Several ranks embed images and texts as one process does."""

import shutil

import numpy as np
import pytest

from clip_np.data import DataError, open_dataset
from clip_np.evaluation import (
    Growth,
    build_index,
    embed_readable,
    embed_texts,
    embed_texts_over,
    features,
    folders,
    help_to_embed,
    rank_embedding,
    read_index,
    zero_shot_classifier,
)
from clip_np.training.communicator import run_thread_ranks
from minigrad.threads import available_cores


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Many rounds, and a rank has as many cores as one process."""
    monkeypatch.setattr(folders, "BATCH_SIZE", 2)
    monkeypatch.setattr(rank_embedding, "BATCH_SIZE", 2)
    monkeypatch.setattr(features, "CHUNK_SIZE", 2)
    monkeypatch.setattr(rank_embedding, "CHUNK_SIZE", 2)
    monkeypatch.setattr(rank_embedding, "cores_of", lambda comm: available_cores())


class ForgetfulRank:
    """A rank whose arrays from the others are gone at its next call, as may happen."""

    def __init__(self, comm):
        self.rank, self.size, self.ranks_here = comm.rank, comm.size, comm.ranks_here
        self._comm = comm
        self._gathered = []

    def broadcast(self, value=None, patient=False):
        self._forget()
        return self._comm.broadcast(value, patient)

    def all_gather(self, rows):
        self._forget()
        self._gathered = [piece.copy() for piece in self._comm.all_gather(rows)]
        return self._gathered

    def _forget(self):
        for piece in self._gathered:
            piece[...] = 0


def embed_over(size, index, sources, model, preprocess):
    """The index that `size` ranks build."""

    def work(comm):
        comm = ForgetfulRank(comm)
        if comm.rank > 0:
            return help_to_embed(comm, model, preprocess)
        return build_index(index, sources, model, preprocess, "run", comm=comm)

    return run_thread_ranks(work, size)[0]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_an_index_has_the_bits_of_one_process(size, model, photos):
    (photos / "3.png").write_bytes(b"no picture")
    whole = build_index("whole.npz", [photos], *model[:2], "run")
    index = embed_over(size, "shared.npz", [photos], *model[:2])
    assert index.growth == whole.growth == Growth(new=9)
    assert index.unreadable == whole.unreadable != {}
    again = read_index("shared.npz")
    assert again.paths == whole.paths
    assert again.files == whole.files
    assert np.array_equal(again.features, whole.features)


def test_with_a_share_of_the_cores_the_features_are_equal_to_rounding(model, photos, monkeypatch):
    monkeypatch.setattr(rank_embedding, "cores_of", lambda comm: 1)
    whole = build_index("whole.npz", [photos], *model[:2], "run")
    index = embed_over(2, "shared.npz", [photos], *model[:2])
    np.testing.assert_allclose(index.features, whole.features, atol=1e-6)


def test_a_rank_opens_its_own_images_only_and_none_twice(model, photos, looked_at):
    embed_over(3, "index.npz", [photos], *model[:2])
    assert len(looked_at) == len(set(looked_at)) == 9
    looked_at.clear()
    shutil.copy(photos / "0.png", photos / "twin.png")
    index = embed_over(3, "index.npz", [photos], *model[:2])  # nothing is left to embed
    assert (looked_at, index.growth) == ([], Growth(new=1))


def test_a_rank_without_the_images_is_named(model):
    def work(comm):
        if comm.rank == 0:  # it has them, and the other machine has not
            return comm.broadcast(["/elsewhere/a.png"] * 4)
        return help_to_embed(comm, *model[:2])

    with pytest.raises(DataError, match=r"rank 1 does not see /elsewhere/a\.png, nor any other"):
        run_thread_ranks(work, 2)


@pytest.mark.parametrize("size", [2, 5])
def test_pairs_texts_and_classes_have_the_bits_of_one_process(size, model, photos):
    (photos / "captions.csv").write_text(
        "file_name,caption\n" + "".join(f"{row}.png,a picture {row}\n" for row in range(6)),
        encoding="utf-8",
    )
    clip, preprocess, tokenizer = model
    pairs = open_dataset(str(photos), validation_fraction=0.0)["train"]
    templates = ["a {}", "my {}"]

    def work(comm):
        images, readable = embed_readable(clip, preprocess, pairs, comm=comm)
        texts = embed_texts_over(comm, clip, tokenizer, readable.captions)
        classes = zero_shot_classifier(clip, tokenizer, ["cat", "dog"], templates, comm)
        return images, texts, classes

    expected = [
        embed_readable(clip, preprocess, pairs)[0],
        embed_texts(clip, tokenizer, pairs.captions),
        zero_shot_classifier(clip, tokenizer, ["cat", "dog"], templates),
    ]
    for results in run_thread_ranks(work, size):
        for found, wanted in zip(results, expected, strict=True):
            assert np.array_equal(found, wanted)


def test_an_unreadable_image_of_another_rank_is_an_error_everywhere(model, photos):
    (photos / "captions.csv").write_text(
        "file_name,caption\n" + "".join(f"{row}.png,picture {row}\n" for row in range(6)),
        encoding="utf-8",
    )
    (photos / "3.png").write_bytes(b"no picture")
    pairs = open_dataset(str(photos), validation_fraction=0.0)["train"]

    def work(comm):
        with pytest.raises(DataError, match=r"3\.png"):
            embed_readable(*model[:2], pairs, comm=comm)
        with pytest.warns(UserWarning, match="1 unreadable"):
            images, readable = embed_readable(*model[:2], pairs, skip_bad=True, comm=comm)
        return len(images), len(readable)

    assert run_thread_ranks(work, 1) == [(5, 5)]
