"""Sets of the `datasets` library: by name, saved, and as a stream; without network."""

import builtins
import json
import pathlib
import socket
import sys
import time
import types

import numpy as np
import pytest
from PIL import Image

from clip_np import cli
from clip_np.data import Augmentation, BatchLoader, DataError, Pairs, hub, load_images, open_dataset
from clip_np.data.splits import tutorial_split
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.training import tasks
from clip_np.weights import read_checkpoint

datasets = pytest.importorskip("datasets")

NAME = "Attila1011/img_caption_EN_AppleFlair_Blip"
NAMES = (NAME, "someone/paintings")
COLOURS = [(250, 10, 20), (10, 240, 30), (20, 30, 230), (200, 200, 0)]
WORDS = ["red", "green", "blue", "yellow"]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    """No address can be looked up or reached; which were tried."""
    import huggingface_hub

    tried = []

    def unreachable(host, *arguments, **named):
        tried.append(host)
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: unreachable(address))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tried


def picture(row: int) -> Image.Image:
    """One of four colours; palette, grey, transparent and 16-bit images among them."""
    image = Image.new("RGB", (20, 16), COLOURS[row % 4])
    kind = row % 5
    if kind == 1:
        return image.quantize(4)
    if kind == 2:
        return image.convert("L")
    if kind == 3:
        return Image.new("RGBA", (20, 16), (*COLOURS[row % 4], 128))
    if kind == 4:
        return Image.fromarray(np.full((16, 20), 257 * (row % 200), np.uint16))
    return image


def table(count: int, **columns) -> "datasets.Dataset":
    """A set with the tutorial's columns."""
    features = datasets.Features({"img": datasets.Image(), "text_EN": datasets.Value("string")})
    captions = [f"a {WORDS[row % 4]} picture {row}" for row in range(count)]
    images = [picture(row) for row in range(count)]
    return datasets.Dataset.from_dict({"img": images, "text_EN": captions}, features=features)


def on_the_hub(found, name: str = NAME, split: str = "train") -> None:
    """Put a set where `load_dataset(name)` finds it without network, a folder."""
    folder = pathlib.Path(name, "data")
    folder.mkdir(parents=True, exist_ok=True)
    found.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture
def by_name(monkeypatch):
    """The folder that stands for the hub is no path of the user's."""
    monkeypatch.setattr(hub, "is_set", lambda path: str(path).endswith(NAMES))


def test_names_and_saved_sets_are_recognised(tmp_path):
    assert hub.is_set(NAME)
    assert hub.is_set("nlphuji/flickr30k")
    for path in ("nowhere", "a/b/c", "/a/b", "./a", "../a", "a/"):
        assert not hub.is_set(path)
    table(3).save_to_disk("one")
    datasets.DatasetDict({"train": table(3)}).save_to_disk("several")
    assert hub.is_set("one") and hub.is_set(tmp_path / "several")
    pathlib.Path("photos/2024").mkdir(parents=True)
    assert not hub.is_set("photos/2024")


def test_a_set_by_name_is_split_as_the_tutorial_splits_it(by_name):
    on_the_hub(table(50))
    splits = open_dataset(NAME, seed=3)
    expected = table(50).train_test_split(test_size=10, seed=42)["test"]["text_EN"]
    assert sorted(splits["test"].captions) == sorted(expected)
    assert {split: len(pairs) for split, pairs in splits.items()} == {
        "train": 38,
        "validation": 2,
        "test": 10,
    }
    row = int(splits["test"].captions[0].rpartition(" ")[2])
    assert splits["test"].names[0] == f"{NAME} train row {row}"


def test_two_thousand_rows_are_those_of_the_library():
    numbers = datasets.Dataset.from_dict({"row": range(14_000)})
    expected = numbers.train_test_split(test_size=2000, seed=42)["test"]["row"]
    assert tutorial_split(14_000).tolist() == list(expected)
    assert [len(tutorial_split(count)) for count in (4000, 3999, 4, 0)] == [2000, 799, 0, 0]


def test_images_of_every_mode_are_decoded(by_name):
    on_the_hub(table(10))
    pairs = open_dataset(NAME, validation_fraction=0)["train"]
    rows = [int(caption.rpartition(" ")[2]) for caption in pairs.captions]
    images, _ = load_images(pairs, 8)
    for image, row in zip(images, rows):
        colour = np.array(COLOURS[row % 4])
        if row % 5 == 2:
            colour = np.full(3, picture(row).getpixel((0, 0)))
        if row % 5 == 3:
            colour = colour / 2 + 127
        if row % 5 == 4:
            colour = np.full(3, row % 200)
        assert np.abs(image[4, 4] - colour).max() <= 2


def test_saved_sets_and_their_splits():
    parts = {"train": table(12), "test": table(8), "val": table(2)}
    datasets.DatasetDict(parts).save_to_disk("saved")
    sizes = {split: len(pairs) for split, pairs in open_dataset("saved").items()}
    assert sizes == {"train": 12, "validation": 2, "test": 8}
    datasets.DatasetDict(parts | {"other": table(5)}).save_to_disk("saved")
    with pytest.raises(DataError, match="saved has the splits train, test, val, other: `split`"):
        open_dataset("saved")
    assert len(open_dataset("saved", split="other", validation_fraction=0)["train"]) == 4
    with pytest.raises(DataError, match=r"saved is neither a path here nor .*KeyError: 'nothing'"):
        open_dataset("saved", split="nothing")
    datasets.DatasetDict({"a": table(3), "b": table(3)}).save_to_disk("odd")
    with pytest.raises(DataError, match="odd has the splits a, b: `split` picks one to train on"):
        open_dataset("odd")


def test_other_columns_and_a_part_of_a_split(by_name):
    found = table(40).rename_columns({"img": "picture", "text_EN": "title"})
    on_the_hub(found, "someone/paintings")
    with pytest.raises(DataError, match=r"someone/paintings train has no image column: .* title"):
        open_dataset("someone/paintings")
    named = {"image_column": "picture", "caption_column": "title", "validation_fraction": 0}
    splits = open_dataset("someone/paintings", **named, split="train[:50%]")
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 16, "test": 4}


def test_a_column_without_images():
    datasets.Dataset.from_dict({"image": [3, 4], "text": ["a", "b"]}).save_to_disk("numbers")
    with pytest.raises(DataError, match="column 'image' holds no images"):
        open_dataset("numbers")
    pairs = datasets.Dataset.from_dict({"image": ["no.png", None], "text": ["a", "b"]})
    pairs.save_to_disk("missing")
    found = open_dataset("missing", validation_fraction=0)["train"]
    with pytest.raises(DataError, match=r"^missing train row 0: cannot be read \(FileNotFound"):
        found.open_image(0)
    with pytest.raises(DataError, match=r"^missing train row 1: cannot be read"):
        found.open_image(1)


def test_names_that_nobody_has():
    with pytest.raises(DataError, match="nobody/nothing is neither a path here nor a set to load"):
        open_dataset("nobody/nothing")


def refuse_to_load(*arguments, **named):
    raise AssertionError("the library was asked, which takes a minute without a network")


def test_without_a_network_a_mistyped_path_fails_at_once(monkeypatch, no_network):
    """The hub is asked once. A path that is nearly the same is named."""
    monkeypatch.setattr(datasets, "load_dataset", refuse_to_load)
    pathlib.Path("photos", "holiday").mkdir(parents=True)
    started = time.monotonic()
    with pytest.raises(
        DataError, match=r"pohtos/holiday is neither .*not here \(photos/holiday is\), and the hub"
    ) as caught:
        open_dataset("pohtos/holiday")
    assert "the hub did not answer (" in str(caught.value)
    assert time.monotonic() - started < 10
    assert 1 <= len(no_network) <= 2  # an attempt for each family of addresses at most


def test_a_name_that_the_hub_does_not_know_is_not_asked_for_again(monkeypatch):
    class NotFoundError(OSError):
        """As the library's error for a set that does not exist."""

    class HfApi:
        def dataset_info(self, name: str, timeout: float) -> None:
            assert timeout <= 5
            raise NotFoundError("404")

    errors = types.SimpleNamespace(RepositoryNotFoundError=NotFoundError)
    library = types.SimpleNamespace(HfApi=HfApi, errors=errors)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setattr(datasets, "load_dataset", refuse_to_load)
    with pytest.raises(DataError, match=r"nobody/nothing is not here, and the hub has no data set"):
        open_dataset("nobody/nothing")


def test_a_set_in_the_cache_needs_no_hub(monkeypatch, no_network):
    pathlib.Path(datasets.config.HF_DATASETS_CACHE, "some___my_set").mkdir(parents=True)
    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, **how: asked.append(name) or table(30)
    )
    assert len(open_dataset("some/MySet", validation_fraction=0)["train"]) > 0
    assert asked == ["some/MySet"]


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("datasets"):
            raise ModuleNotFoundError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r'pip install "minigrad-clip\[data\]"'):
        open_dataset(NAME)


def test_a_split_of_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="`split` is only for sets of the datasets library"):
        open_dataset(tmp_path, split="train")


# --- the whole way
# -----------------------------------------------------------------------------


@pytest.fixture
def micro(monkeypatch):
    """A model small enough to be trained in a test, and no pictures."""
    vision = VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2)
    text = TextConfig(514, 16, width=16, layers=1, heads=2)
    monkeypatch.setitem(PRESETS, "tutorial", CLIPConfig(16, vision, text))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(hub, "VALIDATION_PAIRS", 6)
    monkeypatch.setattr(hub, "SHUFFLE_BUFFER", 8)


def ran(capsys, *arguments) -> dict:
    """What a command prints as JSON."""
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("streaming", [[], ["--streaming"]])
def test_a_set_by_name_trains_evaluates_and_predicts(capsys, by_name, micro, streaming):
    on_the_hub(table(60))
    data = ["--data", NAME, *streaming]
    options = ["--preset", "tutorial", "--batch-size", 8, "--steps", 12, "--vocab-size", 600]
    figures = ran(capsys, "train", *data, *options, "--out", "run")
    assert figures["steps"] == 12
    assert figures["pairs"] == (6 if streaming else 12)
    again = ran(capsys, "evaluate", "run", *data)
    del again["chance"], again["intervals"]
    assert again == {key: figures[key] for key in again}
    picture(1).save("picture.png")
    chances = ran(capsys, "classify", "run", "picture.png", "a red picture", "a blue picture")
    assert sum(chances.values()) == pytest.approx(1)
    # A resumed run opens the same data in the same way.
    source = read_checkpoint("run").training["source"]
    assert source.get("streaming", False) == bool(streaming)
    more = ran(capsys, "train", "--resume", "run", "--steps", 14)
    assert more["steps"] == 14


def test_a_name_is_kept_as_it_is(monkeypatch):
    pairs = {"train": Pairs(["a"], ["b"], None, [b""]), "test": Pairs(["a"], ["b"], None, [b""])}
    monkeypatch.setattr(tasks, "open_dataset", lambda path, **how: pairs)
    assert tasks.FilesTask(NAME).source["path"] == NAME
    pathlib.Path("photos").mkdir()
    assert tasks.FilesTask("photos").source["path"] == str(pathlib.Path("photos").absolute())


# --- streams
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize("saved", [True, False])
def test_a_stream_is_shuffled_and_resumes(monkeypatch, by_name, saved):
    monkeypatch.setattr(hub, "VALIDATION_PAIRS", 6)
    monkeypatch.setattr(hub, "SHUFFLE_BUFFER", 8)
    if saved:
        table(30).save_to_disk(NAME)
    else:
        on_the_hub(table(30))
    splits = open_dataset(NAME, streaming=True)
    assert list(splits) == ["train", "validation"]
    held_out = {f"a {WORDS[row % 4]} picture {row}" for row in range(6)}
    assert set(splits["validation"].captions) == held_out
    assert len(splits["train"]) == 8  # the sample

    def loaded(start: int, stop: int, seed: int = 0) -> list:
        loader = BatchLoader(
            splits["train"], size=8, batch_size=4, seed=seed, augmentation=Augmentation(shift=1)
        )
        return list(loader.batches(start, stop))

    whole = loaded(0, 12)
    captions = [caption for batch in whole for caption in batch.captions]
    assert set(captions[:24]) == {f"a {WORDS[row % 4]} picture {row}" for row in range(6, 30)}
    assert captions[:24] != captions[24:]
    assert not held_out & set(captions)
    for batch, again in zip(whole[5:], loaded(5, 12)):
        assert batch.captions == again.captions
        assert (batch.images == again.images).all()
    assert loaded(0, 1, seed=1)[0].captions != whole[0].captions


def test_streams_that_cannot_be(monkeypatch):
    datasets.DatasetDict({"test": table(3)}).save_to_disk("test")
    with pytest.raises(DataError, match="test has the splits test"):
        open_dataset("test", streaming=True)
    table(20).save_to_disk("short")
    with pytest.raises(DataError, match="the stream of train pairs holds too few, or pairs of"):
        open_dataset("short", streaming=True)
    table(3).add_column("split", ["train", "test", "val"]).save_to_disk("marked")
    with pytest.raises(DataError, match="the stream of train pairs holds too few, or pairs of"):
        open_dataset("marked", streaming=True)
