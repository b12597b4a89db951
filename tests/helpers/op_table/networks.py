"""Rows of what neural networks are made of."""

import math

import drawing as d
import drawing_images
import numpy as np
import reference
from drawing import away_from_zero, distinct
from hypothesis import strategies as st

import minigrad as mg
from minigrad import plain, plain_images
from op_table.rows import (
    Kink,
    Row,
    at,
    cases,
    first_wins,
    middle,
    seeded_attention,
    seeded_batch_norm,
    seeded_dropout,
    seeded_plain_attention,
    seeded_plain_batch_norm,
    seeded_plain_dropout,
)

AXES = (((), None), ((1,), -1), ((5,), 0), ((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1))
EMPTY = (((0, 3), -1), ((0, 3), 0), ((3, 0), -1))
ALONG = [(shape, {"axis": axis}) for shape, axis in (*AXES[1:], *EMPTY)]
LARGE = [
    at([[1000.0, 0.0, 999.0], [-1000.0, -1001.0, -2000.0]], axis=-1),
    at([[-1000.0, -1001.0], [-999.0, -1000.0]], axis=-1),
]

NEURAL = [
    Row("softmax", mg.softmax, reference.softmax,
        [*cases("softmax", *ALONG, ((), {"axis": 0}), ((), {"axis": -1})), *LARGE],
        d.along_axis(), plain.softmax),
    Row("log_softmax", mg.log_softmax, lambda x, axis: np.log(reference.softmax(x, axis)),
        [*cases("log_softmax", *ALONG, ((), {"axis": -1})), at([[50.0, 0.0, 49.0]], axis=-1)],
        d.along_axis(), plain.log_softmax),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy, cases(
        "cross_entropy",
        ((4, 3), {"labels": [0, 2, 1, 2]}), ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "sum"}),
        ((4, 3), {"labels": [0, 2, 1, 2], "reduction": "none"}), ((3,), {"labels": 1}),
        ((3,), {"labels": 1, "reduction": "none"}), ((2, 2, 3), {"labels": [[0, 1], [2, 2]]}),
        ((2, 2, 3), {"labels": [[0, 1], [2, 2]], "reduction": "none"}),
        ((2, 1), {"labels": [0, 0]}), ((1, 1), {"labels": [0]}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "sum"}),
        ((0, 3), {"labels": np.zeros(0, int), "reduction": "none"}),
    ), d.cross_entropy_inputs(), plain.cross_entropy),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy, cases(
        "cross_entropy",
        *(((4, 3), {"labels": [0, 2, 1, 2], "reduction": reduction} | options)
          for reduction in ("mean", "sum", "none")
          for options in (
              {"label_smoothing": 0.1}, {"ignore_index": 2}, {"weight": [0.5, 2.0, 1.0]},
              {"label_smoothing": 0.3, "ignore_index": 0, "weight": [0.5, 0.0, 3.0]},
          )),
        ((4, 3), {"labels": [0, -100, 1, -100], "ignore_index": -100}),
        ((2, 2, 3), {"labels": [[0, 1], [2, 2]], "label_smoothing": 0.2, "reduction": "none"}),
        ((3,), {"labels": 1, "label_smoothing": 0.2, "weight": [1.0, 2.0, 3.0]}),
        ((0, 3), {"labels": np.zeros(0, int), "label_smoothing": 0.1, "reduction": "sum"}),
    ), d.cross_entropy_options()),
    Row("cross_entropy", mg.cross_entropy, reference.cross_entropy_of_shares, cases(
        "cross_entropy",
        *(((4, 3), (4, 3), {"reduction": reduction} | options)
          for reduction in ("mean", "sum", "none")
          for options in ({}, {"label_smoothing": 0.1}, {"weight": [0.5, 2.0, 1.0]})),
        ((3,), (3,), {}), ((2, 2, 3), (2, 2, 3), {"reduction": "none"}),
        ((0, 3), (0, 3), {"reduction": "sum"}),
    )),
    Row("layer_norm", mg.layer_norm, reference.layer_norm, cases(
        "layer_norm",
        ((4,), (4,), (4,), {}), ((3, 4), (4,), (4,), {}), ((2, 3, 4), (4,), (4,), {"eps": 1e-3}),
        ((0, 4), (4,), (4,), {}), ((2, 0, 4), (4,), (4,), {}), ((2, 1), (1,), (1,), {}),
        ((2, 0), (0,), (0,), {}),
    ), d.layer_norm_inputs(), plain.layer_norm),
    Row("normalize", mg.normalize, reference.normalize,
        cases("normalize", *ALONG, ((), {"axis": 0}), domain=away_from_zero),
        d.along_axis(away_from_zero), plain.normalize),
    Row("normalize", mg.normalize, reference.normalize, cases(
        "normalize",
        *((shape, {"axis": axis, "p": p}) for shape, axis in (*AXES[1:], *EMPTY)
          for p in (1, 1.5, 3.0, math.inf)), domain=away_from_zero),
        # Of two largest elements, one alone raises the norm, and none lowers it.
        kinks=[Kink(at([2.0, 1.0, 2.0], axis=-1, p=math.inf), middle)]),
    Row("dropout", seeded_dropout, reference.dropout, cases(
        "dropout",
        ((20,), {"p": 0.5, "seed": 1}), ((3, 4), {"p": 0.1, "seed": 2}),
        ((), {"p": 0.3, "seed": 3}),
        ((0, 2), {"p": 0.5, "seed": 4}), ((3,), {"p": 0.0, "seed": 5}),
    ), d.one_input(p=st.sampled_from((0.0, 0.3, 0.5)), seed=d.seeds), seeded_plain_dropout,
    linear="jointly"),
]  # fmt: skip

ROW_HIDDEN = np.array([[True, False, True], [False, False, False], [True, True, True]])
BIAS = np.array([[0.3, -1.0, 0.0], [100.0, 0.5, 99.0], [-110.0, -110.0, -110.0]])

ATTENTION = [
    Row("attention", seeded_attention, reference.attention, cases(
        "attention",
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {}),
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {"mask": "causal"}),
        ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4), {}),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), {"mask": ROW_HIDDEN}),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), {"mask": BIAS}),
        ((2, 1, 3, 4), (2, 1, 3, 4), (2, 1, 3, 4), {"mask": ROW_HIDDEN[:2, None, None, :]}),
        ((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), {"dropout": 0.4, "seed": 7}),
        ((1, 1, 3, 1), (1, 1, 3, 1), (1, 1, 3, 1), {"dropout": 0.4, "mask": "causal"}),
        ((1, 1, 0, 2), (1, 1, 0, 2), (1, 1, 0, 2), {"mask": "causal"}),
        ((1, 1, 2, 2), (1, 1, 0, 2), (1, 1, 0, 2), {}),
        ((1, 1, 0, 2), (1, 1, 3, 2), (1, 1, 3, 2), {"dropout": 0.4}),
        ((0, 1, 2, 2), (0, 1, 2, 2), (0, 1, 2, 2), {}), ((3, 4), (3, 4), (3, 4), {}),
        ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), {}), ((1, 2, 0), (1, 2, 0), (1, 2, 0), {}),
        ((2, 2, 3, 4), (2, 1, 3, 4), (3, 5), {"mask": "causal"}),  # leading axes broadcast
        ((3, 4), (2, 1, 5, 4), (1, 2, 5, 4), {"dropout": 0.4}), ((3, 4), (2, 5, 4), (2, 5, 1), {}),
        ((1, 3, 4), (0, 2, 4), (1, 2, 4), {}),
    ), d.attention_inputs(), seeded_plain_attention),
    Row("self_attention", mg.self_attention, reference.self_attention, cases(
        "self_attention",
        ((2, 3, 12), {"heads": 2}), ((2, 3, 12), {"heads": 1, "mask": "causal"}),
        ((1, 3, 6), {"heads": 2, "mask": ROW_HIDDEN}), ((1, 3, 6), {"heads": 2, "mask": BIAS}),
        ((2, 3, 6), {"heads": 2, "mask": ROW_HIDDEN[:2, None, None, :]}),  # one for each sample
        ((2, 0, 6), {"heads": 2, "mask": "causal"}), ((0, 3, 6), {"heads": 1}),
        ((1, 1, 3), {"heads": 1}),
        ((8, 12), {"heads": 2, "lengths": [2, 3, 3], "mask": "causal"}),
        ((6, 6), {"heads": 1, "lengths": [3, 1, 2]}), ((2, 3), {"heads": 1, "lengths": [0, 2, 0]}),
    ), d.self_attention_inputs(), plain.self_attention),
    Row("padded", mg.padded, reference.padded, cases(
        "padded",
        ((8, 2), {"lengths": [2, 3, 3]}), ((6, 3), {"lengths": [3, 1, 2]}),
        ((2, 3), {"lengths": [2, 0]}), ((1, 1), {"lengths": [1]}), ((3, 0), {"lengths": [1, 2]}),
        ((0, 2), {"lengths": [0, 0]}),
    ), d.padded_inputs(), plain.padded, linear="jointly"),
]  # fmt: skip

IMAGES = [
    Row("conv2d", mg.conv2d, reference.conv2d, cases(
        "conv2d",
        ((2, 3, 5, 6), (4, 3, 3, 3), {"padding": 1}), ((2, 3, 5, 6), (4, 3, 3, 3), {}),
        ((2, 3, 6, 5), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
        ((3, 2, 4, 4), (5, 2, 1, 1), {}), ((1, 2, 4, 4), (5, 2, 1, 1), {}),
        ((2, 2, 5, 5), (3, 2, 1, 1), {"stride": 2}), ((2, 2, 3, 3), (3, 2, 1, 1), {"padding": 1}),
        ((2, 2, 8, 8), (3, 2, 2, 2), {"stride": 3}), ((1, 2, 5, 4), (2, 2, 2, 3), {"padding": 1}),
        ((2, 1, 3, 3), (2, 1, 2, 2), {"padding": 2}), ((1, 2, 4, 4), (3, 2, 4, 4), {"stride": 4}),
        ((1, 1, 1, 1), (1, 1, 1, 1), {}), ((0, 2, 4, 4), (3, 2, 3, 3), {}),
        ((1, 2, 4, 4), (3, 2, 2, 2), {"stride": 2}),
        ((2, 0, 4, 4), (3, 0, 3, 3), {}), ((2, 2, 4, 4), (0, 2, 3, 3), {}),
        ((2, 2, 0, 4), (3, 2, 1, 1), {"padding": 1}), ((0, 2, 4, 4), (3, 2, 3, 3), {"stride": 2}),
    ), drawing_images.conv2d_inputs(), plain_images.conv2d, linear="each"),
    Row("conv2d", mg.conv2d, reference.conv2d, cases(
        "conv2d with bias",
        ((2, 3, 5, 6), (4, 3, 3, 3), (4,), {"stride": 2, "padding": 1}),
        ((1, 2, 3, 3), (3, 2, 1, 1), (3,), {}), ((0, 2, 3, 3), (3, 2, 1, 1), (3,), {}),
    ), None, plain_images.conv2d),
    Row("avg_pool2d", mg.avg_pool2d, reference.avg_pool2d, cases(
        "avg_pool2d",
        ((2, 3, 4, 6), {"kernel_size": 2}), ((2, 3, 5, 4), {"kernel_size": 2}),
        ((2, 3, 5, 6), {"kernel_size": 3, "stride": 2}), ((1, 1, 1, 1), {"kernel_size": 1}),
        ((2, 2, 7, 7), {"kernel_size": 2, "stride": 3}), ((0, 2, 4, 4), {"kernel_size": 2}),
        ((2, 0, 4, 4), {"kernel_size": 2}),
    ), drawing_images.pooled_inputs(padded=False), plain_images.avg_pool2d, linear="jointly"),
    Row("max_pool2d", mg.max_pool2d, reference.max_pool2d, cases(
        "max_pool2d",
        ((2, 3, 4, 6), {"kernel_size": 2}), ((2, 3, 5, 4), {"kernel_size": 2}),
        ((2, 3, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((1, 1, 1, 1), {"kernel_size": 1}), ((2, 2, 4, 4), {"kernel_size": 2, "padding": 1}),
        ((2, 2, 7, 7), {"kernel_size": 2, "stride": 3}), ((0, 2, 4, 4), {"kernel_size": 2}),
        ((2, 0, 4, 4), {"kernel_size": 2}),
        domain=distinct,
    ), drawing_images.pooled_inputs(padded=True), plain_images.max_pool2d,
        kinks=[Kink(at(np.full((1, 1, 2, 2), 0.7), kernel_size=2), first_wins)]),
    Row("batch_norm", seeded_batch_norm, reference.batch_norm, cases(
        "batch_norm",
        ((4, 3, 2, 5), (3,), (3,), {"training": True}), ((4, 3), (3,), (3,), {"training": True}),
        ((4, 3, 2, 5), (3,), (3,), {"training": False}), ((4, 3), (3,), (3,), {"training": False}),
        ((2, 3, 4), (3,), (3,), {"training": True, "eps": 1e-2}),
        ((1, 2, 3, 1), (2,), (2,), {"training": True}), ((1, 1), (1,), (1,), {"training": False}),
        ((0, 3, 2, 2), (3,), (3,), {"training": True}), ((2, 0, 2), (0,), (0,), {"training": True}),
        ((0, 3, 2, 2), (3,), (3,), {"training": False}),
        ((2, 3, 0, 2), (3,), (3,), {"training": True}),
    ), drawing_images.batch_norm_inputs(), seeded_plain_batch_norm),
]  # fmt: skip
