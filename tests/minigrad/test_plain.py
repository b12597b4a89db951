"""The fast operations equal their plain forms: every value and every gradient.

COMPARISONS holds, for each function of minigrad/plain.py and minigrad/plain_images.py,
the fast twin and what to call both on.
"""

import doctest
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from drawing import Sample
from gradient_checks import assert_agree, gradients_of, largest
from op_table import seeded_attention, seeded_batch_norm, seeded_dropout, seeded_plain_batch_norm

import minigrad as mg
from minigrad import optim, plain, plain_images
from minigrad.nn import Parameter
from minigrad.plain_adamw import AdamWState, adamw_update

pytestmark = [pytest.mark.gradient, pytest.mark.filterwarnings("error::RuntimeWarning")]


@dataclass(frozen=True)
class Comparison:
    """Arrays of `shapes` go through both functions, with the same options.

    `fast_options` are for the fast function alone, `plain_options` for the plain one.
    """

    fast: Callable[..., mg.Tensor]
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any] = field(default_factory=dict)
    fast_options: dict[str, Any] = field(default_factory=dict)
    plain_options: dict[str, Any] = field(default_factory=dict)


def drawn(seed: int, shape: tuple[int, ...], p: float) -> np.ndarray:
    """What dropout keeps if it draws from default_rng(seed)."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32) >= p


HIDDEN = np.array([[True, False, True], [False, False, False], [True, True, True]])
BIAS = np.array([[0.3, -1.0, 0.0], [100.0, 0.5, 99.0], [-110.0, -110.0, -110.0]])
QKV = ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4))

COMPARISONS = {
    "mean": [
        Comparison(mg.mean, ((2, 3, 4),), {"axis": axis, "keepdims": keepdims})
        for axis in (None, 1, (0, -1))
        for keepdims in (False, True)
    ],
    "var": [
        Comparison(mg.var, ((2, 3, 4),), {"axis": axis, "keepdims": keepdims})
        for axis in (None, 1, (0, -1))
        for keepdims in (False, True)
    ],
    "softplus": [Comparison(mg.softplus, ((3, 4),))],
    "softmax": [Comparison(mg.softmax, ((2, 3, 4),), {"axis": axis}) for axis in (-1, 0, 1)],
    "logsumexp": [
        Comparison(mg.logsumexp, ((2, 3, 4),), {"axis": axis, "keepdims": keepdims})
        for axis in (None, 1, (0, -1))
        for keepdims in (False, True)
    ],
    "log_softmax": [
        Comparison(mg.log_softmax, ((2, 3, 4),), {"axis": axis}) for axis in (-1, 0, 1)
    ],
    "cross_entropy": [
        Comparison(
            mg.cross_entropy,
            ((2, 3, 4),),
            {"labels": np.array([[0, 3, 1], [2, 2, 0]]), "reduction": reduction},
        )
        for reduction in ("mean", "sum", "none")
    ],
    "linear": [
        Comparison(mg.linear, ((2, 5, 3), (4, 3), (4,))),
        Comparison(mg.linear, ((2, 5, 3), (4, 3))),
        Comparison(mg.linear, ((3,), (4, 3), (4,))),
        Comparison(mg.linear, ((2, 5, 3), (4, 3), (4,), (2, 5, 4))),
    ],
    "embedding": [Comparison(mg.embedding, ((5, 3),), {"ids": np.array([[1, 1, 4], [0, 1, 0]])})],
    "layer_norm": [
        Comparison(mg.layer_norm, ((2, 3, 5), (5,), (5,))),
        Comparison(mg.layer_norm, ((5,), (5,), (5,)), {"eps": 0.1}),
    ],
    "normalize": [Comparison(mg.normalize, ((2, 3, 4),), {"axis": axis}) for axis in (-1, 0, 1)],
    "dropout": [
        Comparison(
            seeded_dropout,
            ((4, 5),),
            {"p": 0.3},
            {"seed": 1},
            {"kept": drawn(1, (4, 5), 0.3)},
        )
    ],
    "sigmoid": [Comparison(mg.sigmoid, ((2, 3, 4),))],
    "gelu": [
        Comparison(mg.gelu, ((2, 3, 4),), {"approximate": approximate})
        for approximate in ("none", "tanh")
    ],
    "quick_gelu": [Comparison(mg.quick_gelu, ((2, 3, 4),))],
    "attention": [
        Comparison(mg.attention, QKV),
        Comparison(mg.attention, QKV, {"mask": "causal"}),
        Comparison(mg.attention, QKV, {"mask": HIDDEN}),
        Comparison(mg.attention, QKV, {"mask": BIAS}),
        Comparison(mg.attention, ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4))),
        Comparison(
            seeded_attention,
            QKV,
            {"mask": "causal"},
            {"dropout": 0.3, "seed": 2},
            {"p": 0.3, "kept": drawn(2, (2, 2, 3, 3), 0.3)},
        ),
    ],
    "self_attention": [
        Comparison(mg.self_attention, ((2, 3, 12),), {"heads": 2, "mask": mask})
        for mask in (None, "causal", HIDDEN, BIAS)
    ]
    + [
        Comparison(mg.self_attention, ((8, 12),), {"heads": 2, "mask": mask, "lengths": [2, 3, 3]})
        for mask in (None, "causal")
    ],
    "padded": [Comparison(mg.padded, ((8, 4),), {"lengths": [3, 2, 3]})],
    "conv2d": [
        Comparison(mg.conv2d, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"padding": 1}),
        Comparison(mg.conv2d, ((2, 3, 5, 6), (4, 3, 2, 3)), {"stride": 2, "padding": 2}),
        Comparison(mg.conv2d, ((1, 3, 5, 6), (4, 3, 1, 1))),
    ],
    "avg_pool2d": [
        Comparison(mg.avg_pool2d, ((2, 3, 5, 6),), {"kernel_size": 2, "stride": stride})
        for stride in (None, 1, 3)
    ],
    "max_pool2d": [
        Comparison(mg.max_pool2d, ((2, 3, 5, 6),), {"kernel_size": 2, "stride": stride})
        for stride in (None, 1, 3)
    ],
    "batch_norm": [
        Comparison(seeded_batch_norm, ((4, 3, 2, 5), (3,), (3,)), {"training": training})
        for training in (True, False)
    ],
}  # fmt: skip


# Running statistics are drawn for both sides, as in the table of operations.
PLAIN_TWINS = {"batch_norm": seeded_plain_batch_norm}


def public_functions() -> dict[str, Callable]:
    """The functions that the plain files define for their readers."""
    return {
        name: value
        for module in (plain, plain_images)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    }


def twin_of(name: str) -> Callable:
    return PLAIN_TWINS.get(name, public_functions()[name])


def test_every_plain_form_is_compared_with_its_fast_twin():
    assert public_functions().keys() == COMPARISONS.keys()
    assert all(COMPARISONS.values())


@pytest.mark.parametrize(
    ("name", "comparison"),
    [
        pytest.param(name, comparison, id=f"{name}-{i}")
        for name, comparisons in COMPARISONS.items()
        for i, comparison in enumerate(comparisons)
    ],
)
def test_values_and_gradients_are_those_of_the_plain_form(name, comparison):
    rng = np.random.default_rng(len(name))
    inputs = tuple(rng.standard_normal(shape) for shape in comparison.shapes)
    fast = Sample(inputs, comparison.options | comparison.fast_options)
    slow = Sample(inputs, comparison.options | comparison.plain_options)
    gradients, (value,), cotangents = gradients_of(comparison.fast, fast)
    expected, (wanted,), _ = gradients_of(twin_of(name), slow, cotangents)
    assert np.abs(value.data).max() > 0.0
    assert_agree(value.data, wanted.data, 1e-13, largest(inputs))
    for actual, gradient in zip(gradients, expected, strict=True):
        assert_agree(actual, gradient, 1e-12, largest(cotangents))


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_fast_form_names_its_plain_twin_first(name):
    summary = getattr(mg, name).__doc__.partition("\n")[0]
    module = public_functions()[name].__module__.rpartition(".")[2]
    assert f"`{module}.{name}`" in summary


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_every_plain_form_has_a_worked_example(name):
    finder = doctest.DocTestFinder(recurse=False)
    assert any(test.examples for test in finder.find(public_functions()[name], name))


def test_a_row_of_minus_infinity_becomes_zeros():
    x = mg.tensor(np.array([[-np.inf, -np.inf], [0.0, 0.0]]), requires_grad=True)
    for softmax in (plain.softmax, mg.softmax):
        y = softmax(x)
        assert y.data.tolist() == [[0.0, 0.0], [0.5, 0.5]]
        (gradient,) = mg.grad(y, [x], np.array([[1.0, 2.0], [3.0, 4.0]]))
        assert np.allclose(gradient, [[0.0, 0.0], [-0.25, 0.25]], atol=1e-15)


def test_large_scores_do_not_overflow():
    x = mg.tensor(np.array([1000.0, 0.0, 1000.0]))
    assert plain.softmax(x).data.tolist() == [0.5, 0.0, 0.5]
    assert plain.logsumexp(x).item() == pytest.approx(1000.0 + np.log(2.0), rel=1e-15)


# --- AdamW ---

SETTINGS = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.3}


@pytest.mark.parametrize("shape", [(3, 4), (2, 1)])
def test_adamw_is_the_plain_update_over_twenty_steps(shape):
    rng = np.random.default_rng(3)
    initial = rng.standard_normal(shape)
    parameter = Parameter(initial.copy())
    optimizer = optim.AdamW([parameter], **SETTINGS)
    state = AdamWState(initial, np.zeros(shape), np.zeros(shape))
    for step in range(1, 21):
        gradient = rng.standard_normal(shape)
        parameter.grad = gradient.copy()
        optimizer.step()
        state = adamw_update(
            parameter=state.parameter,
            gradient=gradient,
            mean=state.mean,
            square=state.square,
            step=step,
            **SETTINGS,
        )
        assert np.allclose(parameter.data, state.parameter, rtol=1e-13, atol=1e-15)
    saved = optimizer.state_dict()
    assert np.allclose(saved["group0.moment0"], state.mean.reshape(-1), rtol=1e-13, atol=1e-16)
    assert np.allclose(saved["group0.moment1"], state.square.reshape(-1), rtol=1e-13, atol=1e-16)


def test_adamw_update_changes_nothing_in_place():
    arrays = [np.full(3, value) for value in (1.0, 0.5, 0.25, 0.125)]
    before = [array.copy() for array in arrays]
    parameter, gradient, mean, square = arrays
    state = adamw_update(parameter, gradient, mean, square, step=2)
    for array, was in zip(arrays, before):
        assert np.array_equal(array, was)
        assert not any(np.shares_memory(array, new) for new in state)
