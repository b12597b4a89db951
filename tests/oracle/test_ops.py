"""Every operation beside PyTorch's, forward and backward.

The other gradient tests derive what they expect from the operation's own values. Here
somebody else's derivatives are the measure, on every sample of the table of operations,
once with the values that stand there and once with others, and at every kink.

    PYTHONPATH=.:tests/helpers python tests/oracle/test_ops.py

prints, for each operation, how many cases were compared and the largest difference
found, as a share of the largest element. Two conventions differ and are compared by
PyTorch's own pieces put together: a query that may see no key gets zeros here and NaN
there, and an empty tuple of axes means "none" here and "all" there.
"""

import collections
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from op_table import TABLE, Row, Sample
from reference import running_statistics

import minigrad as mg

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")
F = torch.nn.functional

CASES = 500  # at least


# --- PyTorch's side ---


def axes_of(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def reduced(function: Callable) -> Callable:
    """A reduction of PyTorch with NumPy's axis and keepdims."""

    def apply(x, axis=None, keepdims=False):
        axes = axes_of(x, axis)
        # One more axis of size 1 is always reduced: PyTorch takes () for all axes.
        axes = (axes,) if isinstance(axes, int) else axes
        axes = axes if x.ndim else ()  # a number has no axis to reduce
        axes = (*(a if a >= 0 else a - 1 for a in axes), -1)
        y = function(x[..., None], dim=axes, keepdim=True)[..., 0]  # kept
        gone = sorted(a % x.ndim if a >= 0 else (a + 1) % x.ndim for a in axes[:-1])
        return y if keepdims else y.reshape([n for i, n in enumerate(y.shape) if i not in gone])

    return apply


def getitem(x, index):
    """Indexing by position: PyTorch knows no negative steps."""
    positions = np.arange(x.numel()).reshape(x.shape)[index]
    return x.reshape(-1)[torch.as_tensor(positions.copy())]  # shape of x[index]


def pad(x, widths, value=0.0):
    pairs = np.broadcast_to(np.asarray(widths), (x.ndim, 2))[::-1].reshape(-1).tolist()
    return F.pad(x, pairs, value=float(value))


def std(x, dim, keepdim):
    """The root of the variance; 0 with a derivative of 0 where that is 0."""
    variance = torch.var(x, dim, correction=0, keepdim=keepdim)
    varies = variance > 0
    return torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


def prod(x, axis=None, keepdims=False):
    """PyTorch multiplies over one axis at a time."""
    axes = tuple(range(x.ndim)) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
    for each in sorted({a % x.ndim for a in axes} if x.ndim else (), reverse=True):
        x = torch.prod(x, each, keepdim=keepdims)
    return x * 1.0


def cumsum(x, axis=None):
    return torch.cumsum(x.reshape(-1) if axis is None else x, 0 if axis is None else axis)


def squeeze(x, axis=None):
    return torch.squeeze(x) if axis is None else torch.squeeze(x, axis)


def expand_dims(x, axis):
    axes = (axis,) if isinstance(axis, int) else axis
    for each in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = x.unsqueeze(each)
    return x * 1.0


def flip(x, axis=None):
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return torch.flip(x, tuple(axes))


def take(x, indices, axis=0):
    indices = torch.as_tensor(np.asarray(indices, np.int64))
    moved = x.movedim(axis, 0)[indices]  # (*indices, *rest)
    if not indices.ndim:
        return moved
    last = axis % x.ndim + np.arange(indices.ndim)
    return moved.movedim(tuple(range(indices.ndim)), tuple(last.tolist()))


def einsum(*operands, formula="", axes=(), output=()):
    if axes:
        pairs = [each for pair in zip(operands, axes) for each in pair]
        return torch.einsum(*pairs, list(output))
    if formula == "->":
        return operands[0] * 1.0
    return torch.einsum(formula, *operands)


def cross_entropy(logits, labels, reduction="mean", weight=None, ignore_index=-100, **options):
    options["weight"] = None if weight is None else torch.as_tensor(weight, dtype=logits.dtype)
    options["reduction"] = reduction
    flat = logits.reshape(-1, logits.shape[-1])
    if isinstance(labels, torch.Tensor):  # shares
        losses = F.cross_entropy(flat, labels.reshape(flat.shape), **options)
        return losses.reshape(labels.shape[:-1]) if reduction == "none" else losses
    labels = torch.as_tensor(np.asarray(labels, np.int64))
    losses = F.cross_entropy(flat, labels.reshape(-1), ignore_index=ignore_index, **options)
    return losses.reshape(labels.shape) if reduction == "none" else losses


def attention(q, k, v, mask=None, dropout=0.0, seed=0):
    """Attention in PyTorch's pieces, without NaN in hidden rows."""
    leading = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    shape = (*leading, q.shape[-2], k.shape[-2])
    if isinstance(mask, str):
        mask = np.tri(k.shape[-2], dtype=bool)
    mask = np.zeros(shape) if mask is None else np.asarray(mask)
    if mask.dtype == bool:
        mask = np.where(mask, 0.0, -np.inf)
    mask = torch.as_tensor(np.broadcast_to(mask, shape).copy(), dtype=q.dtype)
    blind = (mask == -math.inf).all(-1, keepdim=True)
    scores = q @ k.transpose(-1, -2) / math.sqrt(max(q.shape[-1], 1))
    p = torch.softmax(scores + torch.where(blind, 0.0, mask), dim=-1)
    p = torch.where(blind, 0.0, p)
    if dropout:
        kept = np.random.default_rng(seed).random(shape, np.float32) >= dropout
        p = p * torch.as_tensor(kept) / (1.0 - dropout)
    return p @ v


def heads_apart(x, parts, heads):
    """(B, T, parts*W) -> parts tensors (B, H, T, D)."""
    x = x.unflatten(-1, (parts, heads, x.shape[-1] // (parts * heads)))  # (B, T, parts, H, D)
    return x.permute(2, 0, 3, 1, 4).unbind(0)


def self_attention(qkv, heads, mask=None, lengths=None):
    if lengths is not None:
        parts = [self_attention(part[None], heads, mask)[0] for part in qkv.split(lengths)]
        return torch.cat(parts)
    q, k, v = heads_apart(qkv, 3, heads)
    return attention(q, k, v, mask).transpose(1, 2).flatten(2)  # (B, T, W)


def linear(x, weight, bias=None, residual=None):
    y = F.linear(x, weight, bias)
    return y if residual is None else y + residual


def layer_norm(x, weight, bias, eps=1e-5):
    if x.shape[-1] == 0:  # PyTorch refuses
        return x * weight + bias
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def dropout(x, p, seed):
    kept = np.random.default_rng(seed).random(tuple(x.shape), np.float32) >= p
    return x * torch.as_tensor(kept) / (1.0 - p)


def conv2d(x, weight, bias=None, stride=1, padding=0):
    if 0 in (*x.shape[1:], *weight.shape):  # PyTorch refuses
        places = [
            (n + 2 * padding - k) // stride + 1 for n, k in zip(x.shape[2:], weight.shape[2:])
        ]
        nothing = x.sum() + weight.sum()
        y = torch.zeros((len(x), len(weight), *places), dtype=x.dtype) + 0.0 * nothing
        return y if bias is None else y + bias[:, None, None]
    return F.conv2d(x, weight, bias, stride, padding)


def pooled(function: Callable) -> Callable:
    """PyTorch's pooling, which refuses images without channels."""

    def apply(x, kernel_size, stride=None, padding=0):
        if x.shape[1] == 0:
            return function(x[:, :1].new_zeros(len(x), 1, *x.shape[2:]), kernel_size, stride,
                            padding)[:, :0] + x.sum()  # fmt: skip
        return function(x, kernel_size, stride, padding)

    return apply


def batch_norm(x, weight, bias, training, seed=0, eps=1e-5):
    if x.numel() == 0:  # PyTorch refuses some of these
        return x + 0.0 * (weight.sum() + bias.sum())
    mean, variance = (
        torch.as_tensor(each, dtype=x.dtype) for each in running_statistics(x.shape[1], seed)
    )
    return F.batch_norm(x, mean, variance, weight, bias, training, eps=eps)


def where(a, b, condition):
    return torch.where(torch.as_tensor(condition), a, b)


ORACLE: dict[str, Callable] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg,
    "power": lambda x, b: x**b, "maximum": torch.maximum, "minimum": torch.minimum,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs, "where": where,
    "clip": lambda x, low, high: x * 1.0 if low is high is None else torch.clamp(x, low, high),
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": F.gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "erf": torch.erf,
    "floor_divide": lambda a, b: torch.floor(a / b), "remainder": torch.remainder,
    "square": torch.square, "sin": torch.sin, "cos": torch.cos, "log1p": torch.log1p,
    "silu": F.silu, "softplus": lambda x: F.softplus(x, threshold=40.0),
    "std": reduced(std),
    "prod": prod, "cumsum": cumsum, "ravel": torch.ravel, "squeeze": squeeze,
    "flatten": lambda x, first=0, last=-1: torch.flatten(x, first, last) * 1.0,
    "expand_dims": expand_dims, "flip": flip,
    "tril": lambda x, diagonal=0: torch.tril(x, diagonal),
    "sum": reduced(torch.sum), "mean": reduced(torch.mean),
    "norm": reduced(
        lambda x, dim, keepdim: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)
    ),
    "var": reduced(lambda x, dim, keepdim: torch.var(x, dim, correction=0, keepdim=keepdim)),
    "max": reduced(torch.amax), "min": reduced(torch.amin), "logsumexp": reduced(torch.logsumexp),
    "reshape": torch.reshape,
    "transpose": lambda x, axes=None: x.permute(axes or tuple(range(x.ndim))[::-1]),
    "swapaxes": lambda x, first, second: torch.swapaxes(x, first, second),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
    "stack": lambda *xs, axis=0: torch.stack(xs, axis),
    "split": lambda x, sections, axis=0: torch.tensor_split(x, sections, axis),
    "pad": pad, "getitem": getitem, "take": take,
    "to": lambda x, backend: x.to("cpu") * 1.0, "astype": lambda x: x.to(x.dtype) * 1.0,
    "matmul": torch.matmul, "linear": linear, "einsum": einsum,
    "embedding": lambda w, ids: F.embedding(torch.as_tensor(np.asarray(ids, np.int64)), w),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "cross_entropy": cross_entropy, "layer_norm": layer_norm,
    "normalize": lambda x, axis=-1, p=2.0: F.normalize(x, p, axis) if x.numel() else x * 1.0,
    "dropout": dropout,
    "attention": attention, "self_attention": self_attention,
    "padded": lambda x, lengths: torch.nn.utils.rnn.pad_sequence(x.split(lengths), True),
    "conv2d": conv2d, "avg_pool2d": pooled(F.avg_pool2d), "max_pool2d": pooled(F.max_pool2d),
    "batch_norm": batch_norm,
}  # fmt: skip


# --- the comparison ---


class Case(NamedTuple):
    row: Row
    sample: Sample
    dtype: type


@functools.cache
def cases() -> list[Case]:
    """Samples in float64 and float32, once more with other values, and kinks."""
    found = []
    for row in TABLE:
        rng = np.random.default_rng(len(found))
        for sample in row.samples:
            moved = tuple(np.asarray(a * rng.uniform(0.8, 1.25, a.shape)) for a in sample.inputs)
            found.append(Case(row, sample, np.float64))
            found.append(Case(row, Sample(moved, sample.options), np.float64))
            found.append(Case(row, sample, np.float32))
        found += [Case(row, kink.sample, np.float64) for kink in row.kinks]
    return found


def difference(ours: np.ndarray, theirs: "torch.Tensor", scale: float) -> float:
    """The largest one, relative to the largest element, or to `scale` if larger."""
    wanted = theirs.detach().numpy()
    assert ours.shape == wanted.shape
    assert ours.dtype == wanted.dtype
    assert np.isfinite(wanted).all()
    largest = np.abs(wanted).max(initial=scale)
    return float(np.abs(ours - wanted).max(initial=0.0) / largest)


def worst_difference(case: Case) -> float:
    """Of all outputs, and of the gradients of all inputs for random cotangents.

    Some gradients are zero in theory, and rounding noise in both libraries: differences
    are not measured against less than the cotangents.
    """
    arrays = [a.astype(case.dtype) for a in case.sample.inputs]
    leaves = [mg.tensor(a.copy(), requires_grad=True) for a in arrays]
    outputs = case.row.function(*leaves, **case.sample.options)
    twins = [torch.tensor(a, requires_grad=True) for a in arrays]
    wanted = ORACLE[case.row.name](*twins, **case.sample.options)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    assert len(outputs) == len(wanted)
    worst = max(difference(o.data, w, 1e-15) for o, w in zip(outputs, wanted))
    rng = np.random.default_rng(5)
    cotangents = [rng.standard_normal(o.shape).astype(case.dtype) for o in outputs]
    weighted = [mg.sum(o * c) for o, c in zip(outputs, cotangents)]
    gradients = mg.grad(mg.sum(mg.stack(weighted)), leaves)
    sum((w * torch.tensor(c)).sum() for w, c in zip(wanted, cotangents)).backward()
    scale = max(np.abs(c).max(initial=1e-15) for c in cotangents)
    return max(worst, *(difference(g, t.grad, scale) for g, t in zip(gradients, twins)))


def tolerance(case: Case) -> float:
    return 1e-12 if case.dtype is np.float64 else 2e-5


@pytest.mark.filterwarnings(r"ignore:var\(\):UserWarning")  # of no elements
@pytest.mark.parametrize("name", sorted(ORACLE))
def test_operation_agrees_with_pytorch(name):
    for case in cases():
        if case.row.name == name:
            assert worst_difference(case) <= tolerance(case), (case.sample, case.dtype)


def test_every_operation_is_compared():
    assert ORACLE.keys() == {row.name for row in TABLE}
    assert len(cases()) >= CASES


def main() -> None:
    figures = collections.defaultdict(list)
    for case in cases():
        figures[case.row.name, case.dtype].append(worst_difference(case))
    print("operation             cases   float64   cases   float32")
    for name in ORACLE:
        double, single = figures[name, np.float64], figures[name, np.float32]
        print(f"{name:20} {len(double):6} {max(double):9.1e} {len(single):7} {max(single):9.1e}")
    print(f"{sum(map(len, figures.values()))} cases, forward and backward")


if __name__ == "__main__":
    main()
