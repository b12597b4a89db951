"""Numbers that tensors become, and updates in place of leaves.

The gradient of a leaf that was updated is the one at its new value, or an error.
"""

import math
import operator

import numpy as np
import pytest

import minigrad as mg

pytestmark = pytest.mark.gradient


def leaf(values):
    return mg.tensor(np.array(values, dtype=np.float64), requires_grad=True)


def test_a_tensor_of_one_element_is_a_number():
    for loss in (leaf(1.25), leaf([[1.25]]), mg.tensor(1.25)):
        assert float(loss) == 1.25 and int(loss) == 1 and round(loss) == 1
        assert round(loss, 1) == 1.2 and f"{loss:.3f}" == "1.250" and f"{loss:>6.1f}" == "   1.2"
        assert type(round(loss)) is int and math.floor(loss) == 1
    assert f"{leaf(1.5)}" == repr(leaf(1.5)) and f"{mg.tensor(7):d}" == "7"
    for call in (float, int, round, "{:.3f}".format):
        with pytest.raises(
            TypeError, match=r"only a tensor of one element is a number, not \(2,\)"
        ):
            call(leaf([1.0, 2.0]))


IN_PLACE = {
    "add": operator.iadd,
    "sub": operator.isub,
    "mul": operator.imul,
    "truediv": operator.itruediv,
    "pow": operator.ipow,
    "matmul": operator.imatmul,
}


def test_every_operator_has_its_form_in_place():
    names = {name[3:-2] for name in mg._OPERATORS if name.startswith("__r")}
    assert {name for name in names if f"__i{name}__" in mg._OPERATORS} == names
    assert set(IN_PLACE) <= names


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_update_in_place_changes_the_leaf_itself(name):
    update, plain_form = IN_PLACE[name], getattr(operator, name)
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    w = same = leaf(array)
    memory = w.data
    with mg.no_grad():
        w = update(w, np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert w is same and w.data is memory and w.requires_grad
    assert np.array_equal(w.data, plain_form(array, np.array([[2.0, 1.0], [1.0, 2.0]])))
    result = w * 2.0
    with pytest.raises(RuntimeError, match="cut the tensor off from its gradient"):
        update(w, 2.0)
    with pytest.raises(RuntimeError, match="cut the tensor off from its gradient"), mg.no_grad():
        update(result, 2.0)
    assert update(result, result).requires_grad  # x = x + y, on the tape
    constant = mg.tensor(array)
    assert update(constant, constant) is not constant and np.array_equal(constant.data, array)


def test_gradient_descent_by_hand():
    w = leaf([3.0, -2.0])
    for _ in range(50):
        (w * w).sum().backward()
        with mg.no_grad():
            w -= 0.1 * w.grad
        w.zero_grad()
    assert np.abs(w.data).max() < 1e-3
    with (
        mg.no_grad(),
        pytest.raises(ValueError, match=r"add: in place, the shape must stay \(2,\)"),
    ):
        w += np.ones((3, 2))
