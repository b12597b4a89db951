"""What several files of attacks share."""

import sys

import pytest
from small_runs import MICRO

from clip_np.data import shapes
from clip_np.encoders import PRESETS
from clip_np.training import ShapesTask, tasks


@pytest.fixture
def small_runs(monkeypatch, tmp_path):
    """The built-in task and all presets are tiny, and the tests run in a new folder."""
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setitem(PRESETS, "tiny", MICRO)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 256)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)
    monkeypatch.setattr(shapes, "IMAGES_PER_CLASS", 1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # drawing takes longer than all else
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TRAINING_IMAGES", 256)
        patch.setattr(tasks, "VALIDATION_IMAGES", 64)
        return ShapesTask(0)
