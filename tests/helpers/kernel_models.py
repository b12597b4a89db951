"""What each kernel computes: a function of NumPy with the same parameters.

The stand-in for CuPy runs these in place of kernels, and the kernels' own text, run on
the CPU, is held against them. They compute in float64, whatever the arrays hold, and
write into the output arrays as a kernel does. `blocks` is the number of blocks of the
launch; it matters where blocks leave sums of their own.
"""

import math

import numpy as np
import update_models

from minigrad.kernels import softmax_rows
from minigrad.ops.error_function import slow_erf
from minigrad.plain import CUBIC, SIGMOID_FACTOR


def layer_norm_forward(x, weight, bias, y, h, inverse_std, rows, width, eps, *, blocks):
    x = x.reshape(rows, width).astype(float)
    centred = x - x.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=1, keepdims=True)
    size = np.maximum(abs(centred).max(axis=1, keepdims=True), 1.0)  # squares stay finite
    variance = ((centred / size) ** 2).mean(axis=1, keepdims=True) + eps / size**2
    inverse = 1.0 / np.sqrt(variance) / size
    h.reshape(rows, width)[...] = centred * inverse
    y.reshape(rows, width)[...] = centred * inverse * weight + bias
    inverse_std[...] = inverse[:, 0]


def layer_norm_backward(g, h, inverse_std, weight, to_x, sums, rows, width, *, blocks):
    g, h = g.reshape(rows, width).astype(float), h.reshape(rows, width).astype(float)
    gw = g * weight
    removed = gw.mean(axis=1, keepdims=True) + h * (gw * h).mean(axis=1, keepdims=True)
    to_x.reshape(rows, width)[...] = (gw - removed) * inverse_std.reshape(rows, 1)
    gh = g * h
    for block in range(blocks):
        sums[block, 0] = gh[block::blocks].sum(axis=0)
        sums[block, 1] = g[block::blocks].sum(axis=0)


def softmax_forward(p, mask, rows, width, scale, mask_kind, queries, mask_rows, sharing, *, blocks):
    scores = p.reshape(rows, width).astype(float) * scale
    row, query = np.arange(rows), np.arange(rows) % queries
    if mask_kind == softmax_rows.ARRAY:
        matrix = row // queries // sharing
        scores += mask.reshape(-1, width)[matrix * mask_rows + query % mask_rows]
    if mask_kind == softmax_rows.CAUSAL:
        scores += np.where(np.arange(width) > query[:, None], -np.inf, 0.0)
    exponentials, sums, _ = _exponentials(scores)
    exponentials /= sums
    p.reshape(rows, width)[...] = exponentials


def _exponentials(scores):
    """exp(s - m) over the scores, its row sums, 1 for rows of -inf alone, and m."""
    largest = scores.max(axis=1, keepdims=True)
    largest[~np.isfinite(largest)] = 0.0
    scores -= largest
    exponentials = np.exp(scores, out=scores)
    sums = exponentials.sum(axis=1, keepdims=True)
    sums[sums == 0.0] = 1.0
    return exponentials, sums, largest


def softmax_backward(p, d, rows, width, scale, *, blocks):
    p, d = p.reshape(rows, width), d.reshape(rows, width)
    d[...] = scale * p * (d - (p.astype(float) * d).sum(axis=1, keepdims=True))


def cross_entropy_forward(x, labels, losses, p, rows, width, *, blocks):
    x = x.reshape(rows, width).astype(float)
    at_label = x[np.arange(rows), labels]
    exponentials, sums, largest = _exponentials(x)
    losses[...] = np.log(sums[:, 0]) - (at_label - largest[:, 0])
    exponentials /= sums
    p.reshape(rows, width)[...] = exponentials


def cross_entropy_backward(p, labels, g, to_x, rows, width, g_step, scale, *, blocks):
    one_hot = labels.reshape(rows, 1) == np.arange(width)
    g = (g if g_step else np.full(rows, g.item())).reshape(rows, 1).astype(float)
    to_x.reshape(rows, width)[...] = (p.reshape(rows, width) - one_hot) * g * scale


# --- GELU: Phi and its slope by name --------------------------------------------------


def _by_erf(v):
    return 0.5 + 0.5 * slow_erf(v * math.sqrt(0.5)), np.exp(-v * v / 2) / math.sqrt(2 * math.pi)


def _by_tanh(v):
    v = np.clip(v, -10.0, 10.0)
    phi = 0.5 + 0.5 * np.tanh(math.sqrt(2 / math.pi) * (v + CUBIC * v**3))
    return phi, 2 * phi * (1 - phi) * math.sqrt(2 / math.pi) * (1 + 3 * CUBIC * v**2)


def _by_sigmoid(v):
    phi = 0.5 + 0.5 * np.tanh(SIGMOID_FACTOR * v / 2)
    return phi, SIGMOID_FACTOR * phi * (1 - phi)


def _gelu(name, phi_and_slope):
    """The models of the two kernels of a version of GELU."""

    def forward(x, y, count, *, blocks):
        phi, _ = phi_and_slope(x.astype(float))
        y[...] = x * phi

    def backward(x, g, to_x, count, *, blocks):
        phi, slope = phi_and_slope(x.astype(float).reshape(g.shape))
        to_x[...] = g * (phi + x.reshape(g.shape) * slope)

    return {f"{name}_forward": forward, f"{name}_backward": backward}


ROWS = (
    *(layer_norm_forward, layer_norm_backward, softmax_forward, softmax_backward),
    *(cross_entropy_forward, cross_entropy_backward),
)
MODELS = {
    **{model.__name__: model for model in (*ROWS, *update_models.MODELS)},
    **_gelu("gelu", _by_erf),
    **_gelu("tanh_gelu", _by_tanh),
    **_gelu("quick_gelu", _by_sigmoid),
}
