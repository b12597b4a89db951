"""The kernels' own text: CUDA's compiler accepts it, and on the CPU it computes right.

Compiling needs NVRTC, running needs a C++ compiler; neither needs a GPU.
"""

import cuda_on_cpu
import device_checks as checks
import numpy as np
import nvrtc
import pytest
from device_runs import events_of_a_step, losses_of
from gradient_checks import assert_agree, gradients_of, largest, outputs_of, random_cotangents
from kernel_texts import check_agree, running_texts
from op_table import TABLE, Row, Sample
from strict_cupy.events import watching
from strict_cupy.modules import installed

import minigrad as mg
from minigrad.backend import move
from minigrad.kernels.catalogue import KERNELS
from minigrad.kernels.launching import REAL, Kernel

ARCHITECTURES = ("sm_80", "sm_90")  # A100, H100
compiles = pytest.mark.skipif(bool(nvrtc.why_not()), reason=nvrtc.why_not())
runs = pytest.mark.skipif(bool(cuda_on_cpu.why_not()), reason=cuda_on_cpu.why_not())
FUSED = [row for row in TABLE if row.composed is not None]


@pytest.fixture(autouse=True)
def stand_in(request):
    if request.config.getoption("--stand-in"):
        pytest.skip("installs the stand-in by itself")
    with installed():
        yield


# --- compiled ---


@compiles
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("letter", REAL)
def test_all_kernels_compile(letter, architecture):
    made = nvrtc.machine_code(cuda_on_cpu.text_of(KERNELS, letter), architecture)
    assert made.startswith(b"\x7fELF")
    assert [kernel.name for kernel in KERNELS if kernel.name.encode() not in made] == []


@compiles
def test_the_compiler_complains():
    code = KERNELS[0].code("float").replace("blockIdx.x", "blockIndex.x")
    with pytest.raises(nvrtc.CompilationError, match="blockIndex"):
        nvrtc.machine_code(code, ARCHITECTURES[0])


# --- run on the CPU ---


@runs
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("row", FUSED, ids=lambda row: row.name)
def test_an_operation_by_its_text_is_its_plain_form(row, dtype, tolerance):
    with running_texts():
        for sample in row.samples:
            if all(array.size for array in sample.inputs):
                check_plain_form(row, sample, dtype, tolerance)


def check_plain_form(row: Row, sample: Sample, dtype: str, tolerance: float) -> None:
    """Values and gradients on the stand-in agree with the plain form's in float64."""
    expected, results, cotangents = gradients_of(row.composed, sample)
    leaves = [mg.tensor(a.astype(dtype), True, backend="cupy") for a in sample.inputs]
    outputs = outputs_of(row.function, leaves, sample.options)
    on_device = [move(g.astype(dtype), "cupy") for g in cotangents]
    gradients = checks.pull_back(outputs, leaves, on_device)
    size = max(largest(sample.inputs), largest(cotangents), 1.0)
    for found, wanted in zip(outputs, results):
        assert_agree(move(found.data, "numpy"), wanted.data, tolerance, 100 * size)
    for found, wanted in zip(gradients, expected):
        assert_agree(move(found, "numpy"), wanted, tolerance, 100 * size)


@runs
def test_training_by_texts_is_that_of_numpy():
    expected, _ = losses_of("numpy", 2)
    with running_texts():
        found, reads = losses_of("cupy", 2)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert reads == []


def test_every_kernel_is_launched():
    """By an operation of the table, by an optimizer, or in a training step."""
    with watching() as events:
        checks.check_optimizers()
    launched = {*events.launches, *events_of_a_step().launches}
    for row in [row for row in TABLE if row.name != "to"]:
        sample = row.samples[0]
        leaves = [mg.tensor(a.astype("f4"), True, backend="cupy") for a in sample.inputs]
        with watching() as events:
            outputs = outputs_of(row.function, leaves, sample.options)
            if all(output.requires_grad for output in outputs):
                cotangents = [move(g, "cupy") for g in random_cotangents(outputs, 0)]
                checks.pull_back(outputs, leaves, cotangents)
        launched |= set(events.launches)
    assert {kernel.name for kernel in KERNELS} <= launched


# --- what the player of kernels notices ---

WAITS = """
extern "C" __global__ void waits_in_a_branch(const real *x, real *y) {
    if (threadIdx.x < 40)
        __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}
"""
RACE = """
extern "C" __global__ void races(const real *x, real *y) {
    __shared__ real shared[64];
    shared[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = shared[63 - threadIdx.x];
}
"""
SUM = """
extern "C" __global__ void adds(const real *x, real *y) {
    const real sum = block_sum(x[threadIdx.x]);
    const real most = block_largest(x[threadIdx.x]);
    y[threadIdx.x] = threadIdx.x % 2 ? sum : most;
}
"""


@runs
def test_the_player_of_kernels_notices_mistakes():
    texts = {"waits_in_a_branch": WAITS, "races": RACE, "adds": SUM}
    kernels = [Kernel(name, text) for name, text in texts.items()]
    loaded = cuda_on_cpu.build(kernels, "d")
    x, y, z = np.arange(64.0), np.zeros(64), np.zeros(64)
    with pytest.raises(cuda_on_cpu.ThreadsDisagreeError, match="waits_in_a_branch"):
        cuda_on_cpu.run(loaded, "waits_in_a_branch", 1, 64, [x, y])
    for name, agrees in (("races", False), ("adds", True)):
        cuda_on_cpu.run(loaded, name, 1, 64, [x, y])
        cuda_on_cpu.run(loaded, name, 1, 64, [x, z], backwards=True)
        assert np.array_equal(y, z) == agrees
    assert y.tolist() == [63.0, 2016.0] * 32


@runs
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("layer_norm_forward", "+ bias[i]", "- bias[i]"),
        ("layer_norm_backward", "removed = mean_gw +", "removed = mean_gw -"),
        ("layer_norm_backward", "row < rows", "row < rows - 1"),
    ],
)
def test_a_mistake_in_a_text_is_noticed(name, right, wrong, monkeypatch):
    kernels = [kernel for kernel in KERNELS if kernel.name.startswith("layer_norm")]
    (before,) = (kernel.source for kernel in kernels if kernel.name == name)
    assert before.count(right) == 1, f"{right!r} stands no more in {name}"
    planted = Kernel(name, before.replace(right, wrong))
    others = [kernel for kernel in kernels if kernel.name != name]
    loaded = cuda_on_cpu.build([planted, *others], "d")
    monkeypatch.setattr(cuda_on_cpu, "library", lambda letter: loaded)
    row = next(row for row in FUSED if row.name == "layer_norm")
    with running_texts(), pytest.raises(AssertionError, match=f"kernel {name}"):
        check_plain_form(row, row.samples[1], "float64", 1e-12)


def test_a_model_that_differs_is_noticed():
    with pytest.raises(AssertionError, match="kernel gelu"):
        check_agree("gelu", np.ones(3), np.array([1.0, 1.0, 1.1]), 1e-6, 1e-6)
