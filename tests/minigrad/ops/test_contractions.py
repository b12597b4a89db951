"""Subscripts are spelled out before numpy.einsum sees them."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.contractions import _explicit, _sizes


@pytest.mark.parametrize(
    ("subscripts", "shapes", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], (["ij", "jk"], "ik")),
        ("ij,jk", [(2, 3), (3, 4)], (["ij", "jk"], "ik")),  # implied: what occurs once
        ("ba", [(2, 3)], (["ba"], "ab")),  # implied: in alphabetical order
        ("ii", [(3, 3)], (["ii"], "")),
        ("...i->...", [(5, 2, 3)], (["bai"], "ba")),
        ("...i,...i->...", [(5, 2, 3), (2, 3)], (["bai", "ai"], "ba")),  # from the right
        ("ab -> ba", [(2, 3)], (["ab"], "ba")),
    ],
)
def test_explicit_subscripts(subscripts, shapes, expected):
    assert _explicit(subscripts, shapes) == expected
    inputs, output = expected
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    explicit = np.einsum(f"{','.join(inputs)}->{output}", *arrays)
    assert np.array_equal(explicit, np.einsum(subscripts, *arrays))


def test_an_axis_of_size_1_takes_the_size_of_the_others():
    assert _sizes(["ij", "jk"], [(1, 1), (3, 0)]) == {"i": 1, "j": 3, "k": 0}
    assert _sizes(["ij", "ij"], [(1, 3), (2, 1)]) == {"i": 2, "j": 3}


def test_the_gradient_of_a_broadcast_operand_is_summed():
    """The example at the head of contractions.py."""
    a = mg.tensor([[1.0], [2.0]], requires_grad=True)
    b = mg.tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4), requires_grad=True)
    y = mg.einsum("ij,jk->ik", a, b)
    g = np.ones((2, 4), np.float32)
    to_a, to_b = mg.grad(y, [a, b], g)
    assert to_a.tolist() == [[66.0], [66.0]]  # the sum of b, for each row
    assert to_b.tolist() == [[3.0] * 4] * 3  # the sum of a's column


def test_the_gradient_of_a_trace_is_the_identity():
    a = mg.tensor(np.ones((3, 3)), requires_grad=True)
    mg.einsum("ii->", a).backward()
    assert np.array_equal(a.grad, np.eye(3))
