"""Operations that are not fused, built from other operations.

The fused ones have their composed forms in minigrad/plain.py. The tape finds the
gradients of all these definitions without the vjps that are under test, and must find
the same.
"""

from typing import Any

import numpy as np

import minigrad as mg


def matmul(a: mg.Tensor, b: mg.Tensor) -> mg.Tensor:
    left, right = "...ij" if a.ndim > 1 else "j", "...jk" if b.ndim > 1 else "j"
    output = "..." + "i" * (a.ndim > 1) + "k" * (b.ndim > 1)
    return mg.einsum(f"{left},{right}->{output}", a, b)


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


def norm(x, axis=None, keepdims=False):
    return mg.sqrt(mg.sum(x * x, axis, keepdims))
