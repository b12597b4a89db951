"""Models, a folder of images, and what is looked at or drawn."""

import pathlib

import numpy as np
import pytest
from image_folders import untrained_run, write_photos

import clip_np
from clip_np.data import CLASSES
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluation import build_index, folders, index_writer


@pytest.fixture(scope="module")
def tokenizer() -> clip_np.Tokenizer:
    return clip_np.Tokenizer.train([f"a small {name} in the center" for name in CLASSES], 600)


@pytest.fixture(scope="module")
def clip(tokenizer) -> clip_np.CLIP:
    """A model of random weights for the tokenizer."""
    config = CLIPConfig(
        embed_dim=8,
        vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
        text=TextConfig(514, 77, width=16, layers=1, heads=2),
    )
    return clip_np.CLIP(config.for_tokenizer(tokenizer), np.random.default_rng(0))


@pytest.fixture
def model(tmp_path, monkeypatch):
    """(model, preprocess, tokenizer) of the run in "run"."""
    monkeypatch.chdir(tmp_path)
    return untrained_run(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def looked_at(monkeypatch):
    """The names of the files that are decoded, as they are."""
    names = []
    opened = folders.opened

    def spy(source, name, *how, **more):
        names.append(pathlib.Path(name).name)
        return opened(source, name, *how, **more)

    monkeypatch.setattr(folders, "opened", spy)
    return names


@pytest.fixture
def figures(monkeypatch):
    """All finished figures, which are written as well."""
    from matplotlib.figure import Figure

    finished, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (finished.append(self), save(self, *a, **k))
    )
    return finished


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of three files."""
    monkeypatch.setattr(index_writer, "PART_ROWS", 3)


@pytest.fixture
def parted(model, photos, small_parts):
    """An index of nine photos: two parts, and three files in the index file."""
    return build_index("index.npz", [photos], *model[:2], "run")
