"""A model and a shapes task that are smaller than those of a real run."""

import pytest
from small_runs import MICRO

from clip_np.data import shapes
from clip_np.encoders import PRESETS
from clip_np.training import ShapesTask, tasks


@pytest.fixture
def small(monkeypatch):
    """A preset "micro", and fewer shapes than a real run has."""
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 256)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)


@pytest.fixture(scope="package")
def task():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TRAINING_IMAGES", 256)
        patch.setattr(tasks, "VALIDATION_IMAGES", 64)
        return ShapesTask(0)
