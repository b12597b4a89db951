"""One side of the comparison on a GPU, in a process of its own.

    python -m benchmarks.gpu_steps ours base32 --backend cupy --steps 20

Each finding is printed as a line of JSON as soon as it is known. What was known before
a crash is thus kept.
"""

import argparse
import importlib
import importlib.util
import json
import math
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.configs import SETTINGS, Setting, resized
from benchmarks.gpu_clock import times_of

Step = Callable[[], Any]
OPTIONS = {"lr": 1e-4, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1}
PROFILED = 2  # steps


def find(**findings: Any) -> None:
    """Print what was found."""
    print(json.dumps(findings), flush=True)


def setting_of(name: str) -> Setting:
    """The setting "base32", or "ViT-B/32:64" with another batch."""
    name, _, batch = name.partition(":")
    return resized(SETTINGS[name], "batch", int(batch)) if batch else SETTINGS[name]


# --- the sides ---


def ours(setting: Setting, backend: str) -> Step:
    """minigrad and clip_np; images and ids come from the host at every step."""
    from clip_np import CLIP
    from clip_np.training import TrainingStep
    from minigrad.optim import AdamW

    model = CLIP(setting.config, np.random.default_rng(0)).to(backend)
    step = TrainingStep(model, AdamW(model.parameters(), **OPTIONS), max_norm=None)
    images, tokens = setting.data()
    return lambda: step(images, tokens)["loss"]


def torch(setting: Setting, backend: str, compiled: bool = False) -> Step:
    """PyTorch, eager, in float32; images and ids come from pinned memory."""
    torch = importlib.import_module("torch")
    from benchmarks.torch_clip import TorchCLIP, make_optimizer

    device = "cuda" if backend.startswith("cupy") else "cpu"
    torch.manual_seed(0)
    model = TorchCLIP(setting.config).to(device)
    run = torch.compile(model) if compiled else model
    optimizer = make_optimizer(model, **OPTIONS)
    inputs = [torch.from_numpy(array) for array in setting.data()]
    if device == "cuda":
        inputs = [tensor.pin_memory() for tensor in inputs]

    def step() -> Any:
        loss = run(*[tensor.to(device, non_blocking=True) for tensor in inputs])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100.0))
        return loss.detach()

    return step


def torch_compile(setting: Setting, backend: str) -> Step:
    """PyTorch, its model compiled."""
    return torch(setting, backend, compiled=True)


SIDES = {side.__name__: side for side in (ours, torch, torch_compile)}


# --- what is measured ---


def products_of_a_step(setting: Setting) -> float:
    """Floating-point operations of a step's products, every token in every layer.

    A multiplication comes with an addition. The way back has two products for each one
    of the way forward.
    """
    from clip_np import CLIP

    encoders = CLIP(setting.config, np.random.default_rng(0)).encoders
    vision = setting.config.vision
    images = np.zeros((1, 3, vision.image_size, vision.image_size), np.float32)
    lengths = {
        "vision": int(encoders["vision"].lengths(images)[0]),
        "text": setting.config.text.context_length,
    }
    cost = sum(encoder.cost(lengths[name]) for name, encoder in encoders.items())
    return 3.0 * 2.0 * cost * setting.batch


def memory_of(side: str) -> float:
    """The megabytes that the side's library holds on the GPU."""
    if side == "ours":
        pool = importlib.import_module("cupy").get_default_memory_pool()
        return pool.total_bytes() / 2**20
    return importlib.import_module("torch").cuda.max_memory_reserved() / 2**20


def launches_of(step: Step) -> dict[str, float]:
    """Launches in a step, and how long the GPU was busy, by PyTorch's profiler.

    The profiler sees the whole process, CuPy's kernels too.
    """
    torch = importlib.import_module("torch")
    profiler = torch.profiler
    torch.cuda.synchronize()
    with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as watched:
        for _ in range(PROFILED):
            step()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "trace.json")
        watched.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    work = [event for event in events if event.get("cat") in ("kernel", "gpu_memset")]
    busy = sum(event.get("dur", 0) for event in work)  # microseconds
    return {"launches": len(work) / PROFILED, "busy_ms": busy / PROFILED / 1e3}


def measure(side: str, name: str, backend: str, steps: int) -> None:
    """Print the times of a side's steps, its memory and its launches."""
    setting = setting_of(name)
    started = time.perf_counter()
    step = SIDES[side](setting, backend)
    clock = backend
    if side != "ours" and backend.startswith("cupy"):
        clock = "cuda"
    times = list(times_of(step, clock, steps))
    find(times=times, start_s=time.perf_counter() - started, loss=float(step().item()))
    find(flop=products_of_a_step(setting), batch=setting.batch)
    if not backend.startswith("cupy"):
        return
    find(memory_mb=memory_of(side))
    if importlib.util.find_spec("torch"):
        find(**launches_of(step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("config", help="a setting of benchmarks/configs.py, or NAME:BATCH")
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    measure(arguments.side, arguments.config, arguments.backend, arguments.steps)


if __name__ == "__main__":
    main()
