"""What is the derivative of any sum of products?

Einstein's notation names every axis by a letter. A letter that is missing in the output
is summed:

    einsum("ij,jk->ik", a, b)      y_ik = sum_j a_ij b_jk      a matrix product
    einsum("bhqd,bhkd->bhqk", q, k)                            the scores of attention

y is linear in each operand. So the gradient of an operand is again a sum of products,
in which the gradient g of the output takes the operand's place, and the letters of the
operand become the output:

    dL/da = einsum("ik,jk->ij", g, b)
    dL/db = einsum("ik,ij->jk", g, a)

Three cases need care (`_gradient`):

**A letter that no other factor has.** In einsum("ij->i", a) the output lacks j. All
elements along j were summed, so all receive the same gradient. Multiplying by ones
along j repeats it:

    dL/da = einsum("i,j->ij", g, ones)

**An axis of size 1 that broadcasts.** Let a be (2, 1) and b (3, 4). Then

    einsum("ij,jk->ik", a, b)

uses a's only column three times. The gradient is first computed with j of size 3, shape
(2, 3), and then summed to (2, 1), as for every broadcast input (`unbroadcast`).

**A letter that an operand has twice.** einsum("ii->", a) is the trace: it reads the
diagonal. So the gradient is computed for "i" alone, and written onto the diagonal of an
array of zeros.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import Array, array_module
from minigrad.inputs import coerce
from minigrad.ops.basic import unbroadcast
from minigrad.tensor import Tensor, record


class Contraction(NamedTuple):
    """An einsum: letters and array of each operand, letters of the output, sizes."""

    inputs: list[str]
    output: str
    arrays: list[Array]
    sizes: dict[str, int]


def einsum(subscripts: Any, *operands: Any) -> Tensor:
    """A sum of products in Einstein's notation, as numpy.einsum.

    Supports an ellipsis ("...ij,...jk->...ik"), an implied output ("ij,jk") and a
    letter that one operand has twice ("ii->i"). The operands may come in one list. In
    place of letters there may be numbers, in a list behind each operand, and then one
    for the output: einsum(a, [0, 1], b, [1, 2], [0, 2]). ValueError for operands that
    do not fit.

    >>> a, b = [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0]
    >>> einsum("ij,j->i", a, b).data.tolist()
    [21.0, 43.0]
    >>> einsum("ii->", a).item()
    5.0
    >>> einsum(a, [0, 1], b, [1], [0]).data.tolist()
    [21.0, 43.0]
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _lettered((subscripts, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)) and "," in subscripts:
        operands = tuple(operands[0])
    operands = coerce("einsum", *operands)
    shapes = [operand.shape for operand in operands]
    inputs, output = _explicit(subscripts, shapes)
    arrays = [operand.data for operand in operands]
    try:
        value = array_module(arrays[0]).einsum(f"{','.join(inputs)}->{output}", *arrays)
    except ValueError as error:
        raise ValueError(f"einsum: {subscripts!r} does not fit shapes {shapes}: {error}") from None
    contraction = Contraction(inputs, output, arrays, _sizes(inputs, shapes))
    needs = [operand.requires_grad for operand in operands]

    def vjp(g: Array) -> tuple[Array | None, ...]:
        return tuple(
            _gradient(g, position, contraction) if needed else None
            for position, needed in enumerate(needs)
        )

    return record("einsum", value, operands, vjp)


def _lettered(arguments: Sequence[Any]) -> tuple[str, tuple]:
    """The form with numbers in the form with letters: subscripts, and the operands.

    >>> _lettered(("a", [0, 1], "b", [1, ...], [0, ...]))
    ('ab,b...->a...', ('a', 'b'))
    """
    operands, axes = arguments[0:-1:2], arguments[1::2]
    terms = [_letters(numbers) for numbers in axes]
    subscripts = ",".join(terms)
    if len(arguments) % 2:  # the last list is that of the output
        subscripts += "->" + _letters(arguments[-1])
    return subscripts, tuple(operands)


def _letters(numbers: Any) -> str:
    """[0, 2, ...] -> "ac..."; ValueError for what is no list of axis numbers."""
    letters = string.ascii_letters
    known = isinstance(numbers, (list, tuple)) and all(
        n is Ellipsis or (isinstance(n, (int, np.integer)) and 0 <= n < len(letters))
        for n in numbers
    )
    if not known:
        raise ValueError(
            "einsum: expected a string of subscripts, or a list of axis numbers from 0 to "
            f"{len(letters) - 1} behind each operand, got {numbers!r}"
        )
    return "".join("..." if n is Ellipsis else letters[n] for n in numbers)


def _explicit(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """The letters of the operands and of the output, all spelled out.

    >>> _explicit("...ij,jk", [(7, 2, 3), (3, 4)])
    (['aij', 'jk'], 'aik')
    """
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} names {len(inputs)} operands, got {len(shapes)}")
    unused = [letter for letter in string.ascii_letters if letter not in subscripts]
    most_axes = 0  # the largest number of axes that an ellipsis stands for
    for position, (letters, shape) in enumerate(zip(inputs, shapes)):
        axes = len(shape) - len(letters.replace("...", ""))
        if axes < 0 or (axes > 0 and "..." not in letters):
            raise ValueError(f"einsum: {letters!r} does not fit an operand of shape {shape}")
        most_axes = max(most_axes, axes)
        inputs[position] = letters.replace("...", _ellipsis_letters(unused, axes))
    ellipsis = _ellipsis_letters(unused, most_axes)
    if not arrow:
        # The implied output: the ellipsis, then the letters that occur once, in order.
        joined = "".join(inputs)
        once = [letter for letter in sorted(set(joined)) if joined.count(letter) == 1]
        output = "..." + "".join(letter for letter in once if letter not in ellipsis)
    return inputs, output.replace("...", ellipsis)


def _ellipsis_letters(unused: list[str], axes: int) -> str:
    """Letters for the axes of an ellipsis: "cba" for three, "ba" for two.

    Axes of ellipses broadcast from the right. So the last axis always gets the first of
    the unused letters.
    """
    return "".join(reversed(unused[:axes]))


def _sizes(inputs: list[str], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The size of each letter: 1 only if all operands have size 1 there.

    >>> _sizes(["ij", "jk"], [(2, 1), (3, 4)])
    {'i': 2, 'j': 3, 'k': 4}
    """
    sizes: dict[str, int] = {}
    for letters, shape in zip(inputs, shapes):
        for letter, n in zip(letters, shape):
            if sizes.get(letter, 1) == 1:
                sizes[letter] = n
    return sizes


def _gradient(g: Array, position: int, contraction: Contraction) -> Array:
    """The gradient of the operand at `position`: g times the other operands, summed."""
    inputs, output, arrays, sizes = contraction
    xp = array_module(g)
    shape = arrays[position].shape
    letters = inputs[position]
    distinct = "".join(dict.fromkeys(letters))  # "ii" -> "i"
    names = [output, *inputs[:position], *inputs[position + 1 :]]
    factors = [g, *arrays[:position], *arrays[position + 1 :]]
    # A letter that no other factor has in full size: repeat along it.
    covered = {
        letter
        for name, factor in zip(names, factors)
        for letter, n in zip(name, factor.shape)
        if n == sizes[letter]
    }
    for letter in distinct:
        if letter not in covered:
            names.append(letter)
            factors.append(xp.ones(sizes[letter], g.dtype))
    full = xp.einsum(f"{','.join(names)}->{distinct}", *factors)  # distinct, in full size
    if distinct == letters:
        return unbroadcast(full, shape)
    # A repeated letter reads a diagonal: write the gradient onto it.
    gradient = xp.zeros(shape, g.dtype)
    diagonal = xp.einsum(f"{letters}->{distinct}", gradient)  # a view
    diagonal[...] = unbroadcast(full, diagonal.shape)
    return gradient
