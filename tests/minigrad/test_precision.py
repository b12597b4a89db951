"""What fewer digits cost: the error of gradients, and of 50 training steps."""

import tracemalloc

import numpy as np
import pytest
from strict_cupy.modules import installed

import minigrad as mg
from clip_np import CLIP, CLIPConfig, TextConfig, VisionConfig
from clip_np.training import TrainingOptions, TrainingStep
from minigrad.backend import move
from minigrad.optim import AdamW
from minigrad.precision import kept, precision, restored

MICRO = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=8, patch_size=4, width=16, layers=2, heads=2),
    text=TextConfig(20, 7, width=16, layers=2, heads=2),
)
LARGER = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=16, patch_size=4, width=64, layers=4, heads=2),
    text=TextConfig(20, 7, width=16, layers=2, heads=2),
)
DIGIT = 2.0**-11  # the relative error of a number with 11 binary digits


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


def batches(count):
    rng = np.random.default_rng(1)
    for _ in range(count):
        images = rng.standard_normal((8, 3, 8, 8), dtype=np.float32)
        tokens = rng.integers(1, 18, (8, 7))
        tokens[np.arange(8), rng.integers(1, 7, 8)] = 19  # the end token, the highest id
        yield images, tokens


def training(name, backend, steps):
    """The losses of a run, and the gradient norms."""
    model = CLIP(MICRO, np.random.default_rng(0)).to(backend)
    step = TrainingStep(model, AdamW(model.parameters(), lr=3e-3), precision=name)
    results = [step(*batch) for batch in batches(steps)]
    return np.array(
        [[move(result[key], "numpy").item() for result in results] for key in ("loss", "grad_norm")]
    )


@pytest.mark.parametrize(("name", "backend"), [("tf32", "cupy"), ("float16", "numpy")])
def test_the_cost_in_a_training(name, backend):
    steps = 8 if backend == "cupy" else 50  # the stand-in is slow
    losses, norms = training(name, backend, steps)
    exact_losses, exact_norms = training("float32", backend, steps)
    assert 0.0 < abs(norms[0] / exact_norms[0] - 1.0) < 2.0 * DIGIT
    # The runs part slowly: after 50 steps by a few parts in 1,000.
    assert abs(losses / exact_losses - 1.0).max() < 10.0 * DIGIT
    assert exact_losses[-1] < exact_losses[0]


def test_kept_halves_leave_the_loss_as_it_is():
    assert training("float16", "numpy", 1)[0] == training("float32", "numpy", 1)[0]


@pytest.mark.parametrize("backend", ["numpy", "cupy"])
def test_gradients_of_kept_halves(backend):
    """The error of a weight's gradient is that of the numbers that were kept."""
    rng = np.random.default_rng(2)
    x, weight, bias = (
        mg.tensor(rng.standard_normal(shape, np.float32), requires_grad=True, backend=backend)
        for shape in ((64, 32), (16, 32), (16,))
    )

    def gradients():
        y = mg.gelu(mg.linear(x, weight, bias))
        return [move(g, "numpy") for g in mg.grad((y * y).sum(), [x, weight, bias])]

    exact = gradients()
    with precision("float16", like=x.data):
        found = gradients()
    for half, full in zip(found, exact):
        assert half.dtype == np.float32
        assert abs(half - full).max() <= 4.0 * DIGIT * abs(full).max()
    assert not np.array_equal(found[1], exact[1])


def test_kept_halves_are_half_the_memory():
    def held(name):
        """Bytes that are alive between the two passes of a model."""
        model = CLIP(LARGER, np.random.default_rng(0))
        images = np.random.default_rng(1).standard_normal((16, 3, 16, 16), dtype=np.float32)
        tracemalloc.start()
        with precision(name, like=images):
            features = model.vision(images)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        features.sum().backward()
        return size

    assert held("float16") < 0.6 * held("float32")


def test_a_pass_without_a_tape_keeps_nothing():
    x = np.ones(3, np.float32)
    with precision("float16", like=x), mg.no_grad():
        assert kept(x) is x


def test_a_product_in_tf32():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 40, 40))
    x, y = (mg.tensor(each.astype(np.float32), backend="cupy:1") for each in (a, b))
    with precision("tf32", like=x.data):
        product = (x @ y).numpy()
    again = (x @ y).numpy()
    size = np.abs(a) @ np.abs(b)
    assert (abs(product - a @ b) <= 2.0 * DIGIT * size).all()
    assert abs(product - a @ b).max() > 100.0 * abs(again - a @ b).max()


def test_other_numbers_are_kept_as_they_are():
    with precision("float16", like=np.zeros(1)):
        for array in (np.ones(2), np.ones(2, np.int64), np.ones(2, np.complex64)):
            assert kept(array) is array
        half = kept(np.full(2, 0.1, np.float32))
        large = kept(np.array([1e6], np.float32))
    assert half.dtype == np.float16 and np.isinf(large).all()
    assert kept(half) is half
    assert restored(half, np.dtype(np.float32)).dtype == np.float32


def test_what_goes_wrong_is_said():
    with pytest.raises(ValueError, match=r"`precision` must be one of float32, tf32, .*'bfloat16'"):
        precision("bfloat16", like=np.zeros(1))
    with pytest.raises(ValueError, match="`precision` tf32 is for products on a GPU"):
        precision("tf32", like=np.zeros(1))
    with pytest.raises(ValueError, match="`precision` must be one of"):
        TrainingOptions(precision="half")
    with pytest.raises(ValueError, match="set `backend` too"):
        TrainingOptions(precision="tf32", backend="numpy")
    assert TrainingOptions(precision="tf32", backend="cupy").precision == "tf32"
