"""What each operation says if its input does not fit: name, shapes, expectations."""

import operator
import re

import numpy as np
import pytest
from op_table import TABLE

import minigrad as mg

pytestmark = pytest.mark.gradient

A = np.zeros((2, 3), np.float32)
B = np.zeros((2, 4, 6), np.float32)
NO_ROWS = A[:0]
IMAGES = np.zeros((1, 2, 4, 6), np.float32)
FILTERS = np.zeros((5, 2, 3, 3), np.float32)
ERRORS = [
    (lambda: mg.add(A, A.T), ValueError, "add: shapes (2, 3) and (3, 2) do not broadcast"),
    (lambda: mg.sub(A, A.T), ValueError, "sub: shapes (2, 3) and (3, 2)"),
    (lambda: mg.mul(A, A.T), ValueError, "mul: shapes (2, 3) and (3, 2)"),
    (lambda: mg.div(A, A.T), ValueError, "div: shapes (2, 3) and (3, 2)"),
    (lambda: mg.power(A, A.T), ValueError, "power: shapes (2, 3) and (3, 2)"),
    (lambda: mg.maximum(A, A.T), ValueError, "maximum: shapes (2, 3) and (3, 2)"),
    (lambda: mg.minimum(A, A.T), ValueError, "minimum: shapes (2, 3) and (3, 2)"),
    (lambda: mg.where(A[0] > 0, A.T, A), ValueError, "where: shapes (3,), (3, 2) and (2, 3)"),
    (lambda: mg.clip(A, 2.0, 1.0), ValueError, "clip: low 2.0 is above high 1.0"),
    (lambda: mg.sum(A, 2), ValueError, "sum: axis 2 is out of range for 2 dimensions"),
    (lambda: mg.mean(A, -3), ValueError, "mean: axis -3 is out of range"),
    (lambda: mg.mean(NO_ROWS, 0), ValueError, "mean: no elements along axis (0,) of shape (0, 3)"),
    (lambda: mg.var(A, (0, -2)), ValueError, "var: axis (0, -2) names one axis twice"),
    (lambda: mg.max(NO_ROWS), ValueError, "max: no elements along axis (0, 1) of shape (0, 3)"),
    (lambda: mg.min(NO_ROWS, 0), ValueError, "min: no elements along axis (0,)"),
    (lambda: mg.logsumexp(NO_ROWS), ValueError, "logsumexp: no elements"),
    (
        lambda: mg.reshape(A, 4, 2),
        ValueError,
        "reshape: shape (2, 3) (6 elements) does not fit (4, 2)",
    ),
    (
        lambda: mg.transpose(A, (0,)),
        ValueError,
        "transpose: axes (0,) must name all 2 axes of (2, 3)",
    ),
    (lambda: mg.transpose(A, (0, 0)), ValueError, "transpose: axis (0, 0) names one axis twice"),
    (lambda: mg.swapaxes(A, 0, 5), ValueError, "swapaxes: axis 5 is out of range"),
    (
        lambda: mg.broadcast_to(A, (3, 3)),
        ValueError,
        "broadcast_to: shape (2, 3) cannot become (3, 3)",
    ),
    (
        lambda: mg.concatenate([A, A.T]),
        ValueError,
        "concatenate: shapes [(2, 3), (3, 2)] must agree on every axis but 0",
    ),
    (lambda: mg.concatenate([]), ValueError, "concatenate: needs at least one tensor"),
    (lambda: mg.stack([A, A.T]), ValueError, "stack: shapes [(2, 3), (3, 2)] must be equal"),
    (lambda: mg.stack([]), ValueError, "stack: needs at least one tensor"),
    (lambda: mg.split(A, 2, 1), ValueError, "split: 3 rows do not cut into 2 equal parts"),
    (lambda: mg.split(A, [2, 1], 1), ValueError, "split: the indices [2, 1] must not decrease"),
    (lambda: mg.pad(A, -1), ValueError, "pad: widths must be integers and not negative, got -1"),
    (
        lambda: mg.pad(A, (1, 2, 3)),
        ValueError,
        "pad: widths (1, 2, 3) must be one pair (before, after), or one for each axis of (2, 3)",
    ),
    (lambda: mg.getitem(A, 2), IndexError, "getitem: index 2 does not fit shape (2, 3)"),
    (
        lambda: mg.matmul(A, A),
        ValueError,
        "matmul: shapes (2, 3) and (2, 3) do not fit: the last axis of the first "
        "(3) must equal the second-last of the second (2)",
    ),
    (lambda: mg.matmul(A, 2.0), ValueError, "matmul: shapes (2, 3) and (): both need an axis"),
    (
        lambda: mg.matmul(np.zeros((2, 1, 3), np.float32), np.zeros((3, 3, 1), np.float32)),
        ValueError,
        "matmul: leading axes of (2, 1, 3) and (3, 3, 1) do not broadcast",
    ),
    (lambda: mg.linear(A, A.T), ValueError, "linear: x (2, 3) and weight (3, 2) do not fit"),
    (lambda: mg.linear(A, A, A[0]), ValueError, "linear: bias (3,) must have shape (2,)"),
    (lambda: mg.einsum("ij,jk", A), ValueError, "einsum: 'ij,jk' names 2 operands, got 1"),
    (
        lambda: mg.einsum("ij,jk", A, A),
        ValueError,
        "einsum: 'ij,jk' does not fit shapes [(2, 3), (2, 3)]",
    ),
    (
        lambda: mg.einsum("ijk", A),
        ValueError,
        "einsum: 'ijk' does not fit an operand of shape (2, 3)",
    ),
    (lambda: mg.take(A, [0, 3], 1), IndexError, "take: index 3 is out of range; expected 0 to 2"),
    (lambda: mg.take(A, [-1]), IndexError, "take: index -1 is out of range; expected 0 to 1"),
    (lambda: mg.take(A, [0.5]), TypeError, "take: indices must be integers, got dtype float32"),
    (
        lambda: mg.embedding(A, [[0, 2]]),
        IndexError,
        "embedding: index 2 is out of range; expected 0 to 1",
    ),
    (lambda: mg.embedding(A, [-1, 0]), IndexError, "embedding: index -1 is out of range"),
    (lambda: mg.embedding(A, [True]), TypeError, "embedding: indices must be integers"),
    (
        lambda: mg.embedding(A[0], [0]),
        ValueError,
        "embedding: weight must be (V, D), got shape (3,)",
    ),
    (lambda: mg.softmax(A, 2), ValueError, "softmax: axis 2 is out of range"),
    (lambda: mg.softmax(1.0, 1), ValueError, "softmax: axis 1 is out of range for 0 dim"),
    (lambda: mg.log_softmax(1.0, 1), ValueError, "log_softmax: axis 1 is out of range for 0 dim"),
    (lambda: mg.sum(1.0, -2), ValueError, "sum: axis -2 is out of range for 0 dimensions"),
    (lambda: mg.cumsum(A, 2), ValueError, "cumsum: axis 2 is out of range for 2 dimensions"),
    (lambda: mg.std(NO_ROWS, 0), ValueError, "std: no elements along axis (0,) of shape (0, 3)"),
    (lambda: mg.squeeze(A, 0), ValueError, "squeeze: axis 0 of shape (2, 3) must have size 1"),
    (lambda: mg.flatten(B, 2, 1), ValueError, "flatten: axis 2 comes after axis 1 in shape (2, 4"),
    (lambda: mg.expand_dims(A, 3), ValueError, "expand_dims: axis 3 is out of range for 3 dim"),
    (lambda: mg.flip(A, (0, 0)), ValueError, "flip: axis (0, 0) names one axis twice"),
    (lambda: mg.tril(A[0]), ValueError, "tril: needs matrices (..., N, M), got shape (3,)"),
    (lambda: mg.floor_divide(A, A.T), ValueError, "floor_divide: shapes (2, 3) and (3, 2)"),
    (lambda: mg.remainder(A, A.T), ValueError, "remainder: shapes (2, 3) and (3, 2)"),
    (lambda: mg.normalize(A, p=0.5), ValueError, "normalize: p must be at least 1, got 0.5"),
    (
        lambda: mg.power([1, 2], -1),
        ValueError,
        "power: integers int64 to a negative power are no integers; convert the base with",
    ),
    (lambda: mg.power([1, 2], [1, -1]), ValueError, "power: integers int64 to a negative power"),
    (lambda: mg.einsum(A, "ij"), ValueError, "einsum: expected a string of subscripts, or a list"),
    (lambda: mg.einsum(A, [0, 52]), ValueError, "einsum: expected a string of subscripts, or a"),
    (lambda: mg.normalize(A, 2), ValueError, "normalize: axis 2 is out of range"),
    (
        lambda: mg.cross_entropy(A, [0]),
        ValueError,
        "cross_entropy: logits (2, 3) need labels of shape (2,), got (1,)",
    ),
    (
        lambda: mg.cross_entropy(A, [0, 3]),
        IndexError,
        "cross_entropy: index 3 is out of range; expected 0 to 2",
    ),
    (lambda: mg.cross_entropy(A, [0, -1]), IndexError, "cross_entropy: index -1"),
    (lambda: mg.cross_entropy(A, [0.0, 1.0]), TypeError, "cross_entropy: indices must be int"),
    (
        lambda: mg.cross_entropy(A, [0, 1], "avg"),
        ValueError,
        'cross_entropy: reduction must be "mean", "sum" or "none": \'avg\'',
    ),
    (
        lambda: mg.cross_entropy(NO_ROWS, np.zeros(0, int)),
        ValueError,
        "cross_entropy: no samples to average",
    ),
    (
        lambda: mg.cross_entropy(A, [0, 1], weight=[1.0, 2.0]),
        ValueError,
        "cross_entropy: weight (2,) must have shape (3,)",
    ),
    (
        lambda: mg.cross_entropy(A, [0, 1], label_smoothing=1.0),
        ValueError,
        "cross_entropy: label_smoothing must lie in [0, 1), got 1.0",
    ),
    (
        lambda: mg.cross_entropy(A, [2, 2], ignore_index=2),
        ValueError,
        "cross_entropy: no samples to average in logits (2, 3)",
    ),
    (
        lambda: mg.cross_entropy(NO_ROWS, NO_ROWS),
        ValueError,
        "cross_entropy: no samples to average",
    ),
    (lambda: mg.cross_entropy(A, A, ignore_index=2), ValueError, "cross_entropy: ignore_index ne"),
    (lambda: mg.cross_entropy(A, [0, 3], ignore_index=2), IndexError, "cross_entropy: index 3"),
    (
        lambda: mg.layer_norm(A, A[0], A[:, 0]),
        ValueError,
        "layer_norm: weight (3,) and bias (2,) must both have the shape of the "
        "last axis of x (2, 3)",
    ),
    (lambda: mg.dropout(A, 1.0, None), ValueError, "dropout: p must lie in [0, 1), got 1.0"),
    (lambda: mg.dropout(A, 0.5, None), ValueError, "dropout: p > 0 needs a random generator"),
    (
        lambda: mg.gelu(A, "erf"),
        ValueError,
        'gelu: approximate must be "none" or "tanh", not \'erf\'',
    ),
    (
        lambda: mg.attention(A, A, A.T),
        ValueError,
        "attention: q (2, 3), k (2, 3), v (3, 2): expected (B, H, T, D)",
    ),
    (
        lambda: mg.attention(A, A[0], A[0]),
        ValueError,
        "attention: q (2, 3), k (3,), v (3,): expected (B, H, T, D)",
    ),
    (
        lambda: mg.attention(
            B[:, :, :3], np.zeros((3, 2, 3), np.float32), np.zeros((3, 2, 3), np.float32)
        ),
        ValueError,
        "attention: q (2, 4, 3), k (3, 2, 3)",
    ),
    (
        lambda: mg.attention(A, A, A, "future"),
        ValueError,
        "attention: mask must be None, \"causal\" or an array, not 'future'",
    ),
    (
        lambda: mg.attention(A[:1], A, A, "causal"),
        ValueError,
        "attention: a causal mask needs as many queries (1) as keys",
    ),
    (
        lambda: mg.attention(A, A, A, np.ones((3, 2), bool)),
        ValueError,
        "attention: mask (3, 2) does not broadcast to scores (2, 2)",
    ),
    (
        lambda: mg.attention(A, A, A, np.ones((1, 2, 2), bool)),
        ValueError,
        "attention: mask (1, 2, 2)",
    ),
    (
        lambda: mg.attention(A, A, A, np.ones((2, 2), int)),
        TypeError,
        "attention: a mask of dtype int64 could mean two things",
    ),
    (
        lambda: mg.attention(A, A, A, dropout=0.5),
        ValueError,
        "attention: dropout > 0 needs a random generator",
    ),
    (
        lambda: mg.attention(A, A, A, dropout=1.0),
        ValueError,
        "attention: dropout must lie in [0, 1), got 1.0",
    ),
    (
        lambda: mg.self_attention(A[None], 2),
        ValueError,
        "self_attention: qkv (1, 2, 3) must be (B, T, 3*W), W a multiple of 2 heads",
    ),
    (
        lambda: mg.self_attention(A[None], 1, lengths=[2]),
        ValueError,
        "self_attention: qkv (1, 2, 3) must be (N, 3*W), W a multiple of 1 heads",
    ),
    (
        lambda: mg.self_attention(A, 1, np.zeros((2, 2)), lengths=[2]),
        ValueError,
        'self_attention: with `lengths`, the mask must be None or "causal", not an array',
    ),
    (
        lambda: mg.self_attention(A, 1, lengths=[1, 2]),
        ValueError,
        "self_attention: the lengths of the sequences must be whole numbers, none negative, and "
        "add up to the 2 rows that there are; got 2 lengths that add up to 3",
    ),
    (
        lambda: mg.padded(A, [3, -1]),
        ValueError,
        "padded: the lengths of the sequences must be whole numbers, none negative",
    ),
    (
        lambda: mg.padded(A[None], [1, 1]),
        ValueError,
        "padded: x must be (N, W), got shape (1, 2, 3)",
    ),
    (
        lambda: mg.erf(np.zeros(2, np.float16)),
        TypeError,
        "erf: expected float32 or float64, got float16",
    ),
    (
        lambda: mg.to(mg.tensor(A), "gpu"),
        ValueError,
        'backend must be "numpy", "cupy" or "cupy:1", not \'gpu\'',
    ),
    (
        lambda: mg.conv2d(IMAGES, np.zeros((5, 3, 3, 3), np.float32)),
        ValueError,
        "conv2d: x (1, 2, 4, 6) and weight (5, 3, 3, 3) do not fit: expected (N, C, H, W) and "
        "(O, C, K, K)",
    ),
    (lambda: mg.conv2d(A, FILTERS), ValueError, "conv2d: x (2, 3) and weight (5, 2, 3, 3) do not"),
    (
        lambda: mg.conv2d(IMAGES, FILTERS, A[0]),
        ValueError,
        "conv2d: bias (3,) must have shape (5,)",
    ),
    (
        lambda: mg.conv2d(IMAGES, FILTERS, stride=0),
        ValueError,
        "conv2d: `stride` must be an integer of at least 1, got 0",
    ),
    (
        lambda: mg.conv2d(IMAGES, FILTERS, stride=(2, 2)),
        ValueError,
        "conv2d: `stride` must be an integer of at least 1, got (2, 2)",
    ),
    (
        lambda: mg.conv2d(IMAGES, FILTERS, padding=-1),
        ValueError,
        "conv2d: `padding` must be an integer of at least 0, got -1",
    ),
    (
        lambda: mg.conv2d(IMAGES[:, :, :2], FILTERS),
        ValueError,
        "conv2d: a window of 3 x 3 does not fit into images of 2 x 6 with padding 0; pass larger",
    ),
    (
        lambda: mg.conv2d(IMAGES, FILTERS[:, :, :0]),
        ValueError,
        "conv2d: the height of the window must be an integer of at least 1, got 0",
    ),
    (
        lambda: mg.avg_pool2d(A, 2),
        ValueError,
        "avg_pool2d: x (2, 3) must be images (N, C, H, W), with four axes",
    ),
    (
        lambda: mg.avg_pool2d(IMAGES, 5),
        ValueError,
        "avg_pool2d: a window of 5 x 5 does not fit into images of 4 x 6",
    ),
    (
        lambda: mg.max_pool2d(IMAGES, 2, padding=2),
        ValueError,
        "max_pool2d: `padding` 2 is more than half of the window of 2: ",
    ),
    (lambda: mg.max_pool2d(IMAGES, 2.0), ValueError, "max_pool2d: the height of the window must"),
    (
        lambda: mg.batch_norm(A, A[0], A[0], mg.tensor(A[0]), mg.tensor(A[:, 0]), True),
        ValueError,
        "batch_norm: x (2, 3) must be (N, C, ...), and weight, bias, running_mean and running_var "
        "[(3,), (3,), (3,), (2,)] must all have the shape (C,)",
    ),
    (
        lambda: mg.batch_norm(A, A[0], A[0], A[0], A[0], True),
        TypeError,
        "batch_norm: `running_mean` and `running_var` must be tensors, because they are updated "
        "in place; pass mg.tensor(array)",
    ),
    (
        lambda: mg.batch_norm(A[:1], A[0], A[0], mg.tensor(A[0]), mg.tensor(A[0]), True),
        ValueError,
        "batch_norm: x (1, 3) has one number for each channel, which has no variance; "
        "pass more samples, or use training=False",
    ),
    (
        lambda: mg.nn.BatchNorm2d(3)(A),
        ValueError,
        "BatchNorm2d: x (2, 3) must be images (N, C, H, W)",
    ),
    (lambda: mg.tensor("word"), TypeError, "tensor: cannot compute with dtype <U4; pass numbers"),
    (lambda: mg.tensor([None]), TypeError, "tensor: cannot compute with dtype object"),
]


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [pytest.param(*each, id=f"{each[2].partition(':')[0]}-{i}") for i, each in enumerate(ERRORS)],
)
def test_error_names_the_operation_and_what_was_wrong(call, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        call()


TWO_INPUTS = [row for row in TABLE if len(row.samples[0].inputs) > 1]


@pytest.mark.parametrize("row", TWO_INPUTS, ids=operator.attrgetter("name"))
def test_two_float_types_are_an_error_that_names_them(row):
    sample = row.samples[0]
    dtypes = [np.float64, np.float32, np.float32]
    inputs = [mg.tensor(a.astype(dtype)) for a, dtype in zip(sample.inputs, dtypes)]
    with pytest.raises(TypeError, match=rf"^{row.name}: inputs have dtypes float64, float32"):
        row.function(*inputs, **sample.options)
    with pytest.raises(TypeError, match=r"convert one with \.astype\(dtype\)"):
        row.function(*inputs, **sample.options)


def test_float_array_of_another_type_is_an_error():
    with pytest.raises(TypeError, match="mul: inputs have dtypes float32, float64"):
        mg.tensor([0.5, 0.5, 0.5]) * np.ones(3)
    with pytest.raises(TypeError, match="matmul: inputs have dtypes float64, float32"):
        np.ones((3, 3)) @ mg.tensor([0.5, 0.5, 0.5])
    assert (mg.tensor([0.5, 0.5, 0.5]) * np.ones(3).astype(np.float32)).dtype == np.float32
