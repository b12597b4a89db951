"""Answer keys of the chapter on the engine; graphs.py has the one of `backward`."""

from collections.abc import Callable

import numpy as np

import minigrad as mg
from examples.exercises.comparing import Near, require, require_parts
from examples.exercises.judging import Mistake, judge
from minigrad.plain import layer_norm as plain_layer_norm

Results = dict[str, np.ndarray]


def _value_and_vjp(function: Callable, name: str, *inputs: np.ndarray) -> tuple:
    """The two things that a function in the form of an operation returns."""
    value, vjp = require_parts(
        function(*inputs), 2, f"{name} must return two things: the value, and the function vjp"
    )
    require(callable(vjp), "the second thing returned must be the function vjp: do not call it")
    return value, vjp


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -x))


def check_softplus(softplus: Callable) -> None:
    def answer(x: np.ndarray, g: np.ndarray) -> Results:
        value, vjp = _value_and_vjp(softplus, "softplus", x)
        return {"the value": value, "vjp(g)": vjp(g)}

    def right(x: np.ndarray, g: np.ndarray) -> Results:
        return {"the value": np.logaddexp(0.0, x), "vjp(g)": g * _sigmoid(x)}

    rng = np.random.default_rng(0)
    cases = {
        "x of shape (7,)": {
            "x": np.array([-1000.0, -40.0, -1.3, 0.0, 0.7, 40.0, 1000.0]),
            "g": np.array([2.0, 1.0, -2.0, 0.5, 3.0, 1.0, 0.5]),
        },
        "x of shape (2, 3)": {
            "x": rng.standard_normal((2, 3)), "g": rng.standard_normal((2, 3))
        },
    }  # fmt: skip
    mistakes = [
        Mistake(hint, run)
        for hint, run in [
            ("the derivative is right, but it is not multiplied by g",
             lambda x, g: {"vjp(g)": _sigmoid(x)}),
            ("that is the derivative at -x: look at the sign of the exponent",
             lambda x, g: {"vjp(g)": g * _sigmoid(-x)}),
            ("that is the derivative of the sigmoid, one derivative too far",
             lambda x, g: {"vjp(g)": g * _sigmoid(x) * _sigmoid(-x)}),
            ("that is the value times g: multiply by the derivative",
             lambda x, g: {"vjp(g)": g * np.logaddexp(0.0, x)}),
            ("e^1000 is infinity, and infinity / infinity is NaN: divide both sides by e^x",
             lambda x, g: {"vjp(g)": g * (np.exp(x) / (1 + np.exp(x)))}),
            ("it is 0 at -40, and right is 4.2e-18: a difference of two numbers near 1, such as "
             "1 - e^-value, has lost it",
             lambda x, g: {"vjp(g)": g * (1 - np.exp(-np.logaddexp(0.0, x)))}),
        ]
    ]  # fmt: skip
    judge(answer, right, cases, mistakes, Near(relative=1e-9, absolute=0.0))


def check_unbroadcast(unbroadcast: Callable) -> None:
    def answer(g: np.ndarray, shape: tuple[int, ...]) -> Results:
        return {"": unbroadcast(g, shape)}

    def axes(g: np.ndarray, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes in front of the shape, and those that it has with size 1."""
        front = g.ndim - len(shape)
        return (
            tuple(range(front)),
            tuple(front + axis for axis, size in enumerate(shape) if size == 1),
        )

    def gone(g: np.ndarray, shape: tuple[int, ...]) -> Results:
        front, of_one = axes(g, shape)
        return {"": g.sum(axis=front + of_one)}

    def mean(g: np.ndarray, shape: tuple[int, ...]) -> Results:
        front, of_one = axes(g, shape)
        return {"": g.mean(axis=front + of_one).reshape(shape)}

    def right(g: np.ndarray, shape: tuple[int, ...]) -> Results:
        return {"": gone(g, shape)[""].reshape(shape)}

    g = np.arange(24.0).reshape(2, 3, 4)
    cases = {
        f"g of shape (2, 3, 4) to {shape}": {"g": g, "shape": shape}
        for shape in ((2, 3, 4), (2, 1, 4), (3, 4), (3, 1), (4,), ())
    }
    mistakes = [
        Mistake("that is the mean, and every use counts fully: take the sum", mean),
        Mistake("the sums are right, but the axis of size 1 is gone: keepdims", gone),
        Mistake(
            "only the axes in front are summed; sum those on which the shape has size 1, too",
            lambda g, shape: {"": g.sum(axis=axes(g, shape)[0])},
        ),
        Mistake(
            "the axes that the shape does not have are still there: sum them away",
            lambda g, shape: {
                "": g.sum(
                    axis=tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True
                )
            },
        ),
        Mistake(
            "reshape adds up numbers that stand in different places: sum over whole axes",
            lambda g, shape: {"": g.reshape(-1, *shape).sum(axis=0)},
        ),
    ]
    judge(answer, right, cases, mistakes)


def check_matmul(matmul_vjp: Callable) -> None:
    to_a, to_b = "the gradient for a", "the gradient for b"

    def answer(a: np.ndarray, b: np.ndarray, g: np.ndarray) -> Results:
        try:
            result = matmul_vjp(a, b, g)
        except ValueError as error:
            error.add_note(
                f"Let the shapes tell: here a is {a.shape}, b is {b.shape} and g is {g.shape}. "
                "The gradient for a has a's shape, and the gradient for b has b's"
            )
            raise
        for_a, for_b = require_parts(
            result, 2, "matmul_vjp must return two arrays: the gradients for a and for b"
        )
        return {to_a: for_a, to_b: for_b}

    def right(a: np.ndarray, b: np.ndarray, g: np.ndarray) -> Results:
        return {to_a: g @ b.T, to_b: a.T @ g}

    rng = np.random.default_rng(0)
    cases = {
        f"of ({n}, {m}) times ({m}, {k})": {
            "a": rng.standard_normal((n, m)),
            "b": rng.standard_normal((m, k)),
            "g": rng.standard_normal((n, k)),
        }
        for n, m, k in ((2, 3, 4), (4, 2, 3))
    }
    mistakes = [
        Mistake(
            "it is transposed: the product must have a's shape", lambda a, b, g: {to_a: (g @ b.T).T}
        ),
        Mistake(
            "it is transposed: the product must have b's shape", lambda a, b, g: {to_b: g.T @ a}
        ),
        Mistake(
            "the two are swapped: the gradient for a comes first",
            lambda a, b, g: {to_a: a.T @ g, to_b: g @ b.T},
        ),
    ]
    judge(answer, right, cases, mistakes)


def check_logsumexp(logsumexp: Callable) -> None:
    def answer(x: np.ndarray, g: np.ndarray) -> Results:
        value, vjp = _value_and_vjp(logsumexp, "logsumexp", x)
        return {"the value": value, "vjp(g)": vjp(g)}

    def right(x: np.ndarray, g: np.ndarray) -> Results:
        p = mg.softmax(mg.tensor(x), axis=1).numpy()
        value = mg.logsumexp(mg.tensor(x), axis=1).numpy()
        return {"the value": value, "vjp(g)": g[:, None] * p}

    def value_with(m: np.ndarray, x: np.ndarray) -> Results:
        return {"the value": m + np.log(np.exp(x - m[:, None]).sum(axis=1))}

    rows = [[0.5, -1.0, 2.0], [1000.0, 1000.0, 999.0], [-1000.0, -1001.0, -1000.0],
            [1000.0, 0.0, -1000.0]]  # fmt: skip
    rng = np.random.default_rng(0)
    cases = {
        "x of shape (4, 3)": {"x": np.array(rows), "g": np.array([1.0, -2.0, 0.5, 2.0])},
        "x of shape (2, 5)": {"x": rng.standard_normal((2, 5)), "g": rng.standard_normal(2)},
    }
    mistakes = [
        Mistake(hint, run)
        for hint, run in [
            ("right for small numbers, but exp(1000) is infinity. Take the largest number of a row "
             "out of the sum first", lambda x, g: value_with(np.zeros(len(x)), x)),
            ("the mean or the smallest number is not the m that helps: x - m may still be 1000. "
             "Which number of a row is safe?", lambda x, g: value_with(x.min(axis=1), x)),
            ("one m for all rows leaves a row of -1000 with nothing: each row needs its m",
             lambda x, g: value_with(np.full(len(x), x.max()), x)),
            ("m was taken out of the sum and not added back",
             lambda x, g: {"the value": right(x, g)["the value"] - x.max(axis=1)}),
            ("the probabilities are right, but row i has to be multiplied by g[i]",
             lambda x, g: {"vjp(g)": right(x, np.ones_like(g))["vjp(g)"]}),
            ("the exponentials are not divided by their sum",
             lambda x, g: {"vjp(g)": g[:, None] * np.exp(x - x.max(axis=1, keepdims=True))}),
        ]
    ]  # fmt: skip
    judge(answer, right, cases, mistakes)


def check_layer_norm(layer_norm: Callable) -> None:
    value_name, vjp_name = "the value, which was right", "vjp(g), the gradient for x"

    def answer(
        x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, g: np.ndarray
    ) -> Results:
        value, vjp = _value_and_vjp(
            lambda *inputs: layer_norm(*inputs, eps=eps), "layer_norm", x, weight, bias
        )
        return {value_name: value, vjp_name: vjp(g)}

    def right(
        x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, g: np.ndarray
    ) -> Results:
        leaf = mg.tensor(x, requires_grad=True)
        value = plain_layer_norm(leaf, mg.tensor(weight), mg.tensor(bias), eps)
        (value * mg.tensor(g)).sum().backward()
        return {value_name: value.numpy(), vjp_name: leaf.grad}

    def terms(itself: float = 1.0, mean: float = 1.0, std: float = 1.0, power: int = 1) -> Callable:
        """The vjp with a factor for each term; power 2 leaves h undivided."""

        def run(
            x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, g: np.ndarray
        ) -> Results:
            centred = x - x.mean(axis=1, keepdims=True)
            scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
            h, gh = centred / scale, g * weight
            through_std = h * scale ** (power - 1) * (gh * h).mean(axis=1, keepdims=True)
            through_mean = gh.mean(axis=1, keepdims=True)
            return {vjp_name: (itself * gh - mean * through_mean - std * through_std) / scale}

        return run

    rng = np.random.default_rng(0)
    cases = {
        f"rows of {width}, eps {eps}": {
            "x": rng.standard_normal((3, width)),
            "weight": rng.standard_normal(width),
            "bias": rng.standard_normal(width),
            "eps": eps,
            "g": rng.standard_normal((3, width)),
        }
        for width, eps in ((4, 1e-5), (6, 0.1))
    }
    mistakes = [
        Mistake("centred is not divided by std yet, and h is", terms(power=2)),
        Mistake("the way through std has the wrong sign", terms(std=-1.0)),
        Mistake("the way through the mean has the wrong sign", terms(mean=-1.0)),
        Mistake("the ways through the mean and through std are missing", terms(mean=0.0, std=0.0)),
        Mistake("the way through std is missing", terms(std=0.0)),
        Mistake("the way through the mean is missing", terms(mean=0.0)),
        Mistake("the way of the input by itself is missing", terms(itself=0.0)),
    ]
    judge(answer, right, cases, mistakes)
