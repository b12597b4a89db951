"""What is announced of memory: by formula where there is one, measured elsewhere."""

import tracemalloc

import numpy as np
import pytest
from small_models import small_model

from clip_np import CLIP, PRESETS
from clip_np.training import available_bytes, memory_message, memory_need, training_step
from minigrad.half import store_in_half
from minigrad.optim import AdamW

SIZES = {"batch_size": 64, "shards": 1, "workers": 1, "caption_length": 12}


def test_weights_gradients_and_moments_are_counted():
    model = small_model(np.float32)
    numbers = sum(parameter.size for parameter in model.parameters())
    need = memory_need(model, **SIZES)
    assert (need.weights, need.gradients, need.moments) == (4 * numbers, 4 * numbers, 8 * numbers)
    assert need.batches == 4 * 64 * 3 * 8 * 8 * 4
    model.freeze("vision")
    learning = sum(p.size for p in model.parameters() if p.requires_grad)
    frozen = memory_need(model, **SIZES)
    assert (frozen.weights, frozen.gradients) == (4 * numbers, 4 * learning)
    assert frozen.activations < need.activations
    matrices = sum(p.size for p in model.vision.parameters() if p.ndim >= 2)
    store_in_half(model.vision)
    assert memory_need(model, **SIZES).weights == 4 * numbers - 2 * matrices


@pytest.mark.parametrize("freeze", [None, "vision", "text"])
@pytest.mark.parametrize("shards, workers", [(1, 1), (8, 1), (8, 2)])
def test_a_step_needs_what_was_announced(freeze, shards, workers):
    model = CLIP(PRESETS["small"], np.random.default_rng(0))
    if freeze is not None:
        model.freeze(freeze)
    sizes = {"batch_size": 64, "shards": shards, "workers": workers, "caption_length": 12}
    need = memory_need(model, **sizes)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    images = np.zeros((64, 3, 32, 32), np.float32)
    tokens = np.full((64, 12), 5)
    tokens[:, -1] = 513
    tracemalloc.start()
    try:
        optimizer = AdamW(trained, lr=1e-3)
        for _ in range(2):
            training_step(model, optimizer, images, tokens, shards=shards, workers=workers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The weights that learn are copied into the optimizer's buffer.
    learning = 4 * sum(parameter.size for parameter in trained)
    announced = learning + need.gradients + need.moments + need.activations
    assert 0.8 * peak < announced < 1.3 * peak


def test_each_thread_has_the_sum_and_the_newest_gradients():
    model = small_model(np.float32)
    vision, text = (
        sum(parameter.size for parameter in encoder.parameters())
        for encoder in model.encoders.values()
    )
    need = memory_need(model, batch_size=64, shards=8, workers=2, caption_length=12)
    turn = 2 * vision + max(2 * vision + text, vision + 2 * text)
    assert need.gradients == 4 * max(turn, vision + 4 * text)
    need = memory_need(model, batch_size=64, shards=2, workers=2, caption_length=12)
    learning = sum(parameter.size for parameter in model.parameters())
    assert need.gradients == 4 * (learning + max(vision, text))
    model.freeze("vision")
    need = memory_need(model, batch_size=64, shards=8, workers=2, caption_length=12)
    assert need.gradients == 4 * 4 * text


def test_measuring_changes_nothing():
    model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    before = model.state_dict()
    memory_need(model, **SIZES)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_need_that_is_too_large_is_named_with_what_helps():
    need = memory_need(small_model(np.float32), **SIZES)
    assert "more than there is" not in memory_message(need, available=2**40)
    message = memory_message(need, available=1000)
    assert "more than there is. Less is needed with more `shards`" in message
    assert "free" not in memory_message(need, available=None)


def test_a_checkpoint_is_written_from_copies():
    need = memory_need(small_model(np.float32), **{**SIZES, "batch_size": 1})
    assert need.saving == 2 * (need.weights + need.moments) + need.batches
    assert need.total >= need.saving


def test_available_memory(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9 kB\nMemAvailable:     2048 kB\n")
    assert available_bytes(path) == 2048 * 1024
    assert (available_bytes(tmp_path / "nothing") or 1) > 0
