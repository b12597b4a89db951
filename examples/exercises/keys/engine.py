"""Answer keys of the chapter on the engine."""

from types import ModuleType

import numpy as np

import minigrad as mg
from examples.exercises.comparing import Wrong, require, require_equal
from minigrad.plain import layer_norm as plain_layer_norm
from minigrad.tensor import Tensor, record


def check_softplus(answer: ModuleType) -> None:
    x = np.array([-40.0, -1.3, 0.0, 0.7, 40.0])
    with np.errstate(all="raise", under="ignore"):
        result = answer.softplus(x)
    require(
        isinstance(result, tuple) and len(result) == 2,
        "softplus must return two things: the value, and the function vjp",
    )
    value, vjp = result
    require_equal("the value", value, np.logaddexp(0.0, x))
    sigmoid = 1 / (1 + np.exp(-x))
    g = np.array([1.0, -2.0, 0.5, 3.0, 1.0])
    require_equal(
        "vjp(g)",
        vjp(g),
        g * sigmoid,
        {
            "the derivative is right, but it is not multiplied by g": sigmoid,
            "that is the derivative at -x: look at the sign of the exponent": g * (1 - sigmoid),
            "that is the derivative of the sigmoid, one derivative too far": g
            * sigmoid
            * (1 - sigmoid),
        },
    )


def check_unbroadcast(answer: ModuleType) -> None:
    g = np.arange(24.0).reshape(2, 3, 4)
    cases = {
        (2, 3, 4): g,
        (2, 1, 4): g.sum(axis=1, keepdims=True),
        (3, 4): g.sum(axis=0),
        (3, 1): g.sum(axis=(0, 2)).reshape(3, 1),
        (4,): g.sum(axis=(0, 1)),
        (): g.sum(),
    }
    for shape, right in cases.items():
        squeezed = right.squeeze() if 1 in shape else None
        mistakes = {"that is the mean, and every use counts fully: take the sum": right / 2}
        if squeezed is not None:
            mistakes["the sums are right, but the axis of size 1 is gone: keepdims"] = squeezed
        require_equal(
            f"g of shape (2, 3, 4), to {shape}", answer.unbroadcast(g, shape), right, mistakes
        )


def check_matmul(answer: ModuleType) -> None:
    rng = np.random.default_rng(0)
    a, b, g = (rng.standard_normal(shape) for shape in ((2, 3), (3, 4), (2, 4)))
    result = answer.matmul_vjp(a, b, g)
    require(
        isinstance(result, tuple) and len(result) == 2,
        "matmul_vjp must return two arrays: the gradients for a and for b",
    )
    require_equal(
        "the gradient for a",
        result[0],
        g @ b.T,
        {"it is transposed: the product must have a's shape": (g @ b.T).T},
    )
    require_equal(
        "the gradient for b",
        result[1],
        a.T @ g,
        {"it is transposed: the product must have b's shape": g.T @ a},
    )


def check_logsumexp(answer: ModuleType) -> None:
    x = np.array([[0.5, -1.0, 2.0], [1000.0, 1000.0, 999.0], [-1000.0, -1001.0, -1000.0]])
    with np.errstate(all="ignore"):
        result = answer.logsumexp(x)
    require(
        isinstance(result, tuple) and len(result) == 2,
        "logsumexp must return two things: the value, and the function vjp",
    )
    value, vjp = result
    right = mg.logsumexp(mg.tensor(x), axis=1).numpy()
    with np.errstate(all="ignore"):
        naive = np.log(np.exp(x).sum(axis=1))
    if value is not None and np.array_equal(np.asarray(value), naive, equal_nan=True):
        raise Wrong(
            "the value: right for small numbers, but exp(1000) is infinity. Take the largest "
            "number of a row out of the sum first"
        )
    require_equal("the value", value, right)
    p = mg.softmax(mg.tensor(x), axis=1).numpy()
    g = np.array([1.0, -2.0, 0.5])
    require_equal(
        "vjp(g)",
        vjp(g),
        g[:, None] * p,
        {"the probabilities are right, but row i has to be multiplied by g[i]": p},
    )


class Number:
    """A number of the graph in exercise `backward`: value, inputs and factors."""

    def __init__(self, value: float, inputs: tuple = (), factors: tuple = ()) -> None:
        self.value, self.inputs, self.factors = value, inputs, factors
        self.grad = 0.0


def check_backward(answer: ModuleType) -> None:
    x = Number(3.0)
    twice = Number(6.0, (x,), (2.0,))
    square = Number(9.0, (x, x), (3.0, 3.0))
    both = Number(54.0, (twice, square), (9.0, 6.0))  # 2 x^3
    again = Number(57.0, (both, x), (1.0, 1.0))  # 2 x^3 + x
    answer.backward([x, twice, square, both, again])
    require(again.grad != 0.0, "the gradient of the last number for itself is 1, and it is 0 here")
    require_equal("the gradient of a number in the middle", both.grad, 1.0)
    require_equal(
        "d(2 x^3 + x)/dx at x = 3",
        x.grad,
        55.0,
        {
            "a number that is used several times receives a gradient from each use: add them, "
            "do not overwrite": 18.0,
            "x * x uses x twice, and both uses count": 37.0,
            "the graph was walked from the wrong end": 1.0,
        },
    )


def check_layer_norm(answer: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6))
    weight, bias = rng.standard_normal((2, 6))

    def fn(t: Tensor) -> Tensor:
        value, vjp = answer.layer_norm(t.data, weight, bias)
        return record("layer_norm", value, (t,), vjp)

    right = plain_layer_norm(mg.tensor(x), mg.tensor(weight), mg.tensor(bias)).numpy()
    require_equal("the value, which was right", answer.layer_norm(x, weight, bias)[0], right)
    try:
        mg.gradcheck(fn, [x], method="central")
    except mg.GradientError as error:
        raise Wrong(
            f"{error}\nHint: an input moves its own result, the mean of its row, and the "
            "standard deviation of its row. The derivative has a term for each of the three"
        ) from None
