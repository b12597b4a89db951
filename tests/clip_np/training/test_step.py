"""The sharded step: exact for every way to cut it, deterministic, small in memory."""

import copy
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from small_models import batch, small_model

import minigrad as mg
from clip_np import contrastive_loss, training_step
from clip_np.losses import Loss, similarity_logits
from clip_np.training import TrainingStep, loss_and_gradients
from clip_np.training.step import _arenas_of
from clip_np.training.sums import GradientSums
from minigrad.backend import array_module
from minigrad.nn import Parameter
from minigrad.optim import SGD, AdamW
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
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("shards, workers", [(1, 2), (3, 2), (8, 1)])
def test_every_cut_gives_the_whole_gradient_with_a_bert(shards, workers, pooling):
    """Captions of unequal length: each piece is cut and masked in its own way."""
    model, (images, tokens) = small_model(kind="bert", pooling=pooling), batch(11)
    assert len(set(model.text.lengths(tokens).tolist())) > 2
    loss, expected = whole_batch(model, images, tokens)
    found = loss_and_gradients(model, images, tokens, shards=shards, workers=workers)
    assert found.item() == pytest.approx(loss, rel=1e-13)
    for (name, parameter), want in zip(model.named_parameters(), expected):
        assert np.abs(parameter.grad - want).max() <= 1e-11 * np.abs(want).max() + 1e-14, name


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


@pytest.mark.gradient
def test_a_parameter_that_some_samples_do_not_reach_loses_nothing(monkeypatch):
    """A layer that an encoder skips unless all captions of a unit are short."""
    model, (images, tokens) = small_model(), batch(9)
    encode = model.text.forward
    extra = model.text.extra = Parameter(np.full(6, 0.3))
    finish, held_up = GradientSums.finish, []

    def forward(part):
        return encode(part) + extra if model.text.lengths(part).max() < 5 else encode(part)

    def finish_and_count(sums, positions):
        held_up.append(len(sums.waiting))
        return finish(sums, positions)

    model.text.forward = forward
    monkeypatch.setattr(GradientSums, "finish", finish_and_count)
    found = {}
    for shards, workers in ((2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (9, 1), (9, 2), (9, 4)):
        loss_and_gradients(model, images, tokens, shards=shards, workers=workers)
        found.setdefault(shards, []).append(extra.grad)
    assert any(held_up)  # for a worker that never came
    for expected, *others in found.values():
        assert np.abs(expected).max() > 1e-3
        for gradient in others:
            np.testing.assert_allclose(gradient, expected, rtol=1e-9)


@pytest.mark.gradient
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shards", [1, 2, 6])
def test_a_parameter_that_both_encoders_use_gets_the_gradients_of_both(
    shards, workers, monkeypatch
):
    """The last worker is ready first, so that gradients of both encoders wait."""

    def run_last_first(jobs):
        for job in reversed(jobs):
            job()

    monkeypatch.setattr("clip_np.training.batch_gradient.run_workers", run_last_first)
    model, (images, tokens) = small_model(), batch(6)
    shared = model.text.text_projection = model.vision.proj
    _, expected = whole_batch(model, images, tokens)
    loss_and_gradients(model, images, tokens, shards=shards, workers=workers)
    position = [id(parameter) for parameter in model.parameters()].index(id(shared))
    np.testing.assert_allclose(shared.grad, expected[position], rtol=1e-10, atol=1e-15)


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


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shards": 0}, r"`shards` must lie in 1..4 \(the batch\), got 0"),
        ({"shards": 5}, "got 5"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"loss": "triplet"}, "loss must be .clip., .sigmoid. or a module .*, got 'triplet'"),
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


# --- the loss is a module ------------------------------------------------------------


class SigmoidLoss(Loss):
    """Each cell of the table of cosines is a question. The bias belongs to the loss."""

    def __init__(self, logit_scale) -> None:
        self.logit_scale = logit_scale
        self.bias = Parameter(np.array(-1.5))

    def forward(self, image_features, text_features, positives=None):
        logits = similarity_logits(image_features, text_features, self.logit_scale) + self.bias
        signs = 2.0 * np.eye(len(image_features)) - 1.0
        return mg.sum(mg.log(1.0 + mg.exp(logits * -signs))) * (1.0 / len(image_features))

    def clamp(self) -> None:
        bias = self.bias.data
        array_module(bias).minimum(bias, -1.0, out=bias)


def sigmoid_case(count):
    model, (images, tokens) = small_model(), batch(count)
    loss = SigmoidLoss(model.logit_scale)
    value = loss(model.encode_image(images), model.encode_text(tokens))
    expected = mg.grad(value, [*model.parameters(), loss.bias])
    return model, loss, images, tokens, value.item(), expected


@pytest.mark.gradient
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_loss_with_a_parameter_of_its_own_gets_exact_gradients(shards, workers):
    model, loss, images, tokens, value, expected = sigmoid_case(9)
    found = loss_and_gradients(model, images, tokens, shards=shards, workers=workers, loss=loss)
    assert found.item() == pytest.approx(value, rel=1e-14)
    for parameter, want in zip([*model.parameters(), loss.bias], expected, strict=True):
        assert np.abs(parameter.grad - want).max() <= 1e-12 * np.abs(want).max() + 1e-15
    assert abs(loss.bias.grad) > 0.01


def test_a_step_moves_clamps_and_clears_the_parameters_of_its_loss():
    model, loss, images, tokens, _, expected = sigmoid_case(6)
    norm = np.sqrt(sum((gradient * gradient).sum() for gradient in expected))
    optimizer = SGD([*model.parameters(), loss.bias], lr=0.1)
    start = loss.bias.item()
    result = training_step(model, optimizer, images, tokens, loss=loss, max_norm=None)
    assert result["grad_norm"].item() == pytest.approx(norm)  # the bias counts too
    assert loss.bias.item() == pytest.approx(min(start - 0.1 * expected[-1].item(), -1.0))
    assert loss.bias.grad is None
    loss.bias.data[...] = 5.0
    training_step(model, optimizer, images, tokens, loss=loss)
    assert loss.bias.item() == -1.0


def test_frozen_parameters_get_no_gradient():
    model, loss, images, tokens, _, _ = sigmoid_case(4)
    loss.bias = Parameter(loss.bias.data, requires_grad=False)
    model.vision.proj = Parameter(model.vision.proj.data, requires_grad=False)
    loss_and_gradients(model, images, tokens, loss=loss)
    assert loss.bias.grad is model.vision.proj.grad is None
    assert model.logit_scale.grad is not None


@pytest.mark.gradient
def test_a_parameter_of_loss_and_encoder_gets_both_gradients():
    model, (images, tokens) = small_model(), batch(5)

    class Weighted(Loss):
        def __init__(self) -> None:
            self.proj = model.vision.proj

        def forward(self, image_features, text_features, positives=None):
            value = contrastive_loss(image_features, text_features, model.logit_scale.detach())
            return value + mg.sum(self.proj * self.proj)

    loss = Weighted()
    value = loss(model.encode_image(images), model.encode_text(tokens))
    (expected,) = mg.grad(value, [model.vision.proj])
    loss_and_gradients(model, images, tokens, shards=2, workers=2, loss=loss)
    np.testing.assert_allclose(model.vision.proj.grad, expected, rtol=1e-12)


# --- memory from step to step --------------------------------------------------------


def buffers_of(arenas):
    return {id(buffer) for arena in arenas for held in arena.buffers.values() for buffer in held}


def test_steps_with_one_optimizer_compute_in_the_same_memory():
    model, (images, tokens) = small_model(np.float32), batch(256, np.float32)
    optimizer = AdamW(model.parameters())
    training_step(model, optimizer, images, tokens, workers=1)
    before = buffers_of(_arenas_of[optimizer])
    training_step(model, optimizer, images, tokens, workers=1)
    assert before and buffers_of(_arenas_of[optimizer]) == before
    step = TrainingStep(model, optimizer, workers=1)
    step(images, tokens)
    assert step.arenas is not _arenas_of[optimizer]
    before = buffers_of(step.arenas)
    step(images, tokens)
    assert before and buffers_of(step.arenas) == before


def test_memory_goes_with_its_optimizer_and_none_is_in_the_model():
    model, (images, tokens) = small_model(np.float32), batch(64, np.float32)
    state = set(vars(model))
    optimizer = AdamW(model.parameters())
    training_step(model, optimizer, images, tokens, workers=1)
    assert set(vars(model)) == state
    copy.deepcopy(model)
    arena = weakref.ref(_arenas_of[optimizer][0])
    del optimizer
    gc.collect()
    assert arena() is None


def test_the_function_and_the_object_take_the_same_steps():
    def run(make):
        model, (images, tokens) = small_model(np.float32), batch(11, np.float32)
        optimizer = AdamW(model.parameters(), lr=1e-2)
        step = make(model, optimizer)
        results = [step(images, tokens) for _ in range(3)]
        return [float(result["loss"]) for result in results], model.state_dict()

    def call_by_call(model, optimizer):
        return lambda images, tokens: training_step(
            model, optimizer, images, tokens, shards=2, workers=2, max_norm=0.1
        )

    losses, weights = run(call_by_call)
    again, same = run(
        lambda model, optimizer: TrainingStep(model, optimizer, shards=2, workers=2, max_norm=0.1)
    )
    assert losses == again
    assert all((weights[name] == same[name]).all() for name in weights)
