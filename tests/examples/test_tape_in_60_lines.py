"""The small engine of the example gives the gradients of minigrad."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import EXAMPLES

import minigrad as mg

sys.path.insert(0, str(EXAMPLES))
from tape_in_60_lines import Value

SIZE = 3  # all matrices are square, so that each operation fits each pair of them
SCRIPT = EXAMPLES / "tape_in_60_lines.py"
OPERATIONS = ("add", "mul", "matmul", "tanh")


def combine(operation, left, right):
    """One operation of a random expression; the same code serves both engines."""
    if operation == "tanh":
        return left.tanh()
    if operation == "add":
        return left + right
    return left * right if operation == "mul" else left @ right


def evaluate(leaves, plan):
    """The sum of the last value; each step makes a value from two earlier ones."""
    values = list(leaves)
    for operation, first, second in plan:
        values.append(combine(operation, values[first % len(values)], values[second % len(values)]))
    return values[-1].sum()


steps = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20), st.integers(0, 20))


@given(st.lists(steps, min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_random_expressions_have_the_gradients_of_the_engine(plan, seed):
    arrays = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, SIZE, SIZE))
    small = [Value(array) for array in arrays]
    large = [mg.tensor(array, requires_grad=True) for array in arrays]
    small_result, large_result = evaluate(small, plan), evaluate(large, plan)
    assert np.allclose(small_result.data, large_result.data, rtol=1e-12, atol=1e-14)
    small_result.backward()
    large_result.backward()
    for value, tensor in zip(small, large):
        expected = np.zeros((SIZE, SIZE)) if tensor.grad is None else tensor.grad
        assert np.allclose(value.grad, expected, rtol=1e-10, atol=1e-12)


def test_a_second_backward_adds_to_the_gradients():
    x = Value([1.0, 2.0])
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_the_script_prints_a_gradient():
    finished = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout == "[[22. 35.]\n [40. 67.]]\n"


def test_values_of_two_shapes_are_refused():
    column, row = Value(np.ones((3, 1))), Value(np.ones((1, 4)))
    for operation in ("add", "mul"):
        with pytest.raises(AssertionError):
            combine(operation, column, row)


def test_its_text_shows_what_it_prints():
    assert "\n    [[22. 35.]\n     [40. 67.]]\n" in SCRIPT.read_text(encoding="utf-8")


def test_it_has_at_most_60_lines_below_its_text():
    _, _, code = SCRIPT.read_text(encoding="utf-8").split('"""', maxsplit=2)
    assert len(code.strip().splitlines()) <= 60
