"""Rows of reductions, of operations that move numbers, and of products."""

import drawing as d
import drawing_moves
import numpy as np
import reference
import small
from drawing import away_from_zero, distinct
from hypothesis import strategies as st

import minigrad as mg
from minigrad import plain
from op_table.rows import UNARY, Kink, Row, at, cases, interleaved, middle, reduction

REDUCTIONS = [
    reduction("sum", mg.sum, np.sum, linear="jointly", drawn=d.reductions(empty=True)),
    Row("sum", mg.sum, np.sum, cases(
        "sum", ((0, 3), {"axis": 0}), ((2, 0), {"axis": -1}), ((0, 3), {}))),
    reduction("mean", mg.mean, np.mean, linear="jointly", composed=plain.mean),
    reduction("var", mg.var, np.var, composed=plain.var),
    reduction("norm", mg.norm, reference.norm, domain=away_from_zero, composed=small.norm,
              kinks=[Kink(at([0.0, 0.0, 0.0]), middle)]),
    reduction("std", mg.std, reference.std, domain=distinct,
              composed=lambda x, axis=None, keepdims=False: mg.sqrt(mg.var(x, axis, keepdims))
              if mg.var(x, axis).data.all() else mg.var(x, axis, keepdims)),
    reduction("prod", mg.prod, np.prod, domain=away_from_zero,
              drawn=d.reductions(d.at_kinks(0.0), empty=True)),
    Row("prod", mg.prod, np.prod, [
        at([0.0, 2.0, 3.0]), at([[0.0, 2.0, 0.0], [4.0, 5.0, 6.0]], axis=1), at([[0.0]]),
        *cases("prod", ((0, 3), {"axis": 0}), ((2, 0), {"axis": -1}), ((0, 3), {})),
    ]),
    Row("cumsum", mg.cumsum, reference.cumsum, cases(
        "cumsum",
        ((), {}), ((), {"axis": 0}), ((4,), {"axis": 0}), ((3, 4), {"axis": -1}), ((3, 4), {}),
        ((2, 3, 4), {"axis": 1}), ((0, 3), {"axis": 0}), ((2, 0), {}), ((1,), {"axis": -1}),
    ), d.along_axis(), linear="jointly"),
    reduction("max", mg.max, np.max, domain=distinct, kinks=[
        Kink(at([2.0, 1.0, 2.0]), middle),
        Kink(at([2.0, 2.0, 2.0]), lambda left, right: right / 3.0),
    ]),
    reduction("min", mg.min, np.min, domain=distinct, kinks=[
        Kink(at([1.0, 2.0, 1.0]), middle),
        Kink(at([1.0, 1.0, 1.0]), lambda left, right: left / 3.0),
    ]),
    reduction("logsumexp", mg.logsumexp, reference.logsumexp, composed=plain.logsumexp),
]  # fmt: skip

SHAPES = [
    Row("reshape", lambda x, shape: mg.reshape(x, shape), np.reshape, cases(
        "reshape",
        ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": (-1,)}), ((6,), {"shape": (1, 2, 3)}),
        ((), {"shape": (1, 1)}), ((1,), {"shape": ()}), ((0, 3), {"shape": (3, 0)}),
        ((2, 3), {"shape": (2, 3)}), ((2, 0), {"shape": (-1,)}),
    ), drawing_moves.reshape_inputs(), linear="jointly"),
    Row("transpose", mg.transpose, np.transpose, cases(
        "transpose",
        ((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axes": (2, 0, 1)}), ((), {}), ((3,), {}),
        ((2, 3, 4), {"axes": (-1, 0, -2)}), ((2, 0), {}), ((1, 3), {"axes": (0, 1)}),
    ), drawing_moves.transpose_inputs(), linear="jointly"),
    Row("swapaxes", mg.swapaxes, lambda x, first, second: np.swapaxes(x, first, second), cases(
        "swapaxes",
        ((2, 3, 4), {"first": 0, "second": 2}), ((2, 3, 4), {"first": -1, "second": -2}),
        ((2, 3), {"first": 1, "second": 1}), ((0, 3), {"first": 0, "second": -1}),
        ((1,), {"first": 0, "second": 0}),
    ), drawing_moves.swapaxes_inputs(), linear="jointly"),
    Row("broadcast_to", mg.broadcast_to, np.broadcast_to, cases(
        "broadcast_to",
        ((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((3, 1), {"shape": (2, 3, 4)}),
        ((1,), {"shape": (0,)}), ((2, 3), {"shape": (2, 3)}), ((), {"shape": ()}),
        ((1, 1), {"shape": (1, 4)}), ((0, 1), {"shape": (2, 0, 3)}),
    ), drawing_moves.broadcast_to_inputs(), linear="jointly"),
    Row("ravel", mg.ravel, np.ravel, cases("ravel", *((shape, {}) for shape in UNARY)),
        d.one_input(), linear="jointly"),
    Row("flatten", mg.flatten, reference.flatten, cases(
        "flatten",
        ((), {}), ((3,), {}), ((2, 3, 4), {}), ((2, 3, 4), {"first": 1}), ((0, 3), {"first": 0}),
        ((2, 3, 4), {"first": -3, "last": -2}), ((2, 0, 3), {"first": 1}), ((1,), {"last": 0}),
    ), drawing_moves.flatten_inputs(), linear="jointly"),
    Row("squeeze", mg.squeeze, np.squeeze, cases(
        "squeeze",
        ((), {}), ((1,), {}), ((1, 3, 1), {}), ((1, 3, 1), {"axis": 0}), ((1, 0, 1), {"axis": -1}),
        ((1, 3, 1), {"axis": (0, -1)}), ((2, 3), {}), ((2, 3), {"axis": ()}), ((), {"axis": 0}),
    ), drawing_moves.squeeze_inputs(), linear="jointly"),
    Row("expand_dims", mg.expand_dims, np.expand_dims, cases(
        "expand_dims",
        ((), {"axis": 0}), ((3,), {"axis": -1}), ((2, 3), {"axis": 1}), ((0, 3), {"axis": 2}),
        ((2, 3), {"axis": (0, -1)}), ((), {"axis": (0, 1)}), ((2,), {"axis": ()}),
    ), drawing_moves.expand_dims_inputs(), linear="jointly"),
    Row("flip", mg.flip, np.flip, cases(
        "flip",
        ((), {}), ((4,), {}), ((3, 4), {}), ((3, 4), {"axis": 0}), ((3, 4), {"axis": (0, -1)}),
        ((2, 3, 4), {"axis": -2}), ((0, 3), {"axis": 0}), ((1,), {"axis": 0}), ((3,), {"axis": ()}),
    ), drawing_moves.flip_inputs(), linear="jointly"),
    Row("tril", mg.tril, lambda x, diagonal=0: np.tril(x, diagonal), cases(
        "tril",
        ((3, 3), {}), ((2, 4), {"diagonal": 1}), ((4, 2), {"diagonal": -1}), ((1, 1), {}),
        ((2, 3, 3), {}), ((0, 3), {}), ((2, 0, 3), {"diagonal": 5}),
    ), drawing_moves.tril_inputs(), linear="jointly"),
    Row("concatenate", lambda *xs, axis=0: mg.concatenate(xs, axis),
        lambda *xs, axis=0: np.concatenate(xs, axis), cases(
        "concatenate",
        ((2,), (3,), {}), ((2, 3), (2, 1), {"axis": 1}), ((2, 3), (0, 3), (1, 3), {"axis": -2}),
        ((1,), {}), ((0,), (0,), {}), ((1, 2, 2), (1, 2, 3), (1, 2, 1), {"axis": -1}),
    ), drawing_moves.concatenate_inputs(), linear="jointly"),
    Row("stack", lambda *xs, axis=0: mg.stack(xs, axis), lambda *xs, axis=0: np.stack(xs, axis),
        cases(
        "stack",
        ((), (), {}), ((2, 3), (2, 3), {}), ((2, 3), (2, 3), {"axis": 1}), ((1,), {"axis": -1}),
        ((2, 3), (2, 3), (2, 3), {"axis": -1}), ((0, 2), (0, 2), {"axis": 2}),
    ), drawing_moves.stack_inputs(), linear="jointly"),
    Row("split", mg.split, lambda x, sections, axis=0: np.split(x, sections, axis), cases(
        "split",
        ((6,), {"sections": 3}), ((5, 2), {"sections": [1, 3]}), ((4,), {"sections": 1}),
        ((2, 4), {"sections": 2, "axis": -1}), ((3,), {"sections": [0, 3]}),
        ((0, 2), {"sections": 2}), ((1,), {"sections": 1}), ((4,), {"sections": [-1]}),
        ((4,), {"sections": [2, 9]}),
    ), drawing_moves.split_inputs(), linear="jointly"),
    Row("pad", mg.pad, lambda x, widths: np.pad(x, widths), cases(
        "pad",
        ((3,), {"widths": 1}), ((2, 3), {"widths": ((0, 1), (2, 0))}), ((), {"widths": 2}),
        ((2, 3), {"widths": (1, 2)}), ((0, 2), {"widths": 1}), ((2,), {"widths": 0}),
    ), drawing_moves.pad_inputs(), linear="jointly"),
    Row("pad", mg.pad, lambda x, widths, value: np.pad(x, widths, constant_values=value), cases(
        "pad",
        ((3,), {"widths": 1, "value": 2.5}), ((2, 3), {"widths": ((0, 1), (2, 0)), "value": -1}),
        ((), {"widths": 2, "value": 3.0}), ((0, 2), {"widths": 1, "value": np.float64(0.5)}),
    )),
    Row("getitem", mg.getitem, lambda x, index: x[index], cases(
        "getitem",
        ((5,), {"index": 2}), ((5,), {"index": -1}), ((5,), {"index": np.int64(1)}),
        ((4, 3), {"index": slice(None, None, -2)}), ((4, 3), {"index": (slice(1, 3), 0)}),
        ((4, 3), {"index": (..., None, -1)}), ((), {"index": ()}), ((), {"index": None}),
        ((2, 3), {"index": True}), ((3,), {"index": slice(0, 0)}), ((0, 3), {"index": slice(9)}),
        ((4, 3), {"index": [1, 1, -1, 1]}), ((4, 3), {"index": np.array([[0, 3], [3, 3]])}),
        ((4, 3), {"index": (np.array([0, 0, 2]), np.array([1, 1, 2]))}),
        ((4, 3), {"index": (slice(None), [2, 0, 2])}), ((4,), {"index": np.zeros(0, int)}),
        ((2, 2), {"index": np.array([[True, False], [True, True]])}),
        ((3, 2), {"index": np.array([False, True, True])}),
    ), drawing_moves.getitem_inputs(), linear="jointly"),
    Row("take", mg.take, np.take, cases(
        "take",
        ((5,), {"indices": [1, 1, 1, 2], "axis": 0}), ((4, 3), {"indices": 2, "axis": -1}),
        ((2, 3, 4), {"indices": np.array([[0, 2, 2], [1, 1, 0]]), "axis": 1}),
        ((4, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((4, 3), {"indices": np.zeros((2, 0), int), "axis": 1}),
        ((0, 3), {"indices": np.zeros((0,), int), "axis": 0}),
        ((3, 0), {"indices": [0, 2, 2], "axis": 0}), ((3,), {"indices": np.uint8(1), "axis": 0}),
        ((1, 2), {"indices": [0], "axis": -2}), ((1,), {"indices": [0, 0], "axis": -1}),
    ), drawing_moves.take_inputs(), small.take, linear="jointly"),
    Row("to", mg.to, lambda x, backend: x,
        cases("to", *((shape, {"backend": "numpy"}) for shape in UNARY)),
        d.one_input(backend=st.just("numpy")), linear="jointly"),
    Row("astype", lambda x: mg.astype(x, x.dtype), lambda x: x,
        cases("astype", *((shape, {}) for shape in UNARY)), d.one_input(), linear="jointly"),
]  # fmt: skip

PRODUCTS = [
    Row("matmul", mg.matmul, np.matmul, cases(
        "matmul",
        ((2, 3), (3, 4), {}), ((3,), (3,), {}), ((3,), (3, 4), {}), ((2, 3), (3,), {}),
        ((5, 2, 3), (3, 4), {}), ((2, 3), (5, 3, 4), {}), ((5, 2, 3), (5, 3, 4), {}),
        ((5, 1, 2, 3), (6, 3, 4), {}), ((1, 2, 3), (5, 3, 4), {}), ((5, 2, 3), (1, 3, 4), {}),
        ((3,), (5, 3, 4), {}), ((5, 2, 3), (3,), {}), ((1, 1), (1, 1), {}),
        ((0, 3), (3, 4), {}), ((2, 0), (0, 4), {}), ((2, 3), (3, 0), {}), ((0,), (0,), {}),
        ((0, 2, 3), (3, 4), {}), ((0, 2, 3), (0, 3, 4), {}), ((0, 3), (3,), {}), ((2, 0), (0,), {}),
        ((0,), (0, 4), {}), ((5, 2, 0), (0, 4), {}), ((5, 0, 3), (5, 3, 4), {}),
    ), d.matmul_inputs(), small.matmul, linear="each"),
    Row("linear", mg.linear, lambda x, w, b=0.0, r=0.0: np.einsum("...i,oi->...o", x, w) + b + r,
        cases(
        "linear",
        ((2, 3), (4, 3), (4,), {}), ((3,), (4, 3), (4,), {}), ((2, 5, 3), (4, 3), (4,), {}),
        ((2, 5, 3), (1, 3), {}), ((3,), (4, 3), {}), ((0, 3), (4, 3), (4,), {}),
        ((2, 0, 3), (4, 3), {}), ((2, 0), (4, 0), (4,), {}), ((2, 3), (0, 3), (0,), {}),
        ((1, 1), (1, 1), (1,), {}), ((0,), (4, 0), (4,), {}),
        ((2, 5, 3), (4, 3), (4,), (2, 5, 4), {}), ((3,), (4, 3), (4,), (4,), {}),
        ((0, 3), (4, 3), (4,), (0, 4), {}),
    ), d.linear_inputs(), plain.linear),
    Row("einsum", lambda *xs, formula: mg.einsum(formula, *xs),
        lambda *xs, formula: np.einsum(formula, *xs), cases(
        "einsum",
        ((2, 3), (3, 4), {"formula": "ij,jk->ik"}), ((2, 3), {"formula": "ij->ji"}),
        ((2, 3), {"formula": "ij->"}), ((2, 3), {"formula": "ij->i"}), ((3, 3), {"formula": "ii"}),
        ((3, 3), {"formula": "ii->i"}), ((2, 3, 3), {"formula": "bii->b"}),
        ((2, 3), (2, 4), {"formula": "ij,ik"}), ((), (3,), {"formula": ",i->i"}),
        ((2, 3, 4, 5), (2, 3, 6, 5), {"formula": "bhqd,bhkd->bhqk"}),
        ((2, 3, 4), (4, 5), {"formula": "...i,ij->...j"}), ((4,), (2, 4), {"formula": "...,..."}),
        ((2, 3), (3, 4), (4, 2), {"formula": "ij,jk,kl->il"}), ((2, 3), {"formula": "ab -> ba"}),
        ((2, 3), (2, 3), {"formula": "ij,ij->"}), ((2, 3), (4,), {"formula": "ij,k->jk"}),
        ((2, 3), (1, 4), {"formula": "ij,jk->ik"}), ((2, 1), (3, 4), {"formula": "ij,jk->ik"}),
        ((1, 3), (2, 3), {"formula": "ij,ij->ij"}), ((3, 3), (1,), {"formula": "ii,i->i"}),
        ((0, 3), (3, 4), {"formula": "ij,jk->ik"}), ((2, 0), (0, 4), {"formula": "ij,jk->ik"}),
        ((), {"formula": "->"}), ((2, 3, 1), (1, 3), {"formula": "...i,i...->..."}),
    ), d.einsum_inputs(), linear="each"),
    Row("einsum", lambda *xs, axes, output: mg.einsum(*interleaved(xs, axes), output),
        lambda *xs, axes, output: np.einsum(*interleaved(xs, axes), output), cases(
        "einsum",
        ((2, 3), (3, 4), {"axes": [[0, 1], [1, 2]], "output": [0, 2]}),
        ((3, 3), {"axes": [[5, 5]], "output": []}),
        ((2, 3, 4), (4,), {"axes": [[..., 1], [1]], "output": [...]}),
    )),
    Row("einsum", lambda *xs, formula: mg.einsum(formula, list(xs)),
        lambda *xs, formula: np.einsum(formula, *xs),
        cases("einsum", ((2, 3), (3, 4), {"formula": "ij,jk->ik"}))),
    Row("embedding", mg.embedding, lambda w, ids: w[ids], cases(
        "embedding",
        ((5, 3), {"ids": np.array([1, 1, 1, 2])}), ((5, 3), {"ids": np.array([[0, 4], [4, 0]])}),
        ((5, 3), {"ids": np.array(3)}), ((5, 3), {"ids": np.zeros((0,), int)}),
        ((5, 3), {"ids": np.zeros((2, 0), int)}), ((0, 3), {"ids": np.zeros((0,), int)}),
        ((5, 0), {"ids": np.array([1, 2])}), ((1, 1), {"ids": np.array([0], np.uint8)}),
        ((3, 65), {"ids": np.array([1, 0, 1, 2, 2])}),  # a wide row
    ), d.embedding_inputs(), plain.embedding, linear="jointly"),
]  # fmt: skip
