"""The tape: reuse, accumulation, grad, copies."""

import copy
import operator
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad.backend import array_module
from minigrad.tensor import record

pytestmark = [
    pytest.mark.gradient,
    pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"),
]


def leaf(*shape, seed=0, dtype=np.float64):
    values = np.random.default_rng(seed).standard_normal(shape)
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def cotangent_for(output, seed=9):
    return np.asarray(np.random.default_rng(seed).standard_normal(output.shape), output.dtype)


# --- one tensor used many times -------------------------------------------------------

REUSES = [
    pytest.param(lambda x: x - x, id="x-x"),
    pytest.param(lambda x: x + x, id="x+x"),
    pytest.param(lambda x: x * x, id="x*x"),
    pytest.param(lambda x: x / x, id="x/x"),
    pytest.param(lambda x: x @ x, id="x@x"),
    pytest.param(lambda x: x @ x.T, id="x@x.T"),
    pytest.param(lambda x: mg.concatenate([x, x]), id="concatenate"),
    pytest.param(lambda x: mg.stack([x, x, x], axis=1), id="stack"),
    pytest.param(lambda x: mg.where(np.eye(3, dtype=bool), x, x), id="where"),
    pytest.param(lambda x: mg.einsum("ij,jk,ki->", x, x, x), id="einsum"),
    pytest.param(lambda x: mg.linear(x, x, x[0]), id="linear"),
    pytest.param(lambda x: mg.layer_norm(x, x[0], x[1]), id="layer_norm"),
    pytest.param(lambda x: mg.attention(x, x, x), id="attention"),
    pytest.param(lambda x: x[[0, 0, 2]] * x[1], id="getitem"),
    pytest.param(lambda x: x * 2.0 + mg.mean(x, axis=0), id="mean"),
    pytest.param(lambda x: (lambda y: y.tanh() * y.exp() + y)(x * 2.0), id="diamond"),
    pytest.param(lambda x: (lambda a, b, c: a * c + b - a)(*mg.split(x, 3)), id="split"),
]


@pytest.mark.parametrize("function", REUSES)
def test_reused_tensor_gets_every_contribution(function):
    mg.gradcheck(function, [leaf(3, 3)], method="complex")


def test_difference_of_a_tensor_with_itself_is_flat():
    x = leaf(3)
    (x - x).backward(np.array([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


# --- accumulation ---------------------------------------------------------------------


def test_backward_adds_to_grad_and_zero_grad_forgets():
    x = leaf(3)
    (x * 2.0).backward(np.ones(3))
    (x * 3.0).backward(np.ones(3))
    assert x.grad.tolist() == [5.0] * 3
    x.zero_grad()
    assert x.grad is None


@pytest.mark.parametrize(
    "function",
    [
        operator.add,
        operator.sub,
        lambda a, b: mg.concatenate([a, b]),
        lambda a, b: mg.stack([a, b]),
        lambda a, b: a.reshape(2, 2) + b.reshape(2, 2),
        lambda a, b: mg.broadcast_to(a, (4,)) + b.to("numpy"),
    ],
)
def test_gradients_share_no_memory(function):
    a, b = leaf(4), leaf(4, seed=1)
    result = function(a, b)
    g = np.arange(result.size, dtype=float).reshape(result.shape) + 1.0
    kept = g.copy()
    result.backward(g)
    assert not np.shares_memory(a.grad, b.grad)
    assert not np.shares_memory(a.grad, g) and not np.shares_memory(b.grad, g)
    before = b.grad.copy()
    a.grad += 100.0
    assert np.array_equal(b.grad, before)
    assert np.array_equal(g, kept)


def test_gradient_of_the_leaf_itself_is_a_copy():
    x, g = leaf(3), np.ones(3)
    x.backward(g)
    (found,) = mg.grad(x, [x], g)
    assert not np.shares_memory(x.grad, g) and not np.shares_memory(found, g)


def test_repeated_accumulation_writes_into_no_foreign_array():
    """One interior gradient is passed on unchanged to three readers that add to it."""
    x = leaf(3)
    y = x * 1.0
    a, b, c = y + 0.0, y + 0.0, y + 0.0
    total = a + b + c + a
    g = np.array([1.0, 2.0, 3.0])
    found = mg.grad(total, [a, b, c, y, x], g)
    for gradient, times in zip(found, (2, 1, 1, 4, 4)):
        assert gradient.tolist() == (g * times).tolist()
    assert g.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("count", [1, 2, 8, 50])
def test_gradients_that_are_freed_on_the_way_leave_no_trace(count):
    """The gradients of `factors` are dropped before y's, a view, comes in."""
    x, b = leaf(4), leaf(2, 2, seed=1)
    y = x * 1.0
    other_reader = y * 5.0
    total = y.reshape(2, 2) + b
    factors = [leaf(2, 2, seed=i) for i in range(count)]
    output = sum((total * each).sum() for each in factors) + other_reader.sum()
    of_x, of_b = mg.grad(output, [x, b])
    expected = sum(each.data for each in factors)
    assert np.allclose(of_b, expected, rtol=1e-13)
    assert np.allclose(of_x, expected.reshape(4) + 5.0, rtol=1e-13)


def test_a_gradient_may_be_one_number_seen_many_times():
    x = leaf(3)
    y = x * 1.0
    other_reader = (y * 2.0).sum()
    total = record(
        "total", y.data.sum(), (y,), lambda g: array_module(g).broadcast_to(g * 1.0, (3,))
    )
    (gradient,) = mg.grad(other_reader + total, [x])
    assert gradient.tolist() == [3.0] * 3


def test_two_gradients_may_be_one_new_array():
    def halves(g):
        half = 0.5 * g
        return half, half

    a, b = leaf(3), leaf(3, seed=1)
    x, y = a * 1.0, b * 1.0
    other_reader = x * 2.0
    mean = record("mean of two", 0.5 * (x.data + y.data), (x, y), halves)
    gradients = mg.grad((other_reader + mean).sum(), [a, b])
    assert [each.tolist() for each in gradients] == [[2.5] * 3, [0.5] * 3]


def test_second_backward_raises_and_names_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    first = x * 2.0
    mg.sum(first).backward()
    with pytest.raises(RuntimeError, match=r"mul: .*freed.*retain_graph=True"):
        mg.mean(first).backward()


def test_retained_graph_accumulates_twice():
    x = leaf(3)
    y = mg.softmax(x * x)
    g = cotangent_for(y)
    y.backward(g, retain_graph=True)
    once = x.grad.copy()
    y.backward(g)
    assert np.array_equal(x.grad, once + once)
    assert np.array_equal(once, mg.grad(mg.softmax(x * x), [x], g)[0])


def test_grad_can_retain_the_graph():
    x = leaf(3)
    y = mg.softmax(x)
    rows = [mg.grad(y, [x], row, retain_graph=True)[0] for row in np.eye(3)]
    p = y.data
    assert np.allclose(np.stack(rows), np.diag(p) - np.outer(p, p), rtol=1e-14)
    assert x.grad is None


# --- grad -----------------------------------------------------------------------------


def test_grad_of_leaves_and_of_results_in_between():
    x, w = leaf(3), leaf(3, seed=1)
    y = x * w
    z = mg.exp(y)
    g = cotangent_for(z)
    found = mg.grad(z, [x, y, w, z], g)
    expected = [g * z.data * w.data, g * z.data, g * z.data * x.data, g]
    for actual, wanted in zip(found, expected):
        assert np.allclose(actual, wanted, rtol=1e-15)
    assert x.grad is None and w.grad is None and y.grad is None


def test_grad_of_one_output_of_several():
    first, second = mg.split(leaf(4) * 1.0, 2)
    z = mg.sum(first * first) + mg.sum(second)
    found = mg.grad(z, [second, first])
    assert found[0].tolist() == [1.0, 1.0]
    assert np.array_equal(found[1], 2 * first.data)


def test_grad_of_what_is_not_connected_is_zero():
    x, other = leaf(2), leaf(3, dtype=np.float32)
    found = mg.grad(mg.sum(x), [other, x])
    assert found[0].tolist() == [0.0] * 3 and found[0].dtype == np.float32
    (constant,) = mg.grad(mg.tensor(1.0), [other])
    assert constant.tolist() == [0.0] * 3


def test_grad_of_a_constant_is_an_error():
    x = leaf(2)
    with pytest.raises(ValueError, match="input 1 does not require a gradient"):
        mg.grad(mg.sum(x), [x, mg.tensor([1.0])])


def test_backward_of_a_constant_is_an_error():
    with pytest.raises(RuntimeError, match="nothing that requires a gradient"):
        mg.tensor(1.0).backward()


def test_backward_of_many_elements_needs_a_gradient():
    x = leaf(2, 3)
    with pytest.raises(ValueError, match=r"backward: .*\(2, 3\) has no single derivative"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"backward: .*\(3,\) must be \(2, 3\)"):
        (x * 2.0).backward(np.ones(3))
    (x.sum((0, 1), keepdims=True)).backward()  # one element is enough
    assert np.array_equal(x.grad, np.ones((2, 3)))


def test_grad_setter_checks():
    x = mg.tensor(np.zeros(3, np.float32), requires_grad=True)
    x.grad = [1.0, 2.0, 3.0]
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"grad: .*\(2,\) must be \(3,\)"):
        x.grad = np.zeros(2)
    x.grad = None
    assert x.grad is None
    for no_leaf in (x * 2.0, mg.tensor(1.0)):
        with pytest.raises(RuntimeError, match="only a leaf"):
            no_leaf.grad = None


def test_requires_grad_checks():
    with pytest.raises(TypeError, match="int64"):
        mg.tensor([1, 2], requires_grad=True)
    x = leaf(2)
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        (x * 2.0).requires_grad = False
    x.requires_grad = False
    assert not (x * 2.0).requires_grad


def test_detached_tensor_is_a_constant_of_the_same_memory():
    x = leaf(2)
    y = (x * 2.0).detach()
    assert not y.requires_grad
    assert np.shares_memory(x.detach().data, x.data)
    (gradient,) = mg.grad(mg.sum(x * y), [x])
    assert np.array_equal(gradient, 2 * x.data)


def test_split_with_an_unused_output():
    x = leaf(6)
    first, _, third = mg.split(x, 3)
    mg.sum(first * 2.0 - third).backward()
    assert x.grad.tolist() == [2.0, 2.0, 0.0, 0.0, -1.0, -1.0]


def test_copies_are_leaves_of_their_own():
    """Nodes are ordered by number: two leaves with one number would confuse a walk."""
    model = mg.nn.Linear(2, 2, np.random.default_rng(0))
    x = np.array([[1.0, -2.0]], np.float32)
    model(mg.tensor(x)).sum().backward()
    kept = model.weight.grad.copy()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.weight.grad is None
        assert not np.shares_memory(twin.weight.data, model.weight.data)
        assert [type(p) for p in twin.parameters()] == [mg.nn.Parameter] * 2
        total = (model(x) - twin(x) * 3.0 + model(x)).sum()
        found = mg.grad(total, [model.weight, twin.weight])
        assert np.allclose(found[0], 2 * kept) and np.allclose(found[1], -3 * kept)
    result = copy.deepcopy(model(x))
    assert not result.requires_grad
    assert np.array_equal(result.data, model(x).data)


@pytest.mark.parametrize("extreme", [mg.max, mg.min])
def test_the_extremes_of_nothing_are_nothing(extreme):
    """NumPy's own refuse an axis without elements, even if there are no results."""
    x = leaf(0, 0)
    y = extreme(x, axis=1)
    assert y.shape == (0,)
    assert mg.grad(mg.sum(y), [x])[0].shape == (0, 0)


def test_a_repeated_gradient_is_not_added_to_in_place():
    """A vjp may return one number, seen many times. No walk may write into it."""

    def spread(x):
        def vjp(g):
            return np.lib.stride_tricks.as_strided(np.full(1, g.sum()), (3,), (0,))

        return record("spread", x.data * 1.0, (x,), vjp)

    x = mg.tensor(np.ones(3), requires_grad=True)
    (x * np.array([1.0, 2.0, 3.0]) + spread(x)).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [4.0, 5.0, 6.0])
