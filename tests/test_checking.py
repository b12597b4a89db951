"""gradcheck passes what is right and catches each way of being wrong."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd import record


def operation(vjp, forward=lambda a: a * a):
    """A function of one tensor with a gradient rule of our choice: vjp(g, a)."""

    def fn(x):
        a = x.data
        return record("planted", forward(a), (x,), lambda g: vjp(g, a))

    return fn


POINT = np.array([[0.7, -1.2, 0.4], [1.5, 0.2, -0.3]])


def right(g, a):
    return g * 2 * a


def test_right_gradient_passes_and_reports_how_well():
    report = mg.gradcheck(operation(right), [POINT])
    assert report.method == "complex" and report.tolerance == 1e-11
    assert 0 <= report.error <= 1e-11
    report = mg.gradcheck(operation(right), [mg.tensor(POINT)], method="central")
    assert report.method == "central" and report.tolerance == 1e-6
    assert report.error <= 1e-8


def test_method_is_complex_where_the_function_can():
    assert mg.gradcheck(mg.gelu, [POINT]).method == "central"
    assert mg.gradcheck(mg.tanh, [POINT]).method == "complex"
    with pytest.raises(TypeError, match="complex128"):
        mg.gradcheck(mg.erf, [POINT], method="complex")

    def only_real(x):
        return record("real", np.abs(x.data) * 2.0, (x,), lambda g: g * 2.0 * np.sign(x.data))

    assert mg.gradcheck(only_real, [POINT]).method == "central"


def place(index, factor):
    def vjp(g, a):
        wrong = right(g, a)
        wrong[index] *= factor
        return wrong

    return vjp


@pytest.mark.parametrize("method", ["complex", "central"])
def test_wrong_value_is_located(method):
    with pytest.raises(mg.GradientError) as caught:
        mg.gradcheck(operation(place((1, 0), 1.01)), [POINT], method=method)
    text = str(caught.value)
    cotangent = np.random.default_rng(0).standard_normal(POINT.shape)
    numeric = cotangent[1, 0] * 2 * POINT[1, 0]
    assert "wrong gradient: input 0, element (1, 0)" in text
    assert f"analytic {numeric * 1.01:.8g}"[:14] in text and f"numeric {numeric:.8g}"[:13] in text
    assert f"({method})" in text and "relative error" in text and "allowed 1e-" in text


def test_tiny_error_is_caught_by_the_complex_step():
    vjp = operation(place((0, 1), 1 + 1e-9))
    mg.gradcheck(vjp, [POINT], method="central")
    with pytest.raises(mg.GradientError, match=r"element \(0, 1\)"):
        mg.gradcheck(vjp, [POINT], method="complex")


def test_the_wrong_one_of_several_inputs_is_named():
    def fn(x, y):
        a, b = x.data, y.data
        return record("planted", a * b, (x, y), lambda g: (g * b, g * b))

    with pytest.raises(mg.GradientError, match="input 1, element"):
        mg.gradcheck(fn, [POINT, POINT + 1.0])


WRONG = {
    "transposed": lambda g, a: right(g, a)[::-1],
    "summed": lambda g, a: np.full_like(a, (2 * a * g).sum()),
    "not a number": lambda g, a: right(g, a) * np.nan,
    "forgets g": lambda g, a: 2 * a,
    "zero": lambda g, a: 0 * a,
}


@pytest.mark.parametrize("name", WRONG)
def test_mutants_are_caught(name):
    with pytest.raises(mg.GradientError, match="wrong gradient"):
        mg.gradcheck(operation(WRONG[name]), [POINT])


def test_wrong_shape_is_caught():
    with pytest.raises(mg.GradientError, match=r"input 0 is \(3, 2\) float64, the input \(2, 3\)"):
        mg.gradcheck(operation(lambda g, a: right(g, a).T), [POINT])
    with pytest.raises(mg.GradientError, match=r"input 0 is \(3,\) float64"):
        mg.gradcheck(operation(lambda g, a: right(g, a)[0]), [POINT])


def test_wrong_dtype_is_caught():
    with pytest.raises(mg.GradientError, match=r"input 0 is \(2, 3\) float32"):
        mg.gradcheck(operation(lambda g, a: right(g, a).astype(np.float32)), [POINT])


def test_changed_input_is_caught():
    def forward(a):
        a += 1.0
        return a * a

    with pytest.raises(mg.GradientError, match="fn changes its input 0"):
        mg.gradcheck(operation(right, forward), [POINT])


def test_input_changed_by_the_backward_pass_is_caught():
    def vjp(g, a):
        gradient = right(g, a)
        a *= 2.0
        return gradient

    with pytest.raises(mg.GradientError, match="fn changes its input 0"):
        mg.gradcheck(operation(vjp), [POINT])


def test_function_that_varies_is_caught():
    rng = np.random.default_rng(0)
    with pytest.raises(mg.GradientError, match="another result the second time"):
        mg.gradcheck(lambda x: mg.dropout(x, 0.5, rng), [POINT])


def test_float32_is_refused():
    with pytest.raises(TypeError, match=r"input 1 has dtype float32; pass float64"):
        mg.gradcheck(mg.mul, [POINT, POINT.astype(np.float32)])
    with pytest.raises(TypeError, match="int64"):
        mg.gradcheck(mg.exp, [np.arange(3)])


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match='method must be "auto", "complex" or "central"'):
        mg.gradcheck(mg.exp, [POINT], method="forward")


def test_inputs_are_left_alone():
    array, tensor = POINT.copy(), mg.tensor(POINT.copy(), requires_grad=True)
    mg.gradcheck(mg.mul, [array, tensor])
    assert np.array_equal(array, POINT) and np.array_equal(tensor.data, POINT)
    assert tensor.grad is None


def test_scalars_empty_arrays_and_looser_tolerances():
    assert mg.gradcheck(mg.exp, [np.array(0.3)]).index == ()
    assert mg.gradcheck(mg.exp, [np.zeros((0, 2))]).error == 0.0
    mg.gradcheck(operation(place((0, 0), 1.001)), [POINT], tolerance=1e-2)


def test_functions_of_several_operations():
    w = np.random.default_rng(0).standard_normal((3, 3))
    mg.gradcheck(lambda x, w: mg.softmax(mg.tanh(x @ w) @ w.T), [POINT, w])
