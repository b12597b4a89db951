"""What fused operations compute, built from small ones (+, *, exp, sum, ...).

The tape finds the gradients of these definitions without the fused operations' own vjps, and
must find the same.
"""

import math
from typing import Any

import numpy as np

import minigrad as mg


def count_along(x: mg.Tensor, axis: Any) -> int:
    """How many elements meet in a reduction."""
    return x.size // max(np.zeros(x.shape).sum(axis=axis).size, 1)


def mean(x: mg.Tensor, axis: Any = None, keepdims: bool = False) -> mg.Tensor:
    return mg.sum(x, axis, keepdims) * (1.0 / count_along(x, axis))


def var(x: mg.Tensor, axis: Any = None, keepdims: bool = False) -> mg.Tensor:
    from_mean = x - mean(x, axis, keepdims=True)
    return mean(from_mean * from_mean, axis, keepdims)


def top(x: mg.Tensor, axis: Any) -> np.ndarray:
    """The largest elements as constants; subtracting them changes no softmax."""
    largest = x.data.max(axis=axis, keepdims=True)
    return np.where(np.isfinite(largest), largest, 0.0)


def logsumexp(x: mg.Tensor, axis: Any = None, keepdims: bool = False) -> mg.Tensor:
    shifted = mg.log(mg.sum(mg.exp(x - top(x, axis)), axis, keepdims))
    return shifted + top(x, axis).reshape(shifted.shape)


def softmax(x: mg.Tensor, axis: int = -1) -> mg.Tensor:
    e = mg.exp(x - top(x, axis))
    return e / mg.sum(e, axis, keepdims=True)


def log_softmax(x: mg.Tensor, axis: int = -1) -> mg.Tensor:
    return x - logsumexp(x, axis, keepdims=True)


def cross_entropy(logits: mg.Tensor, labels: Any, reduction: str = "mean") -> mg.Tensor:
    hot = np.eye(logits.shape[-1])[np.asarray(labels)]  # (..., C)
    losses = mg.sum(log_softmax(logits) * -hot, axis=-1)
    return {"mean": mean, "sum": mg.sum, "none": lambda each: each}[reduction](losses)


def layer_norm(x: mg.Tensor, weight: mg.Tensor, bias: mg.Tensor, eps: float = 1e-5) -> mg.Tensor:
    centred = x - mean(x, -1, keepdims=True)
    return centred / mg.sqrt(var(x, -1, keepdims=True) + eps) * weight + bias


def normalize(x: mg.Tensor, axis: int = -1) -> mg.Tensor:
    return x / mg.sqrt(mg.sum(x * x, axis, keepdims=True))


def sigmoid(x: mg.Tensor) -> mg.Tensor:
    return 1.0 / (1.0 + mg.exp(-x))


def gelu(x: mg.Tensor, approximate: str = "none") -> mg.Tensor:
    if approximate == "none":
        return x * 0.5 * (1.0 + mg.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1.0 + mg.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def matmul(a: mg.Tensor, b: mg.Tensor) -> mg.Tensor:
    left, right = "...ij" if a.ndim > 1 else "j", "...jk" if b.ndim > 1 else "j"
    output = "..." + "i" * (a.ndim > 1) + "k" * (b.ndim > 1)
    return mg.einsum(f"{left},{right}->{output}", a, b)


def linear(x: mg.Tensor, weight: mg.Tensor, bias: Any = 0.0) -> mg.Tensor:
    return mg.sum(x.reshape(*x.shape[:-1], 1, x.shape[-1]) * weight, axis=-1) + bias


def take(x: mg.Tensor, indices: Any, axis: int = 0) -> mg.Tensor:
    """Along axis, the product with a matrix of zeros and ones."""
    axis %= x.ndim
    hot = np.eye(x.shape[axis])[np.asarray(indices)]  # (*indices, n)
    moved = x.transpose([axis, *(i for i in range(x.ndim) if i != axis)])  # (n, *rest)
    rows = mg.tensor(hot) @ moved.reshape(x.shape[axis], -1)  # (*indices, rest)
    shape = (*hot.shape[:-1], *moved.shape[1:])
    order = list(range(hot.ndim - 1, len(shape)))
    order[axis:axis] = range(hot.ndim - 1)
    return rows.reshape(shape).transpose(order)


def dropout(x: mg.Tensor, p: float, seed: int) -> mg.Tensor:
    return x * ((np.random.default_rng(seed).random(x.shape, np.float32) >= p) / (1.0 - p))


def attention(
    q: mg.Tensor, k: mg.Tensor, v: mg.Tensor, mask: Any = None, dropout: float = 0, seed: int = 0
) -> mg.Tensor:
    """softmax(q k^T / sqrt(D) + mask) v, with zeros for a query that sees no key."""
    shape = (*q.shape[:-1], k.shape[-2])
    if isinstance(mask, str):
        mask = np.tri(shape[-2], dtype=bool)
    mask = np.zeros(shape) if mask is None else np.asarray(mask)
    if mask.dtype == bool:
        mask = np.where(mask, 0.0, -np.inf)
    visible = mask > -np.inf
    scores = mg.sum(
        q.reshape(*q.shape[:-1], 1, q.shape[-1]) * k.reshape(*k.shape[:-2], 1, *k.shape[-2:]), -1
    ) * (1.0 / math.sqrt(q.shape[-1]))
    scores = scores + np.where(visible, mask, 0.0)
    limit = top(mg.tensor(np.where(visible, scores.data, -np.inf)), -1)
    e = mg.exp(mg.where(visible, scores, limit) - limit) * visible.astype(float)
    total = mg.sum(e, -1, keepdims=True)
    p = e / (total + (total.data == 0).astype(float))
    kept = np.random.default_rng(seed).random(shape, np.float32) >= dropout
    return (p * (kept / (1.0 - dropout))) @ v


def self_attention(qkv: mg.Tensor, heads: int, mask: Any = None) -> mg.Tensor:
    batch, length, width = qkv.shape
    parts = qkv.reshape(batch, length, 3, heads, width // (3 * heads)).transpose((2, 0, 3, 1, 4))
    out = attention(parts[0], parts[1], parts[2], mask)  # (B, H, T, D)
    return out.swapaxes(1, 2).reshape(batch, length, width // 3)  # (B, T, W)
