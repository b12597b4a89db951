"""Anomaly mode names the culprit; draw shows the graph; profile and explain_memory."""

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad.debug import explain_memory
from minigrad.threads import parallel_map


def here(offset=0):
    """ "file:line" of the calling line, plus offset."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"


@pytest.fixture
def quiet():
    with np.errstate(all="ignore"):
        yield


# --- detect_anomaly -------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_anomaly_in_the_forward_pass_names_operation_shapes_and_line():
    x = mg.tensor([[-1.0, 2.0]], requires_grad=True)
    with pytest.raises(FloatingPointError) as caught, mg.detect_anomaly():
        hidden = x * 2.0
        place = here(1)
        y = mg.log(hidden)
        mg.sum(y).backward()
    assert f"log of shapes (1, 2) gave a NaN or an infinity, called at {place}" in str(caught.value)


@pytest.mark.usefixtures("quiet")
def test_anomaly_of_an_input_says_so():
    x = mg.tensor([np.nan, 1.0])
    with (
        pytest.raises(FloatingPointError, match=r"mul of .*input 1 already held one"),
        mg.detect_anomaly(),
    ):
        mg.tensor([1.0, 1.0]) * x


@pytest.mark.usefixtures("quiet")
def test_anomaly_in_the_backward_pass_names_the_line_of_the_forward_pass():
    x = mg.tensor([0.0, 4.0], requires_grad=True)
    with pytest.raises(FloatingPointError) as caught, mg.detect_anomaly():
        place = here(1)
        y = mg.sqrt(x)
        y.backward(np.ones(2, np.float32))
    text = str(caught.value)
    assert "the gradient of sqrt (result shape (2,)) with respect to its input 0" in text
    assert f"called at {place}" in text
    assert x.grad is None


@pytest.mark.usefixtures("quiet")
def test_anomaly_of_a_graph_made_outside_is_found_too():
    x = mg.tensor([0.0, 4.0], requires_grad=True)
    y = mg.sqrt(x)
    with (
        pytest.raises(FloatingPointError, match=r"sqrt.*a line outside of detect_anomaly\(\)"),
        mg.detect_anomaly(),
    ):
        y.backward(np.ones(2, np.float32))


def test_anomaly_mode_lets_finite_numbers_pass_and_ends_with_its_block():
    x = mg.tensor([1.0, 4.0], requires_grad=True)
    with mg.detect_anomaly():
        mg.sum(mg.concatenate(mg.split(mg.sqrt(x), 2))).backward()
        mg.tensor([1, 2]) + 1
    assert x.grad.tolist() == [0.5, 0.25]
    with np.errstate(all="ignore"):
        assert np.isnan(mg.log(mg.tensor([-1.0])).data).all()


# --- draw -----------------------------------------------------------------------------


def test_draw_lists_the_graph_inputs_first():
    x = mg.tensor(np.ones((2, 3)), requires_grad=True)
    w = mg.tensor(np.ones((3, 4)), requires_grad=True)
    first, _ = mg.split(mg.tanh(x @ w) + 1.0, 2)
    lines = mg.draw(mg.sum(first * first), {"weight": w}).splitlines()
    assert lines[0] == "flowchart TD"
    boxes = [line.strip() for line in lines[1:8]]
    texts = [box[box.index('"') :].rstrip("])") for box in boxes]
    assert texts == ['"leaf (2, 3)"', '"weight (3, 4)"', '"matmul (2, 4)"', '"tanh (2, 4)"',
                     '"add (2, 4)"', '"split (1, 4) (1, 4)"', '"mul (1, 4)"']  # fmt: skip
    numbers = [box[: box.index('"') - 1] for box in boxes]
    assert boxes[0].startswith(f"{numbers[0]}(") and boxes[2].startswith(f"{numbers[2]}[")
    arrows = [line.strip() for line in lines if "-->" in line]
    leaf, weight, product, tanh, add, split, mul = numbers
    assert arrows[:5] == [
        *(f"{leaf} --> {product}", f"{weight} --> {product}"),
        *(f"{product} --> {tanh}", f"{tanh} --> {add}", f"{add} --> {split}"),
    ]
    assert arrows[5:7] == [f"{split} -->|output 0| {mul}"] * 2


def test_draw_of_a_constant_and_of_a_leaf():
    assert "constant (2,)" in mg.draw(mg.tensor([1.0, 2.0]))
    assert "leaf (2,)" in mg.draw(mg.tensor([1.0, 2.0], requires_grad=True))


def test_draw_needs_no_recursion():
    y = mg.tensor(1.0, requires_grad=True)
    for _ in range(5000):
        y = -y
    assert mg.draw(y).count("neg ()") == 5000


# --- profile --------------------------------------------------------------------------


def test_profile_counts_calls_time_and_bytes():
    x = mg.tensor(np.ones((200, 300), np.float32), requires_grad=True)
    with mg.profile() as measured:
        for _ in range(3):
            (x @ x.T).tanh().sum().backward()
    cost = measured.table["matmul"]
    assert cost.calls == 3 and cost.size == 3 * 200 * 200 * 4
    assert cost.forward > 0 and cost.backward > 0
    lines = str(measured).splitlines()
    assert lines[0].split() == ["operation", "calls", "forward", "ms", "backward", "ms", "MB"]
    assert {line.split()[0] for line in lines[1:]} == {"matmul", "transpose", "tanh", "sum"}


def test_profile_sees_nothing_outside_of_its_block_and_threads_inside():
    x = mg.tensor(np.ones(5), requires_grad=True)
    with mg.profile() as measured:
        parallel_map(lambda _: mg.exp(x), range(4), 2)
    mg.exp(x)
    assert measured.table["exp"].calls == 4


# --- explain_memory -------------------------------------------------------------------


def explained(function):
    """The message of the MemoryError that function() raises."""
    with pytest.raises(MemoryError) as caught, explain_memory("Buy more."):
        function()
    return str(caught.value)


@pytest.fixture
def huge():
    """A view of one number that stands for 4 EB."""
    return mg.broadcast_to(mg.tensor(1.0, requires_grad=True), (10**9, 10**9))


def test_out_of_memory_names_the_operation_and_the_shapes(huge):
    text = explained(lambda: huge * huge)
    assert text.startswith("mul: out of memory with ")
    assert "(1000000000, 1000000000)" in text
    assert text.endswith(". Buy more.")


def test_out_of_memory_in_the_backward_pass_names_the_operation(huge):
    corner = huge[0, 0]
    text = explained(corner.backward)
    assert "getitem" in text.partition(":")[0]


def test_out_of_memory_elsewhere_names_the_function():
    text = explained(lambda: np.ones((10**9, 10**9)))
    assert text.startswith("ones: out of memory with no arrays. Unable to allocate")


def test_out_of_memory_names_arrays_and_no_modules(huge):
    text = explained(lambda: mg.softmax(huge))  # its `xp` is a module with a function `shape`
    assert text.startswith("softmax: out of memory with ")
    assert "xp" not in text and "function" not in text


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), explain_memory("Buy more."):
        raise ZeroDivisionError


# --- several observers ----------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("profile_is_outside", [True, False])
def test_profile_and_detect_anomaly_work_together(profile_is_outside):
    outer, inner = (mg.profile, mg.detect_anomaly)[:: 1 if profile_is_outside else -1]
    x = mg.tensor([1.0, 4.0], requires_grad=True)
    with outer() as first, inner() as second:
        measured = first if profile_is_outside else second
        mg.sqrt(x).sum().backward()
        with pytest.raises(FloatingPointError, match="log of shapes"):
            mg.log(-x)
    assert {"sqrt", "sum", "neg"} <= set(measured.table)
    assert measured.table["sqrt"].backward > 0
    assert np.isnan(mg.log(-x).data).all()


def test_an_inner_profile_does_not_end_the_outer_one():
    x = mg.tensor([1.0, 4.0])
    with mg.profile() as outer:
        with mg.profile() as inner:
            mg.sqrt(x)
        mg.exp(x)
    assert set(outer.table) == {"sqrt", "exp"} and set(inner.table) == {"sqrt"}


def test_draw_escapes_what_would_end_a_text():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    for name in ('the "weight"', 'a"]; b["c', "two\nlines", "<b>", "`code`", "#quot;"):
        box = mg.draw(x, {name: x}).splitlines()
        assert len(box) == 2 and box[1].count('"') == 2
        assert not set("<>`") & set(box[1])
    assert "a#34;b (2,)" in mg.draw(x, {'a"b': x})
