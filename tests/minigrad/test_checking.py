"""gradcheck passes what is right, and catches each way of being wrong."""

import re
import runpy

import numpy as np
import pytest
from op_table import TABLE
from paths import ROOT
from planted import POINT, WRONG, operation, right

import minigrad as mg
from minigrad.tensor import record

pytestmark = pytest.mark.gradient


def test_right_gradient_passes_and_reports_how_well():
    report = mg.gradcheck(operation(right), [POINT])
    assert report.method == "complex" and report.tolerance == 1e-11
    assert 0 <= report.error <= 1e-11
    report = mg.gradcheck(operation(right), [mg.tensor(POINT)], method="central")
    assert report.method == "central" and report.tolerance == 1e-6
    assert report.error <= 1e-8


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_right_operation_passes(row):
    """No false alarm, by either method, element by element."""
    for sample in row.samples:

        def fn(*inputs, options=sample.options):
            result = row.function(*inputs, **options)
            return mg.concatenate(result) if isinstance(result, tuple) else result

        report = mg.gradcheck(fn, sample.inputs)
        assert (report.method == "complex") == row.analytic
        mg.gradcheck(fn, sample.inputs, method="central")


def test_method_is_complex_where_the_function_can():
    assert mg.gradcheck(mg.gelu, [POINT]).method == "complex"
    assert mg.gradcheck(mg.tanh, [POINT]).method == "complex"

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


def test_the_report_reads_well():
    """A user's function with a mistake in it: which input and element, by how much."""

    def scaled(x, w):
        a, b = x.data, w.data

        def vjp(g):
            to_w = g * a
            to_w[1, 2] *= 1.5
            return g * b, to_w

        return record("scaled", a * b, (x, w), vjp)

    with pytest.raises(mg.GradientError) as caught:
        mg.gradcheck(scaled, [POINT, np.ones((2, 3))])
    wanted = (
        r"gradcheck: wrong gradient: input 1, element \(1, 2\): analytic -?0\.\d+, "
        r"numeric -?0\.\d+ \(central\), relative error \d\.\d\de[+-]\d\d, allowed 1e-06; "
        r"1 of its 6 elements are off"
    )
    assert re.fullmatch(wanted, str(caught.value)), caught.value


def test_small_gradients_are_measured_by_their_own_size():
    """A gradient of 1e-2 that is off by a millionth: 1e-8 is far above the rounding."""

    def small(x):
        a = x.data
        return record("small", a * a * 1e-2, (x,), lambda g: g * a * 2e-2 * (1 + 1e-6))

    with pytest.raises(mg.GradientError, match=r"relative error [1-9].*e-0[67]"):
        mg.gradcheck(small, [POINT], method="complex")


@pytest.mark.parametrize("forward", [lambda a: a.real * a, lambda a: np.abs(a) + 0 * a])
def test_complex_numbers_without_an_analytic_function(forward):
    """fn takes complex numbers, but Im f(x + ih)/h is not its derivative.

    Central differences decide, and they find a wrong gradient too.
    """
    slope = np.sign if forward(-1.0 + 0j) == 1 and forward(2.0 + 0j) == 2 else lambda a: 2 * a
    fn = operation(lambda g, a: g * slope(a), forward)
    assert mg.gradcheck(fn, [POINT]).method == "central"
    wrong = operation(lambda g, a: g * slope(a) * 1.01, forward)
    with pytest.raises(mg.GradientError, match="central"):
        mg.gradcheck(wrong, [POINT])


def test_the_wrong_one_of_several_inputs_is_named():
    def fn(x, y):
        a, b = x.data, y.data
        return record("planted", a * b, (x, y), lambda g: (g * b, g * b))

    with pytest.raises(mg.GradientError, match="input 1, element"):
        mg.gradcheck(fn, [POINT, POINT + 1.0])


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


def test_changed_cotangent_is_caught():
    def vjp(g, a):
        g *= 2 * a
        return g

    with pytest.raises(mg.GradientError, match="changes the cotangent"):
        mg.gradcheck(operation(vjp), [POINT])


def test_missing_gradient_is_caught():
    def fn(x, y):
        a, b = x.data, y.data
        return record("planted", a * b, (x, y), lambda g: (g * b, None))

    with pytest.raises(mg.GradientError, match=r"missing \(all zeros\).*input 1, element"):
        mg.gradcheck(fn, [POINT, POINT + 1.0])
    with pytest.raises(mg.GradientError, match=r"missing \(all zeros\).*input 0, element"):
        mg.gradcheck(lambda x: mg.tensor(x.data * 2.0), [POINT])
    with pytest.raises(mg.GradientError, match=r"missing.* 6 of its 6 elements"):
        mg.gradcheck(lambda x: x.detach() * 2.0, [POINT])


def test_input_that_does_not_matter_needs_no_gradient():
    assert mg.gradcheck(lambda x, y: x * 2.0, [POINT, POINT]).error == 0.0


KEPT = np.ones((2, 3))
ALIASES = {
    "its input": (lambda g, a: a, "with input 0"),
    "an array that it keeps": (lambda g, a: KEPT, "with one of a later call"),
}


@pytest.mark.parametrize("name", ALIASES)
def test_shared_memory_is_caught(name):
    """Such gradients have the right values, until somebody adds to one of them."""
    vjp, message = ALIASES[name]
    with pytest.raises(mg.GradientError, match=f"gradient of input 0 shares memory.*{message}"):
        mg.gradcheck(operation(vjp, lambda a: a * 1.0), [POINT])


def test_memory_of_another_input_is_caught():
    def fn(x, y):
        b = y.data
        return record("planted", x.data * 1.0, (x, y), lambda g: (b, g * 0.0))

    with pytest.raises(mg.GradientError, match="input 0 shares memory with input 1"):
        mg.gradcheck(fn, [POINT, POINT])


def test_one_gradient_for_two_inputs_is_told_apart_by_the_tape():
    """A vjp may return one array twice: the tape hands out copies."""

    def fn(x, y):
        def vjp(g):
            one = g * 1.0
            return one, one

        return record("planted", x.data + y.data, (x, y), vjp)

    mg.gradcheck(fn, [POINT, POINT])


def test_gradient_that_varies_is_caught():
    rng = np.random.default_rng(0)
    vjp = operation(lambda g, a: right(g, a) + 1e-12 * rng.standard_normal(a.shape))
    with pytest.raises(mg.GradientError, match="gradient of input 0 is another one the second"):
        mg.gradcheck(vjp, [POINT])


def test_function_that_varies_is_caught():
    rng = np.random.default_rng(0)
    with pytest.raises(mg.GradientError, match="another result the second time"):
        mg.gradcheck(lambda x: mg.dropout(x, 0.5, rng), [POINT])


def test_float32_is_refused():
    narrow = POINT.astype(np.float32)
    with pytest.raises(TypeError, match=r"gradcheck: input 1 has dtype float32; pass float64:"):
        mg.gradcheck(mg.mul, [POINT, narrow])
    with pytest.raises(TypeError, match=r"hvp: input 0 has dtype float32; pass float64"):
        mg.hvp(mg.sum, [narrow], [narrow])
    with pytest.raises(TypeError, match=r"taylor_slope: input 0 has dtype float32; pass float64"):
        mg.taylor_slope(mg.exp, [narrow], [narrow])
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


def test_a_lone_array_is_one_input():
    assert mg.gradcheck(mg.exp, POINT).size == 6
    assert mg.gradcheck(mg.exp, mg.tensor(POINT)).size == 6


def test_zero_tolerance_is_zero():
    with pytest.raises(mg.GradientError, match="allowed 0e"):
        mg.gradcheck(mg.tanh, [POINT], method="central", tolerance=0.0)


def test_the_picture_of_the_chapter_can_be_drawn(tmp_path):
    example = ROOT / "examples" / "gradient_check.py"
    runpy.run_path(str(example))["main"](tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
