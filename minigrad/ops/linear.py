"""Chapter 4: what are the derivatives of products of matrices?

For Y = A B the loss changes by  <G, dA B + A dB>  when A and B change a little, where G is the
gradient with respect to Y and <., .> the sum of products of elements. Moving the fixed factor
to the other side of the bracket gives both gradients:

    <G, dA B> = <G B^T, dA>    so    dL/dA = G B^T
    <G, A dB> = <A^T G, dB>    so    dL/dB = A^T G

The same move works for any sum of products (`einsum`): the gradient of one operand is the sum
of products of G with all the others. Picking rows (`take`, `embedding`) is the product with a
matrix of zeros and ones: forward it copies rows, backward it adds up what each row received.

Layers flatten (B, T, D) to (B*T, D) first: one large product is faster than B small ones.
"""

from __future__ import annotations  # else every call evaluates those of its vjp

import math
import string
from collections.abc import Sequence
from typing import Any

from minigrad.backend import Array, add_rows, array_module, check_indices, column_sum
from minigrad.inputs import coerce, floating, tensor
from minigrad.memory import product
from minigrad.ops.basic import unbroadcast
from minigrad.ops.shape import normalise_axes
from minigrad.tensor import Tensor, record


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b: (..., N, K) @ (..., K, M) -> (..., N, M), leading axes broadcast.
    A one-dimensional operand is a row on the left and a column on the right."""
    a, b = coerce("matmul", a, b)
    x, y = a.data, b.data
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape}: both need an axis; use *")
    x2 = x[None, :] if x.ndim == 1 else x  # (..., N, K)
    y2 = y[:, None] if y.ndim == 1 else y  # (..., K, M)
    if x2.shape[-1] != y2.shape[-2]:
        raise ValueError(
            f"matmul: shapes {x.shape} and {y.shape} do not fit: the last axis of the first "
            f"({x2.shape[-1]}) must equal the second-last of the second ({y2.shape[-2]})"
        )
    try:
        value = x @ y
    except ValueError:
        shapes = f"{x.shape} and {y.shape}"
        raise ValueError(f"matmul: leading axes of {shapes} do not broadcast") from None
    a_needs, b_needs = a.requires_grad, b.requires_grad
    full = (*value.shape[: value.ndim - (x.ndim > 1) - (y.ndim > 1)], *x2.shape[-2:-1])

    def vjp(g: Array) -> tuple[Array | None, Array | None]:
        g2 = g.reshape(*full, y2.shape[-1])  # (..., N, M)
        to_a = to_b = None
        if a_needs:
            to_a = unbroadcast(g2 @ y2.swapaxes(-1, -2), x2.shape).reshape(x.shape)  # of a
        if b_needs and y2.ndim == 2:
            rows = math.prod(x2.shape[:-1])
            flat_x = x2.reshape(rows, x2.shape[-1])  # (N', K)
            to_b = (flat_x.T @ g2.reshape(rows, y2.shape[-1])).reshape(y.shape)  # shape of b
        elif b_needs:
            to_b = unbroadcast(x2.swapaxes(-1, -2) @ g2, y2.shape).reshape(y.shape)  # of b
        return to_a, to_b

    return record("matmul", value, (a, b), vjp)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias: (..., in), (out, in), (out,) -> (..., out)."""
    inputs = coerce("linear", x, weight) if bias is None else coerce("linear", x, weight, bias)
    x, weight = inputs[:2]
    n_out, n_in = weight.shape if weight.ndim == 2 else (None, None)
    if n_in is None or x.ndim == 0 or x.shape[-1] != n_in:
        shapes = f"x {x.shape} and weight {weight.shape}"
        raise ValueError(f"linear: {shapes} do not fit: expected (..., in) and (out, in)")
    if bias is not None and inputs[2].shape != (n_out,):
        raise ValueError(f"linear: bias {inputs[2].shape} must have shape ({n_out},)")
    shape, w = x.shape, weight.data
    rows = x.data.reshape(math.prod(shape[:-1]), n_in)  # (N, in)
    y = product(rows, w.T)  # (N, out)
    if bias is not None:
        y += inputs[2].data
    needs = [each.requires_grad for each in inputs]

    def vjp(g: Array) -> tuple[Array | None, ...]:
        g = g.reshape(len(rows), n_out)  # (N, out)
        to_x = product(g, w).reshape(shape) if needs[0] else None  # (..., in)
        to_weight = product(g.T, rows) if needs[1] else None
        to_bias = [column_sum(g) if each else None for each in needs[2:]]
        return (to_x, to_weight, *to_bias)

    return record("linear", y.reshape(*shape[:-1], n_out), inputs, vjp)  # (..., out)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """A sum of products in Einstein's notation, as numpy.einsum: "bhqd,bhkd->bhqk".
    Supports an ellipsis, an implied output and a letter that one operand has twice."""
    operands = coerce("einsum", *operands)
    shapes = [each.shape for each in operands]
    inputs, output = _explicit(subscripts, shapes)
    arrays = [each.data for each in operands]
    try:
        value = array_module(arrays[0]).einsum(f"{','.join(inputs)}->{output}", *arrays)
    except ValueError as error:
        raise ValueError(f"einsum: {subscripts!r} does not fit shapes {shapes}: {error}") from None
    pairs = [pair for letters, shape in zip(inputs, shapes) for pair in zip(letters, shape)]
    sizes = dict(pairs) | {letter: n for letter, n in pairs if n != 1}
    needs = [each.requires_grad for each in operands]

    def vjp(g: Array) -> tuple[Array | None, ...]:
        common = inputs, output, arrays, sizes
        return tuple(_einsum_gradient(g, i, *common) if n else None for i, n in enumerate(needs))

    return record("einsum", value, operands, vjp)


def _explicit(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """Subscripts with letters in place of an ellipsis and with the output spelled out."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} names {len(inputs)} operands, got {len(shapes)}")
    unused = [letter for letter in string.ascii_letters if letter not in subscripts]
    rank = 0  # how many axes the ellipsis stands for
    for i, (letters, shape) in enumerate(zip(inputs, shapes)):
        extra = len(shape) - len(letters.replace("...", ""))
        if extra < 0 or (extra > 0 and "..." not in letters):
            raise ValueError(f"einsum: {letters!r} does not fit an operand of shape {shape}")
        rank = max(rank, extra)
        inputs[i] = letters.replace("...", "".join(unused[:extra][::-1]))
    dots = "".join(unused[:rank][::-1])
    if not arrow:
        joined = "".join(inputs)
        once = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        output = "..." + "".join(once)
    return inputs, output.replace("...", dots)


def _einsum_gradient(
    g: Array, i: int, inputs: list[str], output: str, arrays: list[Array], sizes: dict[str, int]
) -> Array:
    """The gradient of operand i: G times all the other operands, summed over foreign letters."""
    xp, letters, shape = array_module(g), inputs[i], arrays[i].shape
    factors = [(output, g), *(pair for j, pair in enumerate(zip(inputs, arrays)) if j != i)]
    found = {c for name, each in factors for c, n in zip(name, each.shape) if n == sizes[c]}
    # A letter that only this operand has (or is long in) was summed away: its gradient is
    # repeated along it, which is a product with ones.
    distinct = "".join(dict.fromkeys(letters))
    factors += [(c, xp.ones(sizes[c], g.dtype)) for c in distinct if c not in found]
    formula = ",".join(name for name, _ in factors) + "->" + distinct
    spread = xp.einsum(formula, *(each for _, each in factors))  # distinct
    if distinct != letters:  # a repeated letter reads a diagonal: write the gradient onto it
        placed = xp.zeros(shape, g.dtype)
        diagonal = xp.einsum(f"{letters}->{distinct}", placed)
        diagonal[...] = unbroadcast(spread, diagonal.shape)
        return placed
    return unbroadcast(spread, shape)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The slices of x at integer `indices` along one axis, IndexError for any outside 0..n-1."""
    (x,) = coerce("take", x)
    return _pick("take", x, indices, *normalise_axes("take", (axis,), x.ndim))


def embedding(weight: Any, ids: Any) -> Tensor:
    """Rows of `weight` (V, D) for integer `ids` of any shape: (..., ) -> (..., D).
    Raises IndexError for an id outside 0..V-1."""
    (weight,) = floating("embedding", weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be (V, D), got shape {weight.shape}")
    return _pick("embedding", weight, ids, 0)


def _pick(name: str, x: Tensor, indices: Any, axis: int) -> Tensor:
    indices = tensor(indices).data
    check_indices(name, indices, x.shape[axis])
    xp, shape, dtype = array_module(x.data), x.shape, x.dtype
    indices = xp.asarray(indices)
    value = xp.take(x.data, indices, axis=axis)  # axis replaced by indices' shape
    inner = tuple(range(axis, axis + indices.ndim))
    rest = (*shape[:axis], *shape[axis + 1 :])

    def vjp(g: Array) -> Array:
        first = xp.moveaxis(g, inner, tuple(range(len(inner))))  # (*indices, *rest)
        slices = first.reshape(indices.size, *rest)  # (n, *rest)
        gradient = xp.zeros(shape, dtype)
        add_rows(xp.moveaxis(gradient, axis, 0), indices.reshape(-1), slices)  # (V, *rest), (n,)
        return gradient

    return record(name, value, (x,), vjp)
