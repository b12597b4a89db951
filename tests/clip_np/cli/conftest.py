"""Small models, few shapes and a folder of pictures for the commands."""

import csv
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from clip_np.data import shapes
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.training import tasks


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A smaller model and fewer shapes than usual; results go to a temporary folder."""
    micro = CLIPConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
        text=TextConfig(514, 77, width=16, layers=1, heads=2),
    )
    monkeypatch.setitem(PRESETS, "micro", micro)
    monkeypatch.setitem(PRESETS, "tiny", micro)
    monkeypatch.setitem(PRESETS, "small", micro)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 128)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 32)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def few_test_shapes(monkeypatch):
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)
    monkeypatch.setattr(shapes, "IMAGES_PER_CLASS", 1)


@pytest.fixture
def no_pictures(monkeypatch):
    """As if matplotlib were not installed: drawing takes longer than all else."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def photos(tmp_path) -> pathlib.Path:
    """40 small pictures of shapes with captions.csv."""
    folder = tmp_path / "photos"
    folder.mkdir()
    images, captions = shapes.training_pairs(40, np.random.default_rng(0))
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption", "split"])
        for row, (image, caption) in enumerate(zip(images, captions)):
            Image.fromarray(image).save(folder / f"{row}.png")
            table.writerow([f"{row}.png", caption, "test" if row < 12 else "train"])
    return folder
