"""The sharded step: exact for every way to cut it, deterministic, small in memory."""

import itertools
import threading
import tracemalloc

import numpy as np
import pytest
from small_models import batch, small_model

import minigrad as mg
from clip_np import contrastive_loss, training_step
from clip_np.training import Unit, loss_and_gradients, plan
from clip_np.training.step import _Sums
from minigrad.optim import AdamW
from minigrad.threads import run_workers


def whole_batch(model, images, tokens, positives=None):
    loss = contrastive_loss(
        model.encode_image(images), model.encode_text(tokens), model.logit_scale, positives
    )
    return loss.item(), mg.grad(loss, model.parameters())


@pytest.mark.gradient
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_every_cut_gives_the_whole_gradient(shards, workers):
    model, (images, tokens) = small_model(), batch(11)
    loss, expected = whole_batch(model, images, tokens)
    found = loss_and_gradients(model, images, tokens, shards=shards, workers=workers)
    assert found.item() == pytest.approx(loss, rel=1e-14)
    for (name, parameter), want in zip(model.named_parameters(), expected):
        assert np.abs(parameter.grad - want).max() <= 1e-12 * np.abs(want).max() + 1e-15, name
    assert model.logit_scale.grad.shape == ()


@pytest.mark.gradient
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_float32_gradients_agree_to_rounding(shards):
    model, (images, tokens) = small_model(np.float32), batch(11, np.float32)
    _, expected = whole_batch(model, images, tokens)
    loss_and_gradients(model, images, tokens, shards=shards, workers=2)
    for (name, parameter), want in zip(model.named_parameters(), expected):
        assert parameter.grad.dtype == np.float32
        assert np.abs(parameter.grad - want).max() <= 1e-5 * np.abs(want).max() + 1e-7, name


def test_positives_reach_the_loss():
    model, (images, tokens) = small_model(), batch(6)
    positives = np.zeros((6, 6), bool)
    positives[0, 3] = positives[3, 0] = True
    loss, _ = whole_batch(model, images, tokens, positives)
    found = loss_and_gradients(model, images, tokens, workers=2, positives=positives)
    assert found.item() == pytest.approx(loss, rel=1e-14)
    assert loss != whole_batch(model, images, tokens)[0]


def test_same_seed_same_bits():
    def run():
        model, (images, tokens) = small_model(np.float32), batch(11, np.float32)
        optimizer = AdamW(model.parameters(), lr=1e-3)
        for _ in range(4):
            training_step(model, optimizer, images, tokens, workers=2)
        return b"".join(p.data.tobytes() for p in model.parameters())

    assert run() == run()


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(3))))
def test_gradients_are_added_in_the_order_of_the_workers(arrival):
    """Of (a + b) + c and a + (b + c), rounding makes two numbers. Nothing is copied or kept."""
    image, text = Unit("image", slice(0, 1), 1.0), Unit("text", slice(0, 1), 1.0)
    sums = _Sums([[image], [image, image], [text], [text, image]])  # three share the images
    parts = [np.array([each], np.float32) for each in (1.0, 1e8, -1e8)]
    workers = (0, 1, 3)
    for position in arrival:
        sums.add("image", "weight", workers[position], parts[position])
    assert sums.totals["weight"] is parts[0]
    assert sums.totals["weight"] == (np.float32(1.0) + np.float32(1e8)) - np.float32(1e8)
    assert not sums.early


def test_workers_that_do_not_reach_a_leaf_hold_up_no_others():
    sums = _Sums([[Unit("image", slice(0, 1), 1.0)]] * 4)
    for worker, part in ((3, 4.0), (1, 2.0), (2, 3.0)):
        sums.add("image", "weight", worker, np.array([part]))
    sums.add("image", "bias", 0, np.array([5.0]))
    assert sums.finish() == {"weight": 9.0, "bias": 5.0}


def test_a_leaf_that_some_samples_do_not_reach_loses_nothing():
    """A layer that an encoder skips for captions with an odd number of tokens."""
    model, (images, tokens) = small_model(), batch(9)
    encode = model.text.forward

    def forward(part):
        return encode(part) * extra if len(part) % 2 else encode(part)

    model.text.forward, model.text.extra = forward, mg.nn.Parameter(np.ones(()))
    extra = model.text.extra
    found = {}
    for shards, workers in ((2, 1), (2, 2), (4, 2), (4, 3), (9, 2)):
        loss_and_gradients(model, images, tokens, shards=shards, workers=workers)
        found[shards, workers] = extra.grad
    assert all(gradient is not None for gradient in found.values())
    np.testing.assert_allclose(found[2, 1], found[2, 2], rtol=1e-9)
    np.testing.assert_allclose(found[4, 2], found[4, 3], rtol=1e-9)


def test_step_reports_clips_clamps_and_clears():
    model, (images, tokens) = small_model(), batch(6)
    _, expected = whole_batch(model, images, tokens)
    norm = np.sqrt(sum((g * g).sum() for g in expected))
    model.logit_scale.data[...] = np.log(100)
    _, expected = whole_batch(model, images, tokens)
    norm = np.sqrt(sum((g * g).sum() for g in expected))
    optimizer = AdamW(model.parameters(), lr=10.0)
    result = training_step(model, optimizer, images, tokens, max_norm=1e-3)
    assert result["grad_norm"].item() == pytest.approx(norm)
    assert {name: value.shape for name, value in result.items()} == {
        "loss": (),
        "logit_scale": (),
        "grad_norm": (),
    }
    assert 0.0 <= model.logit_scale.item() <= np.log(100)
    assert all(p.grad is None for p in model.parameters())


def test_norm_clipping_can_be_switched_off():
    def moved(max_norm):
        model, (images, tokens) = small_model(), batch(6)
        optimizer = mg.optim.SGD(model.parameters(), lr=1.0)
        before = model.vision.proj.data.copy()
        training_step(model, optimizer, images, tokens, max_norm=max_norm)
        return np.abs(model.vision.proj.data - before).max()

    assert moved(1e-6) < 1e-5 < moved(None)


def test_one_batch_can_be_learned_by_heart():
    model, (images, tokens) = small_model(np.float32), batch(8, np.float32)
    tokens[:, 0] = np.arange(1, 9)  # no caption twice
    optimizer = AdamW(model.parameters(), lr=1e-2)
    losses = [
        training_step(model, optimizer, images, tokens, workers=2)["loss"].item()
        for _ in range(150)
    ]
    assert losses[0] > 1.5
    assert losses[-1] < 0.05


def test_recomputation_holds_one_shard_in_memory():
    model, (images, tokens) = small_model(np.float32), batch(512, np.float32)

    def peak(shards):
        tracemalloc.start()
        loss_and_gradients(model, images, tokens, shards=shards, workers=1)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    # Beside the shard stand the (512, 512) table of cosines and the embeddings.
    assert peak(16) < 0.7 * peak(1)


def test_no_grad_outside_reaches_the_workers():
    seen = []
    with mg.no_grad():
        leaf = mg.tensor([1.0], requires_grad=True)
        run_workers([lambda: seen.append((leaf * 2).requires_grad) for _ in range(3)])
    assert seen == [False] * 3


def test_an_error_in_a_worker_comes_out():
    def broken():
        raise ValueError("in a thread")

    before = threading.active_count()
    with pytest.raises(ValueError, match="in a thread"):
        run_workers([lambda: None, broken])
    assert threading.active_count() == before


def test_plan_covers_every_sample_once():
    model = small_model()
    for count in (1, 2, 7, 64):
        _, tokens = batch(count)
        for workers in (1, 2, 3, 5):
            for shards in {1, min(2, count), min(5, count)}:
                loads = plan(model, tokens, shards, workers)
                assert len(loads) == workers
                for tower in ("image", "text"):
                    rows = [
                        row
                        for load in loads
                        for unit in load
                        if unit.tower == tower
                        for row in range(unit.rows.start, unit.rows.stop)
                    ]
                    assert sorted(rows) == list(range(count)), (count, workers, shards)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shards": 0}, r"shards must lie in 1..4 \(the batch\), got 0"),
        ({"shards": 5}, "got 5"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"loss": "triplet"}, 'only loss="clip"'),
    ],
)
def test_impossible_steps(options, message):
    model, (images, tokens) = small_model(), batch(4)
    before = model.vision.proj.data.copy()
    with pytest.raises(ValueError, match=message):
        training_step(model, AdamW(model.parameters()), images, tokens, **options)
    np.testing.assert_array_equal(model.vision.proj.data, before)


def test_unequal_batches():
    model, (images, tokens) = small_model(), batch(4)
    with pytest.raises(ValueError, match="3 images but 4 captions"):
        loss_and_gradients(model, images[:3], tokens)
