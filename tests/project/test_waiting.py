"""A run on a GPU waits for nothing between two lines of its metrics.

On the stand-in for CuPy: what a training reads, what it copies to the device, and that
the copies of batches are used in the right order.
"""

import numpy as np
import pytest
from strict_cupy import kernels, modules, streams
from strict_cupy.modules import counting_reads, installed

import minigrad as mg
from clip_np.data import BatchLoader, Pairs
from minigrad.backend import move
from minigrad.clipping import clip_grad_norm, clipped_step
from minigrad.nn import Parameter
from minigrad.optim import SGD, AdamW
from minigrad.uploads import Uploads


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


# --- the update -----------------------------------------------------------------------


def parameters_on(backend, dtype=np.float32, without=None):
    rng = np.random.default_rng(0)
    shapes = [(5, 4), (4,), (3, 2, 2), (), (0,), (7,)]

    def numbers():
        return [move(np.asarray(rng.standard_normal(s), dtype), backend) for s in shapes]

    parameters = [Parameter(data) for data in numbers()]
    for number, (parameter, gradient) in enumerate(zip(parameters, numbers())):
        if number != without:
            parameter.grad = gradient
    return parameters


def numbers(parameters):
    return [move(parameter.data, "numpy") for parameter in parameters]


def adamw(parameters):
    return AdamW(parameters, lr=0.1, weight_decay=0.2)


def sgd(parameters):
    return SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.2)


@pytest.mark.parametrize("make", [adamw, sgd])
@pytest.mark.parametrize("max_norm", [None, 0.5, 100.0])
@pytest.mark.parametrize("without", [None, 2, 0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_is_that_of_numpy(make, max_norm, without, dtype):
    outcomes = {}
    for backend in ("numpy", "cupy:1"):
        parameters = parameters_on(backend, dtype, without)
        optimizer = make(parameters)
        norms = [clipped_step(optimizer, parameters, max_norm) for _ in range(3)]
        outcomes[backend] = [move(norm, "numpy") for norm in norms] + numbers(parameters)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    for found, expected in zip(outcomes["cupy:1"], outcomes["numpy"], strict=True):
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("make, name", [(adamw, "adamw"), (sgd, "sgd")])
def test_an_update_is_a_handful_of_launches(make, name):
    parameters = parameters_on("cupy")
    optimizer = make(parameters)
    before = len(kernels.launches)
    with counting_reads() as reads:
        clipped_step(optimizer, parameters, 1.0)
    squares = ["squares_of_parts"] * 2  # of matrices, and of the others
    expected = ["gather"] * 2 + squares + ["norm_and_factor"] + [name] * 2
    assert kernels.launches[before:] == expected
    assert reads == []


@pytest.mark.parametrize("max_norm", [None, 0.5, 100.0])
def test_clipped_gradients_are_those_of_numpy(max_norm):
    outcomes = {}
    for backend in ("numpy", "cupy"):
        parameters = parameters_on(backend)
        norm = clip_grad_norm(parameters, max_norm)
        outcomes[backend] = [move(norm, "numpy"), *[move(p.grad, "numpy") for p in parameters]]
    for found, expected in zip(outcomes["cupy"], outcomes["numpy"], strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- the gradient of a table ----------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_that_are_picked_twice_add_up_on_both(axis):
    rng = np.random.default_rng(2)
    x, ids = rng.standard_normal((6, 6, 6)), rng.integers(0, 6, (4, 5))
    weights = rng.standard_normal(np.take(x, ids, axis).shape)
    gradients = []
    for backend in ("numpy", "cupy"):
        tensor = mg.tensor(x, requires_grad=True, backend=backend)
        (mg.take(tensor, ids, axis) * move(weights, backend)).sum().backward()
        gradients.append(move(tensor.grad, "numpy"))
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-13)


def test_the_gradient_of_a_table_is_the_same_each_time():
    rng = np.random.default_rng(3)
    table, ids = rng.standard_normal((9, 4)).astype(np.float32), rng.integers(0, 9, 300)
    weights = move(rng.standard_normal((300, 4)).astype(np.float32), "cupy")

    def gradient():
        weight = mg.tensor(table, requires_grad=True, backend="cupy")
        before = len(kernels.launches)
        (mg.embedding(weight, ids) * weights).sum().backward()
        assert "add_rows" in kernels.launches[before:]  # sorted, not atomic
        return move(weight.grad, "numpy")

    assert np.array_equal(gradient(), gradient())


@pytest.mark.parametrize("axis, p", [(-1, 2.0), (0, 2.0), (-1, 1.0), ((0, 1), 2.0)])
def test_normalized_vectors_are_those_of_numpy(axis, p):
    rng = np.random.default_rng(4)
    x, weights = rng.standard_normal((2, 5, 7))
    x[1] = 0.0  # shorter than eps
    outcomes = []
    for backend in ("numpy", "cupy"):
        tensor = mg.tensor(x, requires_grad=True, backend=backend)
        y = mg.normalize(tensor, axis=axis, p=p, eps=1e-3)
        (y * move(weights, backend)).sum().backward()
        outcomes.append([move(y.data, "numpy"), move(tensor.grad, "numpy")])
    for found, expected in zip(outcomes[1], outcomes[0]):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


# --- batches --------------------------------------------------------------------------


def test_a_copy_is_waited_for_by_the_device():
    upload = Uploads("cupy")
    first = upload(np.ones(3, np.float32))
    assert (first * 2.0).get().tolist() == [2.0] * 3
    cuda = modules.make()["cupy.cuda"]
    with cuda.Stream(non_blocking=True):
        unwaited = move(np.ones(3), "cupy")
    with pytest.raises(ValueError, match="before the stream that makes it is done"):
        unwaited * 2.0


def test_a_copy_does_not_wait_for_the_last_step(monkeypatch):
    """Its memory may be that of the batch before the last, and no later one's."""
    upload = Uploads("cupy")
    upload(np.ones(3))
    before_the_step = streams.NULL.time
    move(np.ones(3), "cupy")  # a step
    waited = []
    monkeypatch.setattr(upload.stream, "wait_event", waited.append)
    upload(np.ones(3))
    (event,) = waited
    assert event.stream is streams.NULL and event.time == before_the_step


@pytest.mark.parametrize("data_workers", [0, 1])
def test_images_cross_the_bus_as_bytes(data_workers, monkeypatch):
    pixels = np.random.default_rng(5).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    pairs = Pairs.from_arrays(pixels, list("abcdef"))
    sent = []
    send = Uploads.__call__

    def spying(self, array):
        sent.append(array.dtype)
        return send(self, array)

    monkeypatch.setattr(Uploads, "__call__", spying)
    made = {}
    for backend in ("numpy", "cupy:1"):
        loader = BatchLoader(
            pairs, size=8, batch_size=4, seed=0, data_workers=data_workers, backend=backend
        )
        with counting_reads() as reads:
            made[backend] = list(loader.batches(start_step=0, stop_step=4))
        assert reads == []
    assert sent == [np.uint8] * 4
    for batch, expected in zip(made["cupy:1"], made["numpy"], strict=True):
        assert batch.images.device.id == 1
        assert batch.captions == expected.captions
        assert np.array_equal(move(batch.images, "numpy"), expected.images)


def test_a_loader_for_a_device_that_is_missing_says_so():
    pairs = Pairs.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), ["a", "b"])
    loader = BatchLoader(pairs, size=8, batch_size=2, seed=0, backend="cupy:5")
    with pytest.raises(RuntimeError, match="the driver offers 2 GPUs"):
        next(loader.batches(start_step=0, stop_step=1))
