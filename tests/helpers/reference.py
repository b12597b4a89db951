"""What operations compute, written down in NumPy: the values that they must give."""

import math
from typing import Any

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])


def logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    if approximate == "none":
        return x * 0.5 * (1.0 + erf(x / math.sqrt(2.0)))
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    if x.size == 0:
        return x
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def norm(x, axis=None, keepdims=False):
    return np.sqrt(np.sum(x * x, axis, keepdims=keepdims))


def logsumexp(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def cross_entropy(
    logits: np.ndarray,
    labels: Any,
    reduction: str = "mean",
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """One sample at a time."""
    labels = np.asarray(labels)
    classes = logits.shape[-1]
    weight = np.ones(classes) if weight is None else np.asarray(weight)
    losses, counted = np.zeros(labels.shape), np.zeros(labels.shape)
    for index in np.ndindex(labels.shape):
        if labels[index] == ignore_index:
            continue
        target = np.full(classes, label_smoothing / classes)
        target[labels[index]] += 1.0 - label_smoothing
        losses[index] = -(target * weight * np.log(softmax(logits[index]))).sum()
        counted[index] = weight[labels[index]]
    mean = losses.sum() / counted.sum() if reduction == "mean" else None
    return {"mean": mean, "sum": losses.sum(), "none": losses}[reduction]


def cross_entropy_of_shares(
    logits: np.ndarray,
    shares: np.ndarray,
    reduction: str = "mean",
    weight: Any = 1.0,
    label_smoothing: float = 0.0,
) -> np.ndarray:
    shares = shares * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    losses = -(shares * np.asarray(weight) * np.log(softmax(logits))).sum(axis=-1)
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    if x.size == 0:
        return x
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return weight * (x - mean) / np.sqrt(variance + eps) + bias


def normalize(x: np.ndarray, axis: int = -1, p: float = 2.0) -> np.ndarray:
    if x.size == 0 or x.ndim == 0:
        return np.sign(x)
    return x / np.linalg.norm(x, ord=p, axis=axis, keepdims=True)


def std(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return np.sqrt(np.var(x, axis=axis, keepdims=keepdims))


def cumsum(x: np.ndarray, axis: Any = None) -> np.ndarray:
    return x if x.ndim == 0 and axis is not None else np.cumsum(x, axis=axis)


def flatten(x: np.ndarray, first: int = 0, last: int = -1) -> np.ndarray:
    if x.ndim == 0:
        return x.reshape(1)
    first, last = first % x.ndim, last % x.ndim
    middle = math.prod(x.shape[first : last + 1])
    return x.reshape((*x.shape[:first], middle, *x.shape[last + 1 :]))


def attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Any = None, dropout: float = 0, seed: int = 0
) -> np.ndarray:
    """One query at a time. A query that sees no key gets zeros."""
    leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (np.broadcast_to(each, (*leading, *each.shape[-2:])) for each in (q, k, v))
    shape = (*q.shape[:-1], k.shape[-2])
    if isinstance(mask, str):
        mask = np.arange(shape[-2])[:, None] >= np.arange(shape[-1])[None, :]
    mask = np.zeros(shape) if mask is None else np.asarray(mask)
    if mask.dtype == bool:
        mask = np.where(mask, 0.0, -np.inf)
    mask = np.broadcast_to(mask, shape)
    kept = np.random.default_rng(seed).random(shape, np.float32) >= dropout
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for index in np.ndindex(q.shape[:-1]):
        seen = [j for j in range(shape[-1]) if mask[index][j] > -np.inf]
        scores = [
            q[index] @ k[index[:-1]][j] / math.sqrt(q.shape[-1] or 1) + mask[index][j] for j in seen
        ]
        for j, p in zip(seen, softmax(np.array(scores))):
            out[index] += p * kept[index][j] / (1.0 - dropout) * v[index[:-1]][j]
    return out


def self_attention(
    qkv: np.ndarray, heads: int, mask: Any = None, lengths: list[int] | None = None
) -> np.ndarray:
    if lengths is not None:
        ends = np.cumsum(lengths)
        parts = [qkv[None, end - length : end] for end, length in zip(ends, lengths)]
        return np.concatenate([self_attention(part, heads, mask)[0] for part in parts])
    width = qkv.shape[-1] // 3
    size = width // heads
    q, k, v = (
        np.stack([qkv[..., i * width + h * size :][..., :size] for h in range(heads)], axis=1)
        for i in range(3)
    )  # (B, H, T, D)
    return np.concatenate(list(attention(q, k, v, mask).swapaxes(0, 1)), axis=-1)  # (B, T, W)


def padded(x: np.ndarray, lengths: list[int]) -> np.ndarray:
    """One number at a time."""
    out = np.zeros((len(lengths), max(lengths), x.shape[1]))
    numbers = iter(x.flat)
    for sequence, length in enumerate(lengths):
        for row, column in np.ndindex(length, x.shape[1]):
            out[sequence, row, column] = next(numbers)
    return out


def dropout(x: np.ndarray, p: float, seed: int) -> np.ndarray:
    kept = np.random.default_rng(seed).random(x.shape, np.float32) >= p
    return np.where(kept, x / (1.0 - p), 0.0)


def windows_of(x: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, H', W', height, width), one window at a time."""
    rows = (x.shape[2] - height) // stride + 1
    columns = (x.shape[3] - width) // stride + 1
    seen = np.zeros((*x.shape[:2], rows, columns, height, width))
    for row, column in np.ndindex(rows, columns):
        top, left = row * stride, column * stride
        seen[:, :, row, column] = x[:, :, top : top + height, left : left + width]
    return seen


def surround(x: np.ndarray, padding: int, value: float = 0.0) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * 2], constant_values=value)


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: Any = None, stride: int = 1, padding: int = 0
) -> np.ndarray:
    seen = windows_of(surround(x, padding), weight.shape[2], weight.shape[3], stride)
    y = np.einsum("ncrsij,ocij->nors", seen, weight)
    return y if bias is None else y + bias[:, None, None]


def avg_pool2d(x: np.ndarray, kernel_size: int, stride: Any = None) -> np.ndarray:
    return windows_of(x, kernel_size, kernel_size, stride or kernel_size).mean((-1, -2))


def max_pool2d(x: np.ndarray, kernel_size: int, stride: Any = None, padding: int = 0) -> np.ndarray:
    x = surround(x, padding, -np.inf)
    return windows_of(x, kernel_size, kernel_size, stride or kernel_size).max((-1, -2))


def running_statistics(channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A running mean and a running variance, (C,) each."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(channels), rng.uniform(0.5, 2.0, channels)


def batch_norm(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    training: bool,
    seed: int = 0,
    eps: float = 1e-5,
) -> np.ndarray:
    """Channel by channel; the running statistics are drawn from the seed."""
    y = np.zeros(x.shape)
    means, variances = running_statistics(x.shape[1], seed)
    for channel in range(x.shape[1] if x.size else 0):
        values = x[:, channel]
        mean, variance = means[channel], variances[channel]
        if training:
            mean, variance = values.mean(), values.var()
        h = (values - mean) / math.sqrt(variance + eps)
        y[:, channel] = weight[channel] * h + bias[channel]
    return y
