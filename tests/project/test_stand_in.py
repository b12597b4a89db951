"""One source, two array modules: training and devices on a strict stand-in for CuPy.

The stand-in (strict_cupy) refuses what CuPy refuses, and some of what it allows at a
price. That it does notice mistakes is tested by planting some (device_mistakes.py).
"""

import ast
import re
import runpy
import sys
from fnmatch import fnmatch

import numpy as np
import pytest
from device_runs import MICRO, TOKENIZER, a_model, batches, losses_of
from paths import ROOT
from strict_cupy import device
from strict_cupy.modules import counting_reads, installed

import clip_np
import minigrad as mg
from clip_np import CLIPConfig, TextConfig, VisionConfig
from clip_np.data import shapes
from clip_np.encoders import PRESETS
from clip_np.training import (
    METRICS,
    ShapesTask,
    Trainer,
    TrainingOptions,
    Validation,
    loop,
    read_metrics,
    saving,
    tasks,
    training_step,
)
from clip_np.weights import read_checkpoint, save_checkpoint
from minigrad.backend import move
from minigrad.optim import AdamW


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


# --- training -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend, steps, options",
    [
        ("cupy", 50, {}),
        ("cupy:1", 10, {"shards": 3, "workers": 2}),
        ("cupy", 10, {"shards": 4, "workers": 2}),
    ],
)
def test_steps_are_those_of_numpy_and_read_nothing(backend, steps, options):
    """A few steps in shards, each of which takes four times as long."""
    expected, _ = losses_of("numpy", steps, **options)
    found, reads = losses_of(backend, steps, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert expected[-1] < expected[0]
    assert reads == []


def test_attention_with_dropout_masks_and_losses_are_those_of_numpy():
    def outcome(backend):
        rng = np.random.default_rng(3)
        arrays = [rng.standard_normal((2, 2, 5, 4)) for _ in range(3)]
        q, k, v = (mg.tensor(a, requires_grad=True, backend=backend) for a in arrays)
        mask = np.tril(np.ones((5, 5), bool))
        y = mg.attention(q, k, v, mask, dropout=0.3, rng=rng).reshape(20, 4)
        loss = mg.cross_entropy(y, rng.integers(0, 4, 20)) + mg.dropout(y, 0.5, rng).sum()
        loss.backward()
        return [move(a, "numpy") for a in (loss.data, q.grad, k.grad, v.grad)]

    for found, expected in zip(outcome("cupy"), outcome("numpy")):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_a_convolutional_network_learns_the_same_and_reads_nothing():
    rng = np.random.default_rng(4)
    x, labels = rng.standard_normal((6, 2, 9, 9)), rng.integers(0, 3, 6)

    def outcome(backend):
        rng = np.random.default_rng(5)
        net = mg.nn.Sequential(
            mg.nn.Conv2d(2, 4, 3, rng, stride=2, padding=1, bias=False),
            mg.nn.BatchNorm2d(4),
            mg.nn.Conv2d(4, 4, 3, rng, padding=1),
            mg.nn.Conv2d(4, 3, 1, rng, bias=False),
        )
        net.astype("float64").to(backend)
        optimizer = AdamW(net.parameters(), lr=1e-2)
        images = mg.tensor(x, backend=backend)
        losses = []
        with counting_reads() as reads:
            for _ in range(5):
                pooled = mg.avg_pool2d(mg.max_pool2d(net(images), 3, 1, padding=1), 5)
                loss = mg.cross_entropy(pooled.reshape(6, 3), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.data)
        assert reads == []
        assert {b.backend for _, b in net.named_buffers()} == {backend}
        net.eval()
        return [move(a, "numpy") for a in (*losses, net(images).data, *net.state_dict().values())]

    expected = outcome("numpy")
    for found, wanted in zip(outcome("cupy:1"), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    assert expected[4] < expected[0]


@pytest.fixture
def small_task(monkeypatch):
    monkeypatch.setitem(
        PRESETS,
        "micro",
        CLIPConfig(
            embed_dim=16,
            vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
            text=TextConfig(514, 77, width=16, layers=1, heads=2),
        ),
    )
    monkeypatch.setattr(tasks, "TRAINING_IMAGES", 256)
    monkeypatch.setattr(tasks, "VALIDATION_IMAGES", 64)
    monkeypatch.setattr(shapes, "RETRIEVAL_IMAGES", 100)
    return ShapesTask(0)


def a_trainer(task, directory, backend, **options):
    wanted = {"preset": "micro", "batch_size": 16, "vocab_size": 560, "steps": 50}
    options = TrainingOptions(**{**wanted, "backend": backend, "workers": 1, **options})
    return Trainer(task, options, directory)


def test_a_logging_point_reads_once(small_task, tmp_path, monkeypatch):
    trainer = a_trainer(small_task, tmp_path, "cupy", log_every=5, validate_every=1000)
    held_out = {"validation_loss": 1.0, "validation_recall_at_1": 0.0}
    monkeypatch.setattr(Validation, "measure", lambda *model: held_out)
    monkeypatch.setattr(saving, "write_checkpoint", lambda state: None)
    monkeypatch.setattr(loop, "write_best", lambda state: None)
    with counting_reads() as reads:
        trainer.run()
    assert len(reads) == 10


def test_train_tiny_learns_the_same_on_both(small_task, tmp_path, monkeypatch):
    example = ROOT / "examples" / "train_tiny.py"
    losses = {}
    for backend in ("numpy", "cupy"):
        out = tmp_path / backend
        options = {"backend": backend, "steps": 20, "batch-size": 16, "seed": 3, "out": out}
        flags = [f"--{name}={value}" for name, value in options.items()]
        monkeypatch.setattr(sys, "argv", [str(example), *flags])
        with pytest.raises(SystemExit, match="0"), counting_reads() as reads:
            runpy.run_path(str(example), run_name="__main__")
        assert bool(reads) == (backend == "cupy")
        losses[backend] = [entry["loss"] for entry in read_metrics(out / METRICS)]
    assert len(losses["cupy"]) == 2
    np.testing.assert_allclose(losses["cupy"], losses["numpy"], rtol=1e-3)  # in float32


# --- checkpoints ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, read", [("cupy", "numpy"), ("numpy", "cupy"), ("cupy:1", "cupy")]
)
def test_a_checkpoint_goes_on_on_another_backend(tmp_path, written, read):
    model = a_model(written, "float32", MICRO.for_tokenizer(TOKENIZER))
    optimizer = AdamW(model.parameters(), lr=1e-2)
    (first, second) = batches(2, np.float32)
    training_step(model, optimizer, *first)
    save_checkpoint(tmp_path / "checkpoint.npz", model, TOKENIZER, optimizer, {})
    expected = training_step(model, optimizer, *second)["loss"]

    found = read_checkpoint(tmp_path)
    again = found.model.to(read)
    fresh = AdamW(again.parameters(), lr=1e-2)
    fresh.load_state_dict(found.optimizer_state)
    assert {p.backend for p in again.parameters()} == {read}
    loss = training_step(again, fresh, *second)["loss"]
    assert move(loss, "numpy") == pytest.approx(move(expected, "numpy"), rel=1e-6)
    loaded, _, _ = clip_np.load(tmp_path, backend=read)
    assert loaded.logit_scale.backend == read


# --- devices --------------------------------------------------------------------------


def test_a_tensor_computes_where_it_lies():
    x = mg.tensor([1.0, 2.0], requires_grad=True, backend="cupy:1")
    other = mg.tensor([3.0, 4.0], requires_grad=True, backend="cupy")  # the current device now
    y = (mg.exp(x) * 2.0 + x).sum()
    y.backward()
    assert y.backend == "cupy:1" and device.current_device() == 1
    (other * other.to("cupy:1").to("cupy")).sum().backward()
    assert other.grad.tolist() == [6.0, 8.0]
    assert x.grad.device.id == 1 and other.grad.device.id == 0


@pytest.mark.parametrize("one, two", [("cupy", "cupy:1"), ("numpy", "cupy")])
def test_different_devices_in_one_operation_raise(one, two):
    a, b = mg.tensor([1.0], backend=one), mg.tensor([1.0], backend=two)
    found = ", ".join(sorted((one, two)))
    for op in (mg.add, mg.mul, mg.maximum, lambda *pair: mg.concatenate(pair)):
        with pytest.raises(ValueError, match=rf"different backends \({found}\)"):
            op(a, b)
    with pytest.raises(ValueError, match=f"got float32 on {two} and float32 on {one}"):
        AdamW([mg.nn.Parameter(a.data), mg.nn.Parameter(b.data)])


@pytest.mark.parametrize("index", [[0, 7], [-4, 0]])
def test_an_index_out_of_range_raises(index):
    x = mg.tensor(np.ones((3, 2)), backend="cupy")
    with pytest.raises(IndexError, match="getitem"):
        x[np.array(index)]
    with pytest.raises(IndexError, match="getitem"):
        x[:, index]
    with pytest.raises(IndexError, match="take"):
        mg.take(x, np.array(index))


def test_out_of_memory_names_the_operation_the_shapes_the_pool_and_a_way_out():
    model = a_model("cupy")
    (batch,) = batches(1)
    optimizer = AdamW(model.parameters())
    device.pool.set_limit(device.pool.used_bytes() + 30_000)
    with pytest.raises(MemoryError) as caught:
        training_step(model, optimizer, *batch)
    text = str(caught.value)
    print(text)
    assert text.split(":")[0] in mg.__all__
    assert "(8, " in text and "CuPy's pool holds" in text and "`shards`" in text


# --- the tests that are left out ------------------------------------------------------


def host_only_patterns():
    """The keys of the plugin's HOST_ONLY, read from its source.

    Importing the plugin is for a run on the stand-in.
    """
    source = (ROOT / "tests/helpers/strict_cupy/plugin.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "HOST_ONLY":
            return list(ast.literal_eval(node.value))
    raise AssertionError("the plugin has no HOST_ONLY")


@pytest.mark.parametrize("pattern", host_only_patterns())
def test_what_is_left_out_is_there(pattern):
    """A test that was renamed would run on the stand-in, and fail there."""
    files, _, test = pattern.partition("::")
    wanted = re.compile("def " + re.escape(test.partition("[")[0]).replace(r"\*", r"\w*"))
    files = files if files.endswith(".py") else f"{files}.py"
    paths = [path for path in ROOT.glob("tests/**/*.py") if fnmatch(str(path), f"*/tests/{files}")]
    assert any(wanted.search(path.read_text(encoding="utf-8")) for path in paths)
