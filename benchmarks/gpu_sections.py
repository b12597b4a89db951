"""What `benchmarks.gpu` asks a machine besides the times of its steps.

    python -m benchmarks.gpu_sections losses --backend cupy

A section runs in a process of its own and prints its findings as lines of JSON.
"""

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.gpu_clock import median_time
from benchmarks.gpu_steps import find
from clip_np import CLIP
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.training import training_step
from minigrad.backend import move
from minigrad.optim import AdamW

ROOT = Path(__file__).parents[1]
SIDE = 4096  # rows and columns of the matrices that show how fast products are
AGREE = 1e-10  # how far a float64 loss may be from NumPy's
VOCABULARY, END = 20, 19

Batch = tuple[np.ndarray, np.ndarray]


class Options(NamedTuple):
    """What the command line asks for."""

    backend: str
    agree_steps: int
    jobs: int
    tests: str


# --- the machine ---


def machine(options: Options) -> None:
    """The GPU, its driver, and versions."""
    find(python=sys.version.split()[0], numpy=np.__version__, cores=os.cpu_count())
    if options.backend.startswith("cupy"):
        cupy = importlib.import_module("cupy")
        runtime = cupy.cuda.runtime
        properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
        find(gpu=properties["name"].decode(), memory_gb=properties["totalGlobalMem"] / 2**30)
        find(cupy=cupy.__version__, cuda=runtime.runtimeGetVersion())
        find(driver=runtime.driverGetVersion())
    if importlib.util.find_spec("torch"):
        find(torch=importlib.import_module("torch").__version__)


# --- the same losses ---


def small_config() -> CLIPConfig:
    vision = VisionConfig(image_size=8, patch_size=4, width=8, layers=2, heads=2)
    return CLIPConfig(8, vision, TextConfig(VOCABULARY, 7, width=8, layers=2, heads=2))


def small_batches(steps: int, dtype: str) -> Iterator[Batch]:
    """Images (8, 3, 8, 8) and ids (8, 7), with captions of many lengths."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        tokens = rng.integers(1, END - 1, (8, 7))
        tokens[np.arange(8), rng.integers(1, 7, 8)] = END
        yield rng.standard_normal((8, 3, 8, 8)).astype(dtype), tokens


def losses_of(
    config: CLIPConfig, backend: str, dtype: str, batches: Iterator[Batch], shards: int = 1
) -> np.ndarray:
    """The losses of a run."""
    model = CLIP(config, np.random.default_rng(0)).astype(dtype).to(backend)
    optimizer = AdamW(model.parameters(), lr=1e-2)
    results = [
        training_step(model, optimizer, images, tokens, shards=shards)["loss"]
        for images, tokens in batches
    ]
    return np.array([float(move(loss, "numpy")) for loss in results])


def losses(options: Options) -> None:
    """Training on NumPy and on the GPU: how far apart are the losses?"""
    steps, config = options.agree_steps, small_config()
    for name, dtype, shards in (
        ("float64", "float64", 1), ("float64_shards", "float64", 3), ("float32", "float32", 1)
    ):  # fmt: skip
        expected, found = (
            losses_of(config, backend, dtype, small_batches(steps, dtype), shards)
            for backend in ("numpy", options.backend)
        )
        gap = float(np.abs(found - expected).max())
        find(**{f"{name}_gap": gap, f"{name}_first": expected[0], f"{name}_last": expected[-1]})
        if dtype == "float64":
            find(**{f"{name}_ok": gap <= AGREE})
    if options.backend.startswith("cupy"):
        find(step_waits=waiting_of_a_step(config, options.backend))


def waiting_of_a_step(config: CLIPConfig, backend: str) -> str:
    """What makes a step wait for the GPU, or "nothing"; CuPy forbids to wait."""
    cupyx = importlib.import_module("cupyx")
    model = CLIP(config, np.random.default_rng(0)).to(backend)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    first, second = small_batches(2, "float32")
    training_step(model, optimizer, *first)
    try:
        with cupyx.allow_synchronize(False):
            training_step(model, optimizer, *second)
    except Exception as error:  # CuPy has a class of its own for this, and hides it
        return f"{type(error).__name__}: {error}"
    return "nothing"


# --- launches, without a profiler ---


def launches(options: Options) -> None:
    """Launches of a step, as the stand-in for CuPy counts them (tests/helpers)."""
    counting = importlib.import_module("device_launches")
    find(**counting.launches_by_config())


# --- what the GPU can do at best ---


def peak(options: Options) -> None:
    """The rate of a large float32 product, of a copy, and the price of a launch."""
    if not options.backend.startswith("cupy"):
        find(skipped="a figure of GPUs")
        return
    cupy = importlib.import_module("cupy")
    a, b, c = (cupy.full((SIDE, SIDE), 0.5, "float32") for _ in range(3))
    number = cupy.zeros(1, "float32")
    ms = median_time(lambda: cupy.matmul(a, b, out=c), options.backend)
    find(product_tflops=2 * SIDE**3 / ms / 1e9)
    find(copy_gb_s=2 * a.nbytes / median_time(lambda: cupy.copyto(c, a), options.backend) / 1e6)
    launch = median_time(lambda: cupy.negative(number, out=number), options.backend, calls=500)
    find(launch_us=1e3 * launch)


# --- the tests, on CuPy itself ---


def gradients(options: Options) -> None:
    """The proof of the derivatives."""
    run_tests(options, "gradient and not mutants")


def suite(options: Options) -> None:
    """All other tests."""
    run_tests(options, "not gradient and not mutants")


def run_tests(options: Options, marked: str) -> None:
    """Run tests, whose arrays go to the GPU (tests/helpers/real_cupy.py)."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked]
    command += ["--hypothesis-profile=quick", "--tb=line", "--maxfail=200"]
    if options.backend.startswith("cupy"):
        command += ["-p", "real_cupy"]
    if options.jobs > 1 and importlib.util.find_spec("xdist"):
        command += ["-n", str(options.jobs)]
    done = subprocess.run(
        [*command, *options.tests.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, file=sys.stderr)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line[:200] for line in lines if line.startswith(("FAILED", "ERROR"))]
    summary = [line for line in lines if " passed" in line or " failed" in line]
    find(code=done.returncode, summary=summary[-1] if summary else "", failed=failed[:20])


SECTIONS: dict[str, Callable[[Options], None]] = {
    section.__name__: section for section in (machine, losses, launches, peak, gradients, suite)
}


def options_of(arguments: argparse.Namespace) -> Options:
    return Options(
        backend=arguments.backend,
        agree_steps=arguments.agree_steps,
        jobs=arguments.jobs,
        tests=arguments.tests,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that this command and `benchmarks.gpu` share."""
    parser.add_argument("--backend", default="cupy", help='"cupy", "cupy:1", or "numpy" to try it')
    parser.add_argument("--agree-steps", type=int, default=50, help="steps beside NumPy's (50)")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--tests", default="tests", help="what pytest collects")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("section", choices=SECTIONS)
    add_options(parser)
    parsed = parser.parse_args(arguments)
    SECTIONS[parsed.section](options_of(parsed))


if __name__ == "__main__":
    main()
