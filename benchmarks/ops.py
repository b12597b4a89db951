"""What does one operation cost, forward and backward?

    python -m benchmarks.ops

First the price of the tape: a small addition with a gradient, and a chain of a hundred,
beside the same in NumPy alone. Then the operations of a transformer on arrays of a
usual size, and the convolutions of RN50, beside PyTorch's where it is installed, one
thread each, in turns. Times are those of the processor, so that other programs on the
machine count little. A ratio is the median of the ratios of all turns. The last line is
one JSON object.

    python -m benchmarks.ops convolutions      # only these
"""

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import minigrad as mg
from minigrad.memory import Arena, using
from minigrad.threads import blas_threads

Run = Callable[[], object]


def medians(sides: dict[str, Run], rounds: int = 15, seconds: float = 0.02) -> dict[str, float]:
    """Microseconds a call, and ratios; the sides take turns of about `seconds` each."""
    counts = {}
    for name, run in sides.items():
        run()
        started = time.process_time()
        run()
        counts[name] = max(1, int(seconds / (time.process_time() - started)))
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            started = time.process_time()
            for _ in range(counts[name]):
                run()
            spent[name].append(1e6 * (time.process_time() - started) / counts[name])
    results = {name: statistics.median(times) for name, times in spent.items()}
    for name in spent.keys() - {"minigrad"}:
        ratios = [ours / theirs for ours, theirs in zip(spent["minigrad"], spent[name])]
        results[f"minigrad / {name}"] = round(statistics.median(ratios), 2)
    return results


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


class Convolution(NamedTuple):
    """A convolution of RN50: square images and filters, without bias."""

    channels: int
    filters: int
    kernel_size: int
    image_size: int
    stride: int = 1

    def __str__(self) -> str:
        size = self.kernel_size
        step = f", step {self.stride}" if self.stride > 1 else ""
        return f"{size}x{size} {self.channels}->{self.filters} at {self.image_size}{step}"


CONVOLUTIONS = (
    *(Convolution(3, 32, 3, 224, 2), Convolution(32, 32, 3, 112), Convolution(32, 64, 3, 112)),
    *(Convolution(64, 64, 1, 56), Convolution(64, 64, 3, 56), Convolution(64, 256, 1, 56)),
    *(Convolution(256, 64, 1, 56), Convolution(128, 128, 3, 28), Convolution(512, 128, 1, 28)),
    *(Convolution(256, 256, 3, 14), Convolution(1024, 256, 1, 14)),
    *(Convolution(512, 512, 3, 7), Convolution(512, 2048, 1, 7)),
)


def convolutions(batch: int = 8) -> dict[str, dict[str, float]]:
    """The convolutions of RN50: forward, and forward with backward.

    The images that enter the network have no gradient. minigrad computes in an arena,
    as in a training step.
    """
    return {
        f"{conv}, {passes}": times
        for conv in CONVOLUTIONS
        for passes, times in _one_convolution(conv, batch).items()
    }


def _one_convolution(conv: Convolution, batch: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(0)
    size = (conv.kernel_size, conv.kernel_size)
    x = rng.standard_normal((batch, conv.channels, *[conv.image_size] * 2), dtype=np.float32)
    weight = rng.standard_normal((conv.filters, conv.channels, *size), dtype=np.float32)
    options = {"stride": conv.stride, "padding": conv.kernel_size // 2}
    is_first = conv.channels == 3
    ours = [mg.tensor(x, requires_grad=not is_first), mg.tensor(weight, requires_grad=True)]
    g = rng.standard_normal(mg.conv2d(*ours, **options).shape, dtype=np.float32)
    wanted = ours[is_first:]
    forward: dict[str, Run] = {"minigrad": lambda: _unrecorded(ours, options)}
    both: dict[str, Run] = {"minigrad": lambda: mg.grad(mg.conv2d(*ours, **options), wanted, g)}
    if importlib.util.find_spec("torch"):
        import torch
        from torch.nn.functional import conv2d

        torch.set_num_threads(1)
        theirs = [torch.from_numpy(tensor.data) for tensor in ours]
        for tensor, twin in zip(theirs, ours):
            tensor.requires_grad_(twin.requires_grad)
        needed = theirs[is_first:]
        cotangent = torch.from_numpy(g)

        def torch_forward() -> object:
            with torch.no_grad():
                return conv2d(*theirs, **options)

        forward["torch"] = torch_forward
        both["torch"] = lambda: torch.autograd.grad(conv2d(*theirs, **options), needed, cotangent)
    with using(Arena()):
        return {
            "forward": medians(forward, rounds=9),
            "forward and backward": medians(both, rounds=9),
        }


def _unrecorded(inputs: list[mg.Tensor], options: dict[str, int]) -> mg.Tensor:
    with mg.no_grad():
        return mg.conv2d(*inputs, **options)


PARTS = {part.__name__: part for part in (overhead, operations, convolutions)}


def main() -> None:
    results = {}
    with blas_threads(1):
        for part in sys.argv[1:] or PARTS:
            results |= PARTS[part]()
    for name, times in results.items():
        shown = "  ".join(
            f"{side} {time:,.2f}" + ("" if "/" in side else " us") for side, time in times.items()
        )
        print(f"{name:<48}{shown}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
