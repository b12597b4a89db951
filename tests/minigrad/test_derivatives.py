"""grad, value_and_grad, backward from many threads, and operations of one's own."""

import threading

import numpy as np
import pytest

import minigrad as mg

pytestmark = pytest.mark.gradient


def leaf(*values):
    return mg.tensor(np.array(values), requires_grad=True)


# --- functions that hand gradients over ---


def test_grad_of_one_tensor_asked_for_twice_gives_two_arrays():
    x, unused = leaf(1.0, 3.0), leaf(5.0)
    y = x * x
    results = mg.grad(y.sum(), (x, y, x, unused, unused, y))
    assert [result.tolist() for result in results[:3]] == [[2.0, 6.0], [1.0, 1.0], [2.0, 6.0]]
    for position, result in enumerate(results):
        for other in results[position + 1 :]:
            assert not np.shares_memory(result, other)


def test_value_and_grad():
    def fn(x, w):
        return (x * w).sum()

    x, w = np.array([1.0, 3.0], np.float32), mg.tensor([2.0, 4.0], requires_grad=True)
    value, (to_x, to_w) = mg.value_and_grad(fn, [x, w])
    assert value.item() == 14.0 and to_x.tolist() == [2.0, 4.0] and to_w.tolist() == [1.0, 3.0]
    assert to_x.dtype == np.float32 and w.grad is None
    with mg.no_grad():
        value, (gradient,) = mg.value_and_grad(lambda x: (x * x).sum(), x)
    assert value.item() == 10.0 and gradient.tolist() == [2.0, 6.0]
    with pytest.raises(TypeError, match="value_and_grad: input 1 is no array of floats"):
        mg.value_and_grad(fn, [x, [1, 2]])


# --- threads ---


def test_backward_from_many_threads_to_one_leaf_loses_nothing():
    weight = mg.tensor(np.zeros(20_000), requires_grad=True)
    threads, walks = 8, 25
    barrier = threading.Barrier(threads)

    def work():
        for _ in range(walks):
            loss = (weight * 1.0).sum()
            barrier.wait()
            loss.backward()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert weight.grad.tolist() == [threads * walks] * weight.size


# --- operations of one's own ---


def cube(x):
    value = x.data

    def vjp(g):
        return g * 3.0 * value * value

    return mg.record("cube", value**3, (x,), vjp)


def test_an_operation_of_ones_own():
    assert mg.gradcheck(cube, [np.array([0.5, -1.5])]).method == "complex"
    x = leaf(2.0)
    assert mg.grad(cube(x).sum(), x)[0].tolist() == [12.0]
    assert "cube (1,)" in mg.draw(cube(x))
    with mg.no_grad():
        assert not cube(x).requires_grad


def test_a_vjp_with_too_few_gradients_is_an_error():
    def wrong_mul(x, y):
        a = y.data
        return mg.record("wrong_mul", x.data * a, (x, y), lambda g: g * a)

    with pytest.raises(ValueError, match="wrong_mul: the vjp returned 1 gradients for 2 inputs"):
        wrong_mul(leaf(2.0), leaf(3.0)).backward()


# --- checkpointed functions ---


@pytest.mark.parametrize(
    ("later", "shapes"),
    [
        (lambda x: (x, x), r"\[\(2,\)\], and of shapes \[\(2,\), \(2,\)\]"),
        (lambda x: x.sum(), r"\[\(2,\)\], and of shapes \[\(\)\]"),
        (lambda x: (), r"\[\(2,\)\], and of shapes \[\]"),
    ],
)
def test_a_checkpointed_function_with_other_results_the_second_time(later, shapes):
    x = leaf(1.0, 2.0)
    functions = iter([lambda x: x * x, later])
    y = mg.checkpoint(lambda x: next(functions)(x), x)
    with pytest.raises(RuntimeError, match=f"checkpoint: fn returned results of shapes {shapes}"):
        y.sum().backward()
    assert x.grad is None


def test_a_checkpointed_function_must_return_tensors():
    for result in ([leaf(1.0)], np.ones(1), None):
        with pytest.raises(TypeError, match="checkpoint: fn must return a tensor or a tuple"):
            mg.checkpoint(lambda x, result=result: result, leaf(1.0))
    with pytest.raises(TypeError, match="tensor: `data`"):
        mg.checkpoint(lambda x: x, [leaf(1.0), leaf(2.0)])


@pytest.mark.parametrize("depends", [True, False])
def test_value_and_grad_refuses_several_elements(depends):
    def fn(x):
        return x * 2.0 if depends else mg.tensor(np.ones(2))

    with pytest.raises(ValueError, match=r"value_and_grad: fn must return one element.*\(2,\)"):
        mg.value_and_grad(fn, [np.ones(2)])


def test_value_and_grad_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match="value_and_grad: fn must return a tensor, got float"):
        mg.value_and_grad(lambda x: 1.0, [np.ones(2)])
