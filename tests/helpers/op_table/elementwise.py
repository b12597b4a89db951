"""Rows of operations that work on each number by itself."""

import math

import drawing as d
import numpy as np
import reference
from drawing import Sample, away_from_zero, between_bounds, distinct, positive
from hypothesis import strategies as st

import minigrad as mg
from minigrad import plain
from op_table.rows import (
    BINARY,
    UNARY,
    Kink,
    Row,
    at,
    binary,
    cases,
    draw,
    left_side,
    middle,
    right_side,
    steeper_side,
    unary,
)

ARITHMETIC = [
    binary("add", mg.add, np.add, linear="jointly"),
    binary("sub", mg.sub, np.subtract, linear="jointly", composed=lambda a, b: a + b * -1.0),
    binary("mul", mg.mul, np.multiply, linear="each"),
    binary("div", mg.div, np.true_divide, away_from_zero, composed=lambda a, b: a * b**-1),
    binary("power", mg.power, np.power, positive, composed=lambda a, b: mg.exp(b * mg.log(a))),
    Row(
        "power",
        mg.power,
        lambda x, b: x**b,
        [
            *(Sample(draw("p", away_from_zero, (2, 3)), {"b": b}) for b in (2, 3, -1, -2, 0, 1.0)),
            *(Sample(draw("p", positive, (2, 3)), {"b": b}) for b in (0.5, -0.5, 2.5, 1)),
            *(at([0.0, 0.0, 2.0], b=b) for b in (0, 1, 2, 3.0)),
            *(at(0.7, b=2), at(np.zeros((0, 2)), b=2), at(np.zeros((0, 2)), b=0)),
            *(at(-1.5, b=np.float64(2)), at([1.5, -2.0], b=np.int64(3)), at(2.0, b=True)),
        ],
        d.one_input(away_from_zero, b=st.sampled_from((2, 3, -1, -2, 0, 1.0))),
    ),
    binary(
        "maximum",
        mg.maximum,
        np.maximum,
        distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
        drawn_kinks=(d.equal_inputs(d.at_kinks(0.0, 1.0)), middle),
    ),
    binary(
        "minimum",
        mg.minimum,
        np.minimum,
        distinct,
        kinks=[Kink(at([1.0, 2.0], [1.0, 2.0]), middle)],
        drawn_kinks=(d.equal_inputs(d.at_kinks(0.0, 1.0)), middle),
    ),
    Row(  # broadcast shapes, and quotients away from integers
        "floor_divide",
        mg.floor_divide,
        np.floor_divide,
        [Sample(draw("//", d.between_integers, *shapes)) for shapes in BINARY],
        d.broadcast_inputs(d.between_integers),
    ),
    Row(
        "remainder",
        mg.remainder,
        np.remainder,
        [Sample(draw("%", d.between_integers, *shapes)) for shapes in BINARY],
        d.broadcast_inputs(d.between_integers),
        composed=lambda a, b: a - b * mg.floor_divide(a, b),
    ),
    unary("square", mg.square, np.square, composed=lambda x: x**2),
    unary("sin", mg.sin, np.sin),
    unary("cos", mg.cos, np.cos, composed=lambda x: mg.sin(x + math.pi / 2)),
    unary("log1p", mg.log1p, np.log1p, positive, composed=lambda x: mg.log(1.0 + x)),
    unary("neg", mg.neg, np.negative, linear="jointly"),
    unary("exp", mg.exp, np.exp),
    unary("log", mg.log, np.log, positive),
    unary("sqrt", mg.sqrt, np.sqrt, positive, composed=lambda x: x**0.5),
    unary(
        "abs",
        mg.abs,
        np.abs,
        away_from_zero,
        kinks=[Kink(at([0.0, 0.0]), middle)],
        drawn_kinks=(d.one_input(d.at_kinks(0.0)), middle),
    ),
    Row(
        "clip",
        mg.clip,
        lambda x, low, high: np.clip(x, low, high),
        [
            Sample(draw("clip", between_bounds, shape), bounds)
            for shape in ((), (1,), (3, 4), (0, 2))
            for bounds in (
                {"low": -0.5, "high": 0.8},
                {"low": -0.5, "high": None},
                {"low": None, "high": 0.8},
                {"low": None, "high": None},
            )
        ],
        d.one_input(
            between_bounds, low=st.sampled_from((-0.5, None)), high=st.sampled_from((0.8, None))
        ),
        kinks=[
            Kink(at([-0.5], low=-0.5, high=0.8), right_side),
            Kink(at([0.8], low=-0.5, high=0.8), left_side),
        ],
        drawn_kinks=(
            d.one_input(d.at_kinks(-0.5, 0.8), low=st.just(-0.5), high=st.just(0.8)),
            steeper_side,
        ),
    ),
    Row(
        "where",
        lambda a, b, condition: mg.where(condition, a, b),
        lambda a, b, condition: np.where(condition, a, b),
        cases(
            "where",
            ((3,), (3,), {"condition": np.array([True, False, True])}),
            ((), (), {"condition": True}),
            ((2, 3), (), {"condition": np.array([[True], [False]])}),
            ((3, 1), (1, 4), {"condition": np.array(False)}),
            ((1,), (3,), {"condition": np.ones((2, 3), bool)}),
            ((0,), (1,), {"condition": np.ones((2, 1), bool)}),
        ),
        d.where_inputs(),
        lambda a, b, condition: a * np.where(condition, 1.0, 0.0) + b * np.where(condition, 0.0, 1),
        linear="jointly",
    ),
]

ACTIVATIONS = [
    unary("tanh", mg.tanh, np.tanh),
    unary("sigmoid", mg.sigmoid, reference.logistic, samples=[at([-40.0, -8.0, 0.0, 8.0, 40.0])],
          composed=plain.sigmoid),
    unary("relu", mg.relu, lambda x: np.maximum(x, 0), domain=away_from_zero,
          kinks=[Kink(at([0.0, 0.0]), left_side)],
          drawn_kinks=(d.one_input(d.at_kinks(0.0)), left_side)),
    unary("silu", mg.silu, lambda x: x * reference.logistic(x),
          composed=lambda x: x * plain.sigmoid(x), samples=[at([-40.0, 0.0, 40.0])]),
    unary("softplus", mg.softplus, lambda x: np.log1p(np.exp(x)), composed=plain.softplus,
          samples=[at([-40.0, -8.0, 0.0, 8.0, 40.0])]),
    unary("quick_gelu", mg.quick_gelu, lambda x: x * reference.logistic(1.702 * x),
          composed=plain.quick_gelu),
    unary("gelu", mg.gelu, reference.gelu, composed=plain.gelu,
          samples=[at([-7.0, -1.4, 0.0, 1.4, 9.0])]),
    Row("gelu", mg.gelu, reference.gelu, cases(
        "gelu", *((shape, {"approximate": "tanh"}) for shape in UNARY)),
        d.one_input(approximate=st.just("tanh")), plain.gelu),
    unary("erf", mg.erf, reference.erf,
          samples=[at([-7.0, -6.0, -1.0, -1e-3, 0.0, 0.999, 1.0, 1.001, 5.9, 30.0])]),
]  # fmt: skip
