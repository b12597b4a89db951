"""What the tape keeps, and until when: freeing, peak memory, chains, checkpoints."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad.tape import Node

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]

SIZE = 20_000  # float64 numbers in one array of the memory tests
BYTES = SIZE * 8


@pytest.fixture
def no_collector():
    """What is freed here is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*shape, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return mg.tensor(np.asarray(values), requires_grad=True)


def peak_of(function):
    """The bytes that were held at most while function() ran, above those before."""
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def chain(x, length):
    for _ in range(length):
        x = mg.tanh(x)
    return x


# --- freeing --------------------------------------------------------------------------


class Watched(np.ndarray):
    """An array that weak references can follow."""


def watch(tensor):
    tensor.data = tensor.data.view(Watched)
    return weakref.ref(tensor.data)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("walk", [False, True])
def test_graph_goes_with_its_last_tensor(walk):
    x = leaf(4, 4)
    hidden = x * 2.0
    array = watch(hidden)
    y = mg.softmax(mg.layer_norm(hidden @ hidden, leaf(4), leaf(4)) + mg.exp(hidden))
    y = mg.sum(mg.concatenate(mg.split(mg.attention(y, y, y), 2)) * mg.gelu(hidden))
    nodes = [weakref.ref(t) for t in (hidden, y)]
    del hidden
    assert array() is not None  # exp, matmul and gelu need it
    if walk:
        y.backward()
        assert array() is None  # the walk has freed it although y is still there
    del y
    assert array() is None
    assert [ref() for ref in nodes] == [None, None]


@pytest.mark.usefixtures("no_collector")
def test_ten_thousand_graphs_leave_nothing_behind():
    x = leaf(10)

    def rounds(count):
        for _ in range(count):
            y = mg.tanh(x * 2.0) @ x
            y.backward()

    tracemalloc.start()
    rounds(2000)  # CPython keeps up to 2,000 freed pairs for later: let it have them
    before = tracemalloc.get_traced_memory()[0]
    rounds(1000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 5_000


@pytest.mark.usefixtures("no_collector")
def test_a_failed_backward_leaves_no_cycle():
    x = leaf(4)
    y = x * 2.0
    array = watch(y)
    z = mg.sum(mg.exp(y))
    del y
    z.backward()
    with pytest.raises(RuntimeError):
        z.backward()
    assert array() is None


def test_walked_nodes_drop_parents_and_vjp():
    y = mg.sum(leaf(3) * 2.0)
    node = y._place
    assert isinstance(node, Node)
    parent = node.parents[0]
    y.backward()
    assert [node.vjp, node.parents, parent.vjp, parent.parents] == [None] * 4


# --- peak memory ----------------------------------------------------------------------


def test_peak_of_a_chain_is_one_array_for_each_operation():
    x = leaf(SIZE)
    n = 20
    peak = peak_of(lambda: chain(x, n).backward(np.ones(SIZE)))
    assert n * BYTES < peak < (n + 6) * BYTES


def test_operations_that_need_no_array_keep_none():
    x = leaf(SIZE)

    def run():
        y = x
        for _ in range(30):
            y = mg.add(y, 1.0).reshape(2, -1).reshape(-1) * 2.0
        y.backward(np.ones(SIZE))

    assert peak_of(run) < 8 * BYTES


def test_product_with_a_constant_does_not_keep_the_tensor():
    x, weight = leaf(SIZE), mg.tensor(np.ones(SIZE))

    def run():
        y = x
        for _ in range(20):
            y = y * weight - weight
        y.backward(np.ones(SIZE))

    assert peak_of(run) < 8 * BYTES


def test_no_grad_keeps_nothing():
    x = leaf(SIZE)

    def run():
        with mg.no_grad():
            chain(x, 20)

    assert peak_of(run) < 4 * BYTES


# --- long chains ----------------------------------------------------------------------

LONG = 100_000


def test_long_chain_forward_and_backward():
    x = leaf()
    y = x
    for _ in range(LONG):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0
    assert np.isclose(y.item(), x.item() + LONG)


def test_long_chain_is_freed_without_backward():
    y = leaf()
    for _ in range(LONG):
        y = -y
    assert y.item() == leaf().item()  # LONG is even
    del y  # a recursive deallocation would end the process


def test_long_chain_of_one_reused_tensor():
    x = leaf()
    y = x
    for _ in range(2000):
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad == 1.0


# --- checkpoint -----------------------------------------------------------------------


def block(x, w):
    return mg.tanh(x @ w) * x + mg.softmax(x)


def assert_same_gradients(plain, checkpointed, inputs):
    """Both functions' gradients, for a random cotangent, agree to the last bit."""
    y = plain()
    g = np.random.default_rng(5).standard_normal(y.shape)
    expected = mg.grad(y, inputs, g, retain_graph=True)
    again = checkpointed()
    assert np.array_equal(again.data, y.data)
    for actual, wanted in zip(mg.grad(again, inputs, g), expected):
        assert np.array_equal(actual, wanted)


def test_checkpoint_changes_no_value_and_no_gradient():
    x, w = leaf(3, 3), leaf(3, 3, seed=1)
    assert_same_gradients(lambda: block(x, w), lambda: mg.checkpoint(block, x, w), [x, w])
    assert_same_gradients(
        lambda: mg.exp(block(x * 2.0, w)) + x,
        lambda: mg.exp(mg.checkpoint(block, x * 2.0, w)) + x,
        [x, w],
    )


def test_checkpoint_reaches_parameters_and_results_through_the_closure():
    x, w = leaf(3, 3), leaf(3, 3, seed=1)
    inside = mg.exp(w)

    def stretch(a):
        return block(a, w) * inside

    assert_same_gradients(lambda: stretch(x) + inside, lambda: mg.checkpoint(stretch, x) + inside,
                   [x, w, inside])  # fmt: skip
    inside = mg.exp(w)  # the walk above freed its graph
    mg.checkpoint(stretch, x.detach()).backward(np.ones((3, 3)))
    assert x.grad is None and np.abs(w.grad).min() > 0


def test_checkpoint_without_inputs():
    w = leaf(3)
    mg.checkpoint(lambda: mg.exp(w)).backward(np.ones(3))
    assert np.array_equal(w.grad, np.exp(w.data))


def test_nested_checkpoints():
    x, w = leaf(3, 3), leaf(3, 3, seed=1)
    inside = mg.tanh(w)

    def inner(a):
        return block(a, inside) + w

    def outer(a, use):
        b = mg.sigmoid(a @ w)
        return use(inner, b) * b + use(inner, a)

    assert_same_gradients(
        lambda: outer(x, lambda fn, a: fn(a)),
        lambda: mg.checkpoint(lambda a: outer(a, mg.checkpoint), x),
        [x, w, inside],
    )


def test_checkpoint_with_several_results_of_which_one_is_unused():
    x = leaf(4)

    def stretch(a):
        return mg.exp(a), a * 2.0, mg.tanh(a)

    first, _, third = mg.checkpoint(stretch, x)
    total = first * third
    g = np.array([1.0, -2.0, 0.5, 3.0])
    (gradient,) = mg.grad(total, [x], g)
    e, t = np.exp(x.data), np.tanh(x.data)
    assert np.allclose(gradient, g * (e * t + e * (1 - t * t)), rtol=1e-14)


def test_checkpoint_that_returns_its_input_or_a_constant():
    x = leaf(3)
    same, constant = mg.checkpoint(lambda a: (a, mg.tensor(np.ones(3))), x)
    (same * 2.0 + constant).backward(np.ones(3))
    assert x.grad.tolist() == [2.0] * 3


def test_checkpoint_takes_arrays_as_constants():
    weight = leaf(4, 2)
    ids = np.array([1, 1, 3])
    mg.checkpoint(mg.embedding, weight, ids).backward(np.ones((3, 2)))
    assert weight.grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


def test_checkpoint_under_no_grad_records_nothing():
    x = leaf(3)
    with mg.no_grad():
        assert not mg.checkpoint(mg.exp, x).requires_grad


def test_checkpoint_twice_through_a_retained_graph():
    x = leaf(3)
    y = mg.checkpoint(mg.exp, x)
    first = mg.grad(y, [x], np.ones(3), retain_graph=True)[0]
    assert np.array_equal(first, mg.grad(y, [x], np.ones(3))[0])


def test_checkpoints_make_memory_that_of_one_stretch():
    x = leaf(SIZE)
    stretches, length = 5, 10

    def run():
        y = x
        for _ in range(stretches):
            y = mg.checkpoint(lambda a: chain(a, length), y)
        y.backward(np.ones(SIZE))

    plain = peak_of(lambda: chain(x, stretches * length).backward(np.ones(SIZE)))
    assert plain > stretches * length * BYTES
    assert peak_of(run) < (stretches + length + 8) * BYTES
