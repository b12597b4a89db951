"""Operations on a GPU's arrays launch kernels, and compute what they compute on NumPy.

Here on the stand-in, which checks what a kernel is handed and runs its model.
"""

import re

import numpy as np
import pytest
from kernel_models import MODELS
from paths import ROOT
from strict_cupy import kernels
from strict_cupy.modules import counting_reads, installed

import minigrad as mg
from minigrad.backend import move
from minigrad.kernels.catalogue import KERNELS
from minigrad.kernels.launching import MOST_THREADS, choose, contiguous


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def results(function, arrays, backend):
    """The value and the gradients, on the host, and the kernels that were launched."""
    tensors = [mg.tensor(array, requires_grad=True, backend=backend) for array in arrays]
    before = len(kernels.launches)
    with counting_reads() as reads:
        value = function(*tensors)
        cotangent = numbers(*value.shape, dtype=arrays[0].dtype, seed=1)
        value.backward(move(cotangent, backend))
    assert reads == []
    found = [value.data, *[tensor.grad for tensor in tensors]]
    assert {array.dtype for array in found} == {arrays[0].dtype}
    return [move(array, "numpy") for array in found], kernels.launches[before:]


def check(function, arrays, names, backend="cupy"):
    """Hold the operation's results against NumPy's, and its launches against names."""
    expected, none = results(function, arrays, "numpy")
    found, launched = results(function, arrays, backend)
    assert none == []
    assert launched == [f"{name}_forward" for name in names] + [
        f"{name}_backward" for name in reversed(names)
    ]
    tolerance = 1e-5 if arrays[0].dtype == np.float32 else 1e-12
    for result, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 300), (1,), (0, 4), (2, 0), (7, 1)])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (mg.layer_norm, "layer_norm"),
        (mg.softmax, "softmax"),
        (lambda x: mg.softmax(x, axis=0), "softmax"),
        (mg.gelu, "gelu"),
        (lambda x: mg.gelu(x, approximate="tanh"), "tanh_gelu"),
        (mg.quick_gelu, "quick_gelu"),
    ],
)
def test_an_operation_is_a_kernel(function, name, shape, dtype):
    arrays = [numbers(*shape, dtype=dtype)]
    if function is mg.layer_norm:
        arrays += [numbers(shape[-1], dtype=dtype, seed=seed) for seed in (2, 3)]
    check(function, arrays, [name] if 0 not in shape else [])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("labels", [np.array([2, 0, 3, 3]), np.array([[1, 0], [0, 2]], np.uint8)])
def test_cross_entropy_is_a_kernel(labels, reduction):
    logits = numbers(*labels.shape, 4)
    logits.reshape(4, 4)[1] = -np.inf  # of which nothing may be chosen
    logits.reshape(4, 4)[1, 2] = 0.0
    check(lambda x: mg.cross_entropy(x, labels, reduction), [logits[..., :]], ["cross_entropy"])


def a_mask(*shape):
    mask = np.random.default_rng(5).random(shape) < 0.6
    mask[..., 0, :] = False  # a query that may see nothing
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        *(None, "causal", numbers(5, 5), a_mask(5, 5), a_mask(1, 5), a_mask(5, 1), np.array(1.5)),
        *(a_mask(2, 1, 1, 5), a_mask(2, 1, 5, 5), a_mask(1, 3, 5, 5), a_mask(2, 3, 5, 5)),
        *(a_mask(3, 1, 5), numbers(5)),
    ],
    ids=lambda mask: mask if isinstance(mask, str) else str(np.shape(mask)),
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention_has_a_kernel_for_softmax_with_any_mask(mask, dtype):
    arrays = [numbers(2, 3, 5, 4, dtype=dtype, seed=seed) for seed in range(3)]
    check(lambda q, k, v: mg.attention(q, k, v, mask), arrays, ["softmax"])
    qkv = numbers(2, 5, 36, dtype=dtype)
    check(lambda qkv: mg.self_attention(qkv, 3, mask), [qkv], ["softmax"], "cupy:1")


def test_a_mask_may_be_shared_by_every_second_matrix():
    arrays = [numbers(2, 2, 3, 4, 2, seed=seed) for seed in range(3)]
    for shape in ((1, 2, 1, 4, 4), (2, 1, 3, 4, 4), (2, 1, 1, 1, 4)):
        mask = a_mask(*shape)
        check(lambda q, k, v, mask=mask: mg.attention(q, k, v, mask), arrays, ["softmax"])


def test_gaps_between_the_numbers_are_closed():
    def function(x):
        y = mg.layer_norm(x.T[:, 1:], x[1:, 0], x[1:, 1])
        return mg.quick_gelu(mg.softmax(y, axis=0).T).sum(axis=0)  # g is one row, repeated

    check(function, [numbers(6, 9)], ["layer_norm", "softmax", "quick_gelu"])


def test_the_kernels_of_another_device_run_there():
    check(mg.gelu, [numbers(3, 4)], ["gelu"], backend="cupy:1")


def test_large_and_nan_rows_are_as_on_the_cpu():
    rows = numbers(5, 8)
    rows[0] *= 1e30  # whose squares are infinite in float32
    rows[1, 2], rows[2, 3] = np.nan, np.inf
    row = numbers(8, seed=2)
    for function, name in ((mg.softmax, "softmax"), (mg.gelu, "gelu")):
        with np.errstate(all="ignore"):
            check(function, [rows], [name])
    found, _ = results(mg.layer_norm, [rows, row, row], "cupy")
    with np.errstate(all="ignore"):
        expected, _ = results(mg.layer_norm, [rows, row, row], "numpy")
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)


def test_complex_numbers_have_no_kernel():
    x = numbers(3, 4, dtype="complex128")
    before = len(kernels.launches)
    y = mg.softmax(mg.tensor(x, backend="cupy"))
    assert len(kernels.launches) == before
    np.testing.assert_allclose(move(y.data, "numpy"), mg.softmax(x).data)


def test_choose_and_contiguous():
    on_gpu, complex_numbers = (mg.tensor(numbers(2, 2), backend="cupy").data for _ in range(2))
    complex_numbers = complex_numbers.astype(np.complex128)
    assert choose(numbers(2), portable=min, on_gpu=max) is min
    assert choose(on_gpu, portable=min, on_gpu=max) is max
    assert choose(complex_numbers, portable=min, on_gpu=max) is min
    assert contiguous(on_gpu) is on_gpu
    assert contiguous(on_gpu.T).flags.c_contiguous


# --- the texts ------------------------------------------------------------------------


def test_every_kernel_has_a_model_and_a_name_of_its_own():
    names = [kernel.name for kernel in KERNELS]
    assert sorted(names) == sorted(set(names)) == sorted(MODELS)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_keeps_to_the_rules(kernel):
    types = kernels.parameter_types(kernel.code("float"), kernel.name)
    assert set(types) <= {"real *", "long long *", "long long", "double"}
    assert re.search(r"\bint\b", kernel.source) is None  # positions are long long
    assert "float" not in kernel.source and kernel.code("float").startswith("typedef float real;")
    # A bare 0.5 is a double, and so is then what it is multiplied with.
    assert re.findall(r"\d\.\d*", re.sub(r"real\([^()]*\)", "", kernel.source)) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (lambda x: (x, x, 3), "argument 0 is float64, not float"),
        (lambda x: (x[:, ::2], x, 3), "not float"),
        (lambda x: (x, x), "2 arguments for 3"),
        (lambda x: (x, x, 3.0), "argument 2 is <class 'float'>, not long long"),
    ],
)
def test_the_stand_in_refuses_what_a_gpu_would_misread(arguments, complaint):
    import cupy

    kernel = next(kernel for kernel in KERNELS if kernel.name == "gelu_forward")
    x = mg.tensor(numbers(2, 4, dtype="float64" if "float64" in complaint else "float32"))
    compiled = cupy.RawKernel(kernel.code("float"), kernel.name)
    with pytest.raises(TypeError, match=complaint):
        compiled((1,), (MOST_THREADS,), arguments(x.to("cupy").data))


def test_one_place_asks_where_an_array_lies():
    """`on_host` and `array_module` ask for NumPy's class, and nobody else does."""
    asking = re.compile(r"\b(xp|\w*module\(.*\)) (is|is not) np\b|(is|is not) np\.ndarray")
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for name in ("minigrad", "clip_np")
        for path in (ROOT / name).glob("**/*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if asking.search(line)
    }
    assert {line.partition(":")[0] for line in found} == {"minigrad/backend.py"}


def test_a_kernel_refuses_arrays_of_two_dtypes():
    x = mg.tensor(numbers(3, 4), backend="cupy").data
    kernel = next(kernel for kernel in KERNELS if kernel.name == "gelu_forward")
    with pytest.raises(TypeError, match="argument 1 has dtype float64, expected float32"):
        kernel.over_elements((x, x.astype(np.float64), x.size), x.size)
