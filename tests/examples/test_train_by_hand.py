"""The training loop of the example learns, and is as short as it promises."""

import sys

import numpy as np
from paths import EXAMPLES

from clip_np.losses import MAX_LOGIT_SCALE
from minigrad.threads import blas_threads

sys.path.insert(0, str(EXAMPLES))
import train_by_hand


def test_a_few_steps_train_a_model_that_can_be_measured(capsys, monkeypatch):
    monkeypatch.setattr(train_by_hand, "BATCH_SIZE", 16)
    with blas_threads(1):  # the products are too small to share
        model, tokenizer = train_by_hand.train(steps=51, pairs=100)
    first, last = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert last < first - 0.5
    assert 0.0 <= model.logit_scale.item() <= MAX_LOGIT_SCALE
    assert 0.0 <= train_by_hand.recall(model, tokenizer, count=10) <= 1.0


def test_the_temperature_is_held_in_its_bounds(monkeypatch):
    monkeypatch.setattr(train_by_hand, "BATCH_SIZE", 4)
    monkeypatch.setattr(train_by_hand, "MAX_LOGIT_SCALE", 1.0)  # below where it starts
    model, _ = train_by_hand.train(steps=1, pairs=20)
    assert model.logit_scale.data == np.float32(1.0)


def test_it_has_at_most_60_lines():
    lines = (EXAMPLES / "train_by_hand.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
