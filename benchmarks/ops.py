"""What does one operation cost, forward and backward?

    python -m benchmarks.ops

First the price of the tape: a small addition with a gradient, and a chain of a hundred,
beside the same in NumPy alone. Then the operations of a transformer on arrays of a
usual size, beside PyTorch's where it is installed, one thread each, in turns. The last
line is one JSON object.
"""

import importlib.util
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

import minigrad as mg
from minigrad.threads import blas_threads

Run = Callable[[], object]


def medians(sides: dict[str, Run], rounds: int = 15, seconds: float = 0.02) -> dict[str, float]:
    """Microseconds a call; the sides take turns of about `seconds` each."""
    counts = {}
    for name, run in sides.items():
        run()
        started = time.perf_counter()
        run()
        counts[name] = max(1, int(seconds / (time.perf_counter() - started)))
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            started = time.perf_counter()
            for _ in range(counts[name]):
                run()
            spent[name].append(1e6 * (time.perf_counter() - started) / counts[name])
    return {name: statistics.median(times) for name, times in spent.items()}


def overhead() -> dict[str, dict[str, float]]:
    """A small addition, and a chain of a hundred with its backward pass."""
    a = np.ones((8, 8), np.float32)
    x, y = (mg.tensor(a.copy(), requires_grad=True) for _ in range(2))

    def chain(start: object, other: object) -> object:
        for _ in range(100):
            start = start + other
        return start

    def forward_and_backward() -> None:
        chain(x, y).backward(a)
        x.grad = y.grad = None

    return {
        "add": medians({"numpy": lambda: a + a, "minigrad": lambda: x + y}),
        "chain of 100": medians({"numpy": lambda: chain(a, a), "minigrad": forward_and_backward}),
    }


def _ours(fn: Callable[..., mg.Tensor], arrays: list[np.ndarray]) -> Run:
    inputs = [mg.tensor(each, requires_grad=True) for each in arrays]
    g = np.random.default_rng(1).standard_normal(fn(*inputs).shape, dtype=np.float32)
    return lambda: mg.grad(fn(*inputs), inputs, g)


def _torch(fn: Callable, arrays: list[np.ndarray]) -> Run:
    import torch

    inputs = [torch.from_numpy(each).requires_grad_() for each in arrays]
    g = torch.randn(fn(*inputs).shape)
    return lambda: torch.autograd.grad(fn(*inputs), inputs, g)


def operations() -> dict[str, dict[str, float]]:
    """Operations on (128, 65, 128), the tokens of a batch of small images."""
    rng = np.random.default_rng(0)
    batch, length, width, heads = 128, 65, 128, 4
    shapes = {
        "linear": [(batch, length, width), (4 * width, width), (4 * width,)],
        "layer_norm": [(batch, length, width), (width,), (width,)],
        "quick_gelu": [(batch, length, 4 * width)],
        "gelu": [(batch, length, 4 * width)],
        "self_attention": [(batch, length, 3 * width)],
    }
    ours = {name: getattr(mg, name) for name in shapes}
    ours["self_attention"] = lambda qkv: mg.self_attention(qkv, heads)
    theirs: dict[str, Callable] = {}
    if importlib.util.find_spec("torch"):
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(1)

        def attention(qkv):
            q, k, v = qkv.reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

        theirs = {"linear": F.linear, "gelu": F.gelu, "self_attention": attention}
        theirs["layer_norm"] = lambda x, w, b: F.layer_norm(x, (width,), w, b)
        theirs["quick_gelu"] = lambda x: x * torch.sigmoid(1.702 * x)
    results = {}
    for name, sizes in shapes.items():
        arrays = [rng.standard_normal(size, dtype=np.float32) for size in sizes]
        sides = {"minigrad": _ours(ours[name], arrays)}
        if name in theirs:
            sides["torch"] = _torch(theirs[name], arrays)
        results[name] = medians(sides, rounds=7)
    return results


def main() -> None:
    with blas_threads(1):
        results = overhead() | operations()
    for name, times in results.items():
        shown = "  ".join(f"{side} {time:,.2f} us" for side, time in times.items())
        ratios = {
            f"minigrad / {side}": round(times["minigrad"] / time, 2)
            for side, time in times.items()
            if side != "minigrad"
        }
        print(f"{name:<16}{shown}  {ratios}")
        times |= ratios
    print(json.dumps(results))


if __name__ == "__main__":
    main()
