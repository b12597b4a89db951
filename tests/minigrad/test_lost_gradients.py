"""No gradient is lost in silence: every operation differentiates or refuses.

The tests walk the table of operations, and NumPy's own functions. A call that gives a
result must give the gradient, too; any other call must raise an error.
"""

import inspect
import operator

import numpy as np
import pytest
from op_table import TABLE

import minigrad as mg
from minigrad import plain
from minigrad.numpy_functions import INSTEAD, OUR_NAMES, WITHOUT_GRADIENT

pytestmark = pytest.mark.gradient

REFUSED = (TypeError, ValueError, IndexError, AttributeError)
by_name = operator.attrgetter("name")


def leaf(values):
    return mg.tensor(np.array(values, dtype=np.float64), requires_grad=True)


def first_filled(row):
    """The first sample of a row without empty arrays, with axes if there is one."""
    filled = [sample for sample in row.samples if all(array.size for array in sample.inputs)]
    with_axes = [sample for sample in filled if all(array.ndim for array in sample.inputs)]
    return (with_axes or filled or row.samples)[0]


def weighted(result):
    """One number that depends on every element of a result, or of several."""
    several = result if isinstance(result, (tuple, list)) else (result,)
    terms = [(part * np.cos(np.arange(part.size).reshape(part.shape))).sum() for part in several]
    return sum(terms[1:], terms[0])


# --- arguments of operations ---


def options_of(row):
    """The options of the row's samples, and those that have a number for a default."""
    options = [(sample, *option) for sample in row.samples for option in sample.options.items()]
    sample = first_filled(row)
    for function in (row.function, getattr(mg, row.name)):
        for name, parameter in inspect.signature(function).parameters.items():
            if isinstance(parameter.default, (int, float)) and name not in sample.options:
                options.append((sample, name, parameter.default))
    return options


def as_leaves(value):
    """Numbers as a tensor that requires a gradient, and as a list of such tensors."""
    if isinstance(value, (bool, tuple)):  # a flag, an index of several parts, a shape
        value = [part for part in value if type(part) is int] if isinstance(value, tuple) else []
    if isinstance(value, list) and any(isinstance(part, list) for part in value):
        value = value[0]  # a list of lists of several lengths
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "fiub" or numbers.size == 0:
        return []
    whole = leaf(numbers)
    parts = [leaf(number) for number in numbers.reshape(-1)]
    return [(whole, [whole]), (parts, parts)]


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.name}-{i}" for i, row in enumerate(TABLE)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_argument_that_requires_a_gradient_gets_one_or_is_refused(row):
    for sample, name, value in options_of(row):
        for argument, leaves in as_leaves(value):
            options = {**sample.options, name: argument}
            try:
                result = row.function(*[mg.tensor(array) for array in sample.inputs], **options)
            except REFUSED:
                continue
            assert result.requires_grad, (row.name, name)
            gradients = mg.grad(weighted(result), leaves)
            if row.name != "power":  # which test_gradients.py checks, also where it has none
                assert any(gradient.any() for gradient in gradients), (row.name, name)


def normalised_batch(mean=None, var=None, **options):
    running = [mg.tensor(np.ones(1)) if each is None else each for each in (mean, var)]
    return mg.batch_norm(np.eye(2)[:, None], [1.0], [0.0], *running, training=True, **options)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda t: mg.clip([1.0], t, 2.0), "clip: `low`"),
        (lambda t: mg.clip([1.0], 0.0, high=t), "clip: `high`"),
        (lambda t: mg.where(t, [1.0], [2.0]), "where: `condition`"),
        (lambda t: mg.where([t, t], [1.0, 1.0], [2.0, 2.0]), "where: `condition`"),
        (lambda t: mg.layer_norm([[1.0, 2.0]], [1.0, 1.0], [0.0, 0.0], t), "layer_norm: `eps`"),
        (lambda t: mg.normalize([1.0, 2.0], eps=t), "normalize: `eps`"),
        (lambda t: mg.dropout([1.0], t, np.random.default_rng(0)), "dropout: `p`"),
        (lambda t: mg.attention([[1.0]], [[1.0]], [[1.0]], mask=t), "attention: `mask`"),
        (lambda t: mg.self_attention([[[1.0, 1, 1]]], 1, mask=t), "self_attention: `mask`"),
        (lambda t: mg.attention([[1.0]], [[1.0]], [[1.0]], dropout=t), "attention: `dropout`"),
        (lambda t: mg.take([1.0, 2.0], t), "take: `indices`"),
        (lambda t: normalised_batch(eps=t), "batch_norm: `eps`"),
        (lambda t: normalised_batch(momentum=t), "batch_norm: `momentum`"),
        (lambda t: normalised_batch(mean=t.reshape(1)), "batch_norm: `running_mean`"),
        (lambda t: normalised_batch(var=t.reshape(1)), "batch_norm: `running_var`"),
        (lambda t: mg.grad(mg.tensor(1.0, requires_grad=True), (), t), "grad: `cotangent`"),
        (lambda t: mg.tensor(1.0, requires_grad=True).backward(t), "backward: `cotangent`"),
        (lambda t: mg.tensor(t), "tensor: `data`"),
        (lambda t: mg.tensor([[1.0], [t]]), "tensor: `data`"),
    ],
)
def test_the_error_names_the_argument(call, argument):
    with pytest.raises(TypeError, match=argument):
        call(leaf(0.5))
    with mg.no_grad():  # where nothing can be lost, nothing is refused
        try:
            call(leaf(0.5))
        except (TypeError, ValueError, RuntimeError) as error:
            assert argument not in str(error)


def test_an_argument_without_a_gradient_may_be_a_tensor():
    x = np.array([[1.0, 3.0]], np.float32)
    eps, low = mg.tensor(np.array(1e-3)), mg.tensor(np.array(2.0))
    assert mg.layer_norm(x, x[0], x[0], eps).dtype == np.float32
    assert np.array_equal(
        mg.layer_norm(x, x[0], x[0], eps).data, mg.layer_norm(x, x[0], x[0], 1e-3).data
    )
    assert mg.clip(x, low).data.tolist() == [[2.0, 3.0]]


def test_the_plain_attention_gives_a_learned_mask_its_gradient():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, 4)) for _ in range(3))
    report = mg.gradcheck(
        lambda mask: plain.attention(mg.tensor(q), mg.tensor(k), mg.tensor(v), mask),
        [rng.standard_normal((3, 3))],
    )
    assert report.method == "complex"


# --- lists that hold tensors ---


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.name}-{i}" for i, row in enumerate(TABLE)])
def test_a_list_of_tensors_is_stacked_on_the_tape_or_refused(row):
    sample = first_filled(row)
    for position, array in enumerate(sample.inputs):
        if not array.size or not array.ndim:
            continue
        inputs = [mg.tensor(other) for other in sample.inputs]
        whole = leaf(array)
        inputs[position] = whole
        expected = row.function(*inputs, **sample.options)
        (gradient,) = mg.grad(weighted(expected), whole)
        parts = [leaf(part) for part in array]
        inputs[position] = parts
        try:
            result = row.function(*inputs, **sample.options)
        except AttributeError:  # they are for tensors only; the table asks batch_norm's for shapes
            assert row.name in ("to", "astype", "batch_norm")
            continue
        np.testing.assert_allclose(np.stack(mg.grad(weighted(result), parts)), gradient)


def test_lists_of_any_kind():
    x, y = leaf([2.0, 3.0]), leaf([5.0, 7.0])
    assert mg.grad((x * [x, x]).sum(), x)[0].tolist() == [8.0, 12.0]
    assert mg.grad(([x, y] * x).sum(), (x, y))[1].tolist() == [2.0, 3.0]
    assert mg.grad(mg.sum([[x[0], 1.0], [2, y[1]]]), (x, y))[1].tolist() == [0.0, 1.0]
    assert mg.grad(mg.stack([[x, y], (y, x)]).sum(), x)[0].tolist() == [2.0, 2.0]
    with pytest.raises(
        ValueError, match=r"mul: the tensors of a list have shapes \[\(2,\), \(\)\]"
    ):
        x * [x, x[0]]
    single = mg.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="mul: inputs have dtypes float64, float32"):
        x * [x, single]
    with mg.no_grad():
        assert not (x * [x, x]).requires_grad
        assert mg.tensor([x, y]).data.tolist() == [[2.0, 3.0], [5.0, 7.0]]
    constants = [mg.tensor(np.array(1.0)), mg.tensor(np.array(2.0))]
    assert mg.tensor(constants).data.tolist() == [1.0, 2.0]


# --- NumPy's functions ---


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.name}-{i}" for i, row in enumerate(TABLE)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numpy_on_tensors_is_the_operation_or_an_error(row):
    """The references of the table are written with NumPy.

    That of cross_entropy asks for single numbers, with math.log.
    """
    if row.name == "cross_entropy":
        return
    sample = first_filled(row)
    leaves = [leaf(array) for array in sample.inputs]
    try:
        result = row.reference(*leaves, **sample.options)
    except REFUSED:
        return
    expected = mg.grad(weighted(row.function(*leaves, **sample.options)), leaves)
    for found, right in zip(mg.grad(weighted(result), leaves), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-14)


def numpy_functions():
    kinds = (np.ufunc, type(np.sum))
    for module in (np, np.linalg, np.fft):
        for name in sorted(dir(module)):
            function = getattr(module, name)
            if isinstance(function, kinds) and not name.startswith("save"):
                yield pytest.param(function, id=f"{module.__name__}.{name}")
    for function in (np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.float64):
        yield pytest.param(function, id=function.__name__)


@pytest.mark.parametrize("function", list(numpy_functions()))
@pytest.mark.filterwarnings("ignore")
def test_no_function_of_numpy_cuts_the_tape(function):
    x, square = leaf([0.3, 0.6, 0.9]), leaf(np.eye(3) + 0.1)
    calls = [(x,), (x, x), (square,), (square, square), ([x, x],), ((x, x), 0), (x, 1)]
    calls += [(x, [x, x, x]), (x, x, x), ([x], [x]), (lambda a: a, x), (x[:1],)]
    if isinstance(function, np.ufunc):
        calls += [(np.ones(3), x), (1.0, x), (np.ones(3), [x, x, x])]
    for inputs in calls:
        try:
            result = function(*inputs)
        except Exception:
            continue
        if function is np.float64:  # a number was asked for
            continue
        several = result if isinstance(result, (tuple, list)) else (result,)
        on_tape = all(isinstance(part, mg.Tensor) and part.requires_grad for part in several)
        without_tensors = np.asarray(result).dtype.kind in "biuSUO" if not on_tape else False
        assert on_tape or without_tensors or function.__name__ in WITHOUT_GRADIENT, inputs


def test_numpy_functions_have_our_results():
    x = leaf([[1.0, 4.0], [9.0, 16.0]])
    flat = x.reshape(-1)
    same = {
        "sum": (np.sum(x), mg.sum(x)),
        "sum by keywords": (np.sum(x, axis=1, keepdims=True), mg.sum(x, 1, True)),
        "sum by position": (np.sum(x, 0, None, None, True), mg.sum(x, 0, True)),
        "exp": (np.exp(x), mg.exp(x)),
        "multiply": (np.multiply(2.0, x), x * 2.0),
        "left array": (np.ones((2, 2)) - x, 1.0 - x),
        "left scalar": (np.float64(2) * x, x * 2.0),
        "matrix": (np.ones((2, 2)) @ x, mg.matmul(np.ones((2, 2)), x)),
        "reshape": (np.reshape(x, (4, 1)), x.reshape(4, 1)),
        "take from all": (np.take(x, [3, 0]), flat[[3, 0]]),
        "take along an axis": (np.take(x, [1], axis=1), mg.take(x, [1], 1)),
        "clip": (np.clip(x, 2.0, 10.0), x.clip(2.0, 10.0)),
        "clip by keyword": (np.clip(x, max=10.0), x.clip(high=10.0)),
        "norm": (np.linalg.norm(x, axis=-1), mg.norm(x, -1)),
        "pad": (np.pad(x, 1), mg.pad(x, 1)),
        "swapaxes": (np.swapaxes(x, 0, 1), x.T),
        "concatenate": (np.concatenate([x, np.ones((1, 2))]), mg.concatenate([x, np.ones((1, 2))])),
        "einsum": (np.einsum("ij,ij->i", x, x), mg.einsum("ij,ij->i", x, x)),
        "where": (np.where([True, False], x, 0.0), mg.where([True, False], x, 0.0)),
    }
    for name, (found, right) in same.items():
        assert np.array_equal(found.data, right.data), name
        pair = [mg.grad(weighted(each), x)[0] for each in (found, right)]
        assert np.array_equal(*pair), name


def test_numpy_functions_that_are_refused_name_what_is_near():
    x = leaf([1.0, 2.0])
    for call, text in [
        (lambda: np.dot(x, x), "np.dot: .*use mg.matmul or mg.einsum"),
        (lambda: np.vstack([x, x]), "np.vstack: .*use mg.concatenate"),
        (lambda: np.median(x), "np.median: "),
        (lambda: np.nanmean(x), "np.nanmean: .*mg.mean"),
        (lambda: np.add.reduce(x), "np.add.reduce: .*mg.add"),
        (lambda: np.sum(x, dtype=np.float32), r"np.sum: `dtype` is not possible .*mg.sum\(x"),
        (lambda: np.sum(x, where=np.array([True, False])), "np.sum: `where` is not possible"),
        (lambda: np.concatenate([x, x], out=np.ones(4)), "np.concatenate: `out` is not possible"),
        (lambda: np.exp(x, where=[True, False]), "np.exp: `where` is not possible"),
        (lambda: np.linalg.norm(x, ord=1), "np.norm: `ord` is not possible"),
        (lambda: np.add(np.ones(2), x, out=np.ones(2)), r"np.add: .*array = array \+ x"),
        (lambda: np.sum([x, x]), r"pass x.numpy\(\)"),
        (lambda: np.array([x, x]), r"pass x.numpy\(\)"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()
    array = np.ones(2)
    with pytest.raises(TypeError, match=r"np\.add: the result is a tensor"):
        array += x
    assert all(name not in mg.__all__ for name in (*OUR_NAMES, *INSTEAD))


def test_numpy_computes_what_has_no_gradient():
    x = leaf([1.0, 3.0, 2.0])
    assert np.argmax(x) == 1 and np.shape(x) == (3,) and np.isfinite(x).all()
    assert np.allclose(x, [1.0, 3.0, 2.0]) and np.sign(x).tolist() == [1.0, 1.0, 1.0]
    assert (np.array([2.0, 2.0, 2.0]) < x).tolist() == [False, True, False]
    constant = x.detach()
    assert np.median(constant) == 2.0 and np.asarray(constant) is constant.data
    with mg.no_grad():
        assert np.median(x) == 2.0 and np.asarray(x) is x.data


# --- arrays that change between forward and backward ---


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.name}-{i}" for i, row in enumerate(TABLE)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_changed_array_is_noticed_if_the_gradient_needs_it(row):
    sample = first_filled(row)
    for position in range(len(sample.inputs) + 1):
        leaves = [leaf(array) for array in sample.inputs]
        with mg.detect_anomaly():
            result = row.function(*leaves, **sample.options)
            first = result[0] if isinstance(result, tuple) else result
            loss = weighted(first * 1.0)
            expected = mg.grad(loss, leaves, retain_graph=True)
            changed = (*leaves, first)[position]
            if 0 in changed.data.strides:  # one number at many positions: read only
                continue
            changed.data[...] = changed.data * 0.75 + 0.1
            try:
                found = mg.grad(loss, leaves)
            except RuntimeError as error:
                assert "has changed since the forward pass; called at" in str(error)
                continue
        assert all(map(np.array_equal, found, expected)), position


def test_the_message_names_operation_and_line():
    x = leaf([1.0, 2.0])
    with mg.detect_anomaly():
        y = mg.exp(x)
        line = inspect.currentframe().f_lineno - 1
        y.data[0] = 7.0
        with pytest.raises(RuntimeError, match=rf"exp: an array \(2,\) .*{__file__}:{line}\."):
            y.sum().backward()
    assert x.grad is None


def test_a_changed_input_of_a_checkpoint_is_noticed():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    for changed in (x, w):
        with mg.detect_anomaly():
            y = mg.checkpoint(lambda x: x * w, x)
            changed.data += 1.0
            with pytest.raises(RuntimeError, match="checkpoint: an array"):
                y.sum().backward()
