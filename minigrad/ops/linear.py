"""What are the derivatives of a product of matrices?

Let Y = A B, G = dL/dY, and let <X, Z> be the sum of X_ij Z_ij over all elements. If A
changes by a little dA, then Y changes by dA B, and the loss by <G, dA B>. Written out,

    <G, dA B> = sum over n, m, k of G_nm dA_nk B_km
              = sum over n, k of (sum over m of G_nm B_km) dA_nk = <G B^T, dA>

What stands beside dA is the gradient. The sum over m runs along the second axis of B,
which is the first axis of B^T: so B is transposed. In the same way for B:

    dL/dA = G B^T
    dL/dB = A^T G          from <G, A dB> = <A^T G, dB>

`matmul` also multiplies stacks of matrices, (..., N, K) @ (..., K, M), and vectors. A
vector becomes a matrix of one row or one column first, so that one formula is enough.

`linear` is the layer x W^T + b. It flattens (B, T, D) to (B*T, D) first: one large
product is faster than B small ones.
"""

from __future__ import annotations

import math
from typing import Any

from minigrad.backend import Array, column_sum
from minigrad.inputs import coerce
from minigrad.kernels import added_terms, column_sums
from minigrad.kernels.launching import choose
from minigrad.memory import product
from minigrad.ops.basic import unbroadcast
from minigrad.precision import kept, restored
from minigrad.tensor import Tensor, record


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b: (..., N, K) @ (..., K, M) -> (..., N, M); the axes in front broadcast.

    A vector (K,) counts as a row on the left and as a column on the right, and the
    result does not have that axis. ValueError for shapes that do not fit.

    >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0]).data.tolist()
    [21.0, 43.0]
    """
    a, b = coerce("matmul", a, b)
    x, y = a.data, b.data
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape}: both need an axis; use *")
    # From here on both are matrices, or stacks of matrices.
    left = x[None, :] if x.ndim == 1 else x  # (..., N, K)
    right = y[:, None] if y.ndim == 1 else y  # (..., K, M)
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"matmul: shapes {x.shape} and {y.shape} do not fit: the last axis of the first "
            f"({left.shape[-1]}) must equal the second-last of the second ({right.shape[-2]})"
        )
    try:
        result = left @ right  # (..., N, M)
    except ValueError:
        raise ValueError(
            f"matmul: leading axes of {x.shape} and {y.shape} do not broadcast"
        ) from None
    full_shape = result.shape
    if x.ndim == 1:
        result = result[..., 0, :]  # (..., M)
    if y.ndim == 1:
        result = result[..., 0]  # (..., N), or () for two vectors
    x_shape, y_shape = x.shape, y.shape
    a_needs, b_needs = a.requires_grad, b.requires_grad

    def vjp(g: Array) -> tuple[Array | None, Array | None]:
        g = g.reshape(full_shape)  # (..., N, M)
        to_a = to_b = None
        if a_needs:
            # G B^T, summed over the stacks that A was broadcast to
            to_a = unbroadcast(g @ right.swapaxes(-1, -2), left.shape)
            to_a = to_a.reshape(x_shape)  # shape of a
        if b_needs and right.ndim == 2:
            # A^T G, summed over all stacks: one product, with all rows of A and of G
            rows = math.prod(left.shape[:-1])
            flat_left = left.reshape(rows, left.shape[-1])  # (n, K)
            flat_g = g.reshape(rows, right.shape[-1])  # (n, M)
            to_b = (flat_left.T @ flat_g).reshape(y_shape)  # shape of b
        elif b_needs:
            # A^T G, summed over the stacks that B was broadcast to
            to_b = unbroadcast(left.swapaxes(-1, -2) @ g, right.shape)
            to_b = to_b.reshape(y_shape)  # shape of b
        return to_a, to_b

    return record("matmul", result, (a, b), vjp)


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Tensor:
    """The fast form of `plain.linear`: x @ weight.T + bias + residual.

    x (..., in), weight (out, in), bias (out,), residual (..., out) -> (..., out). The
    residual is what a layer adds its result to.

    >>> weight = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    >>> linear([2.0, 3.0], weight, bias=[0.0, 0.0, 10.0]).data.tolist()
    [2.0, 3.0, 15.0]
    """
    added = [each for each in (bias, residual) if each is not None]
    inputs = coerce("linear", x, weight, *added)
    x, weight = inputs[:2]
    b = None if bias is None else inputs[2]
    r = None if residual is None else inputs[-1]
    _check_linear(x, weight, b, r)
    n_out, n_in = weight.shape
    shape = x.shape
    w = weight.data
    rows = x.data.reshape(math.prod(shape[:-1]), n_in)  # (N, in)
    # Y = X W^T + b + R
    y = product(rows, w.T)  # (N, out)
    add = choose(y, portable=_add_in_place, on_gpu=added_terms.add)
    add(y, None if b is None else b.data, None if r is None else r.data.reshape(y.shape))
    x_needs, weight_needs = x.requires_grad, weight.requires_grad
    seen = kept(rows) if weight_needs else None
    bias_needs = b is not None and b.requires_grad
    has_bias, has_residual = b is not None, r is not None

    def vjp(gradient: Array) -> tuple[Array | None, ...]:
        g = gradient.reshape(math.prod(shape[:-1]), n_out)  # (N, out)
        # dL/dX = G W,  dL/dW = G^T X,  dL/db = the sum of the rows of G,  dL/dR = G
        to_x = product(g, w).reshape(shape) if x_needs else None  # (..., in)
        to_weight = None if seen is None else product(g.T, restored(seen, g.dtype))
        to_bias = None
        if bias_needs:
            sum_rows = choose(g, portable=column_sum, on_gpu=column_sums.column_sum)
            to_bias = sum_rows(g)
        to_added = (*[to_bias] * has_bias, *[gradient] * has_residual)
        return (to_x, to_weight, *to_added)

    return record("linear", y.reshape(*shape[:-1], n_out), inputs, vjp)  # (..., out)


def _check_linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None) -> None:
    """ValueError unless the shapes of the arguments of `linear` fit."""
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x {x.shape} and weight {weight.shape} do not fit: expected (..., in) "
            "and (out, in)"
        )
    n_out = weight.shape[0]
    if bias is not None and bias.shape != (n_out,):
        raise ValueError(f"linear: bias {bias.shape} must have shape ({n_out},)")
    wanted = (*x.shape[:-1], n_out)
    if residual is not None and residual.shape != wanted:
        raise ValueError(f"linear: residual {residual.shape} must have the result's shape {wanted}")


def _add_in_place(y: Array, bias: Array | None, residual: Array | None) -> None:
    """y + bias + residual, in the memory of y: (N, out), (out,), (N, out)."""
    if bias is not None:
        y += bias
    if residual is not None:
        y += residual
