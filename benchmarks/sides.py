"""One side of a comparison, in a process of its own.

    python -m benchmarks.sides ours micro batch=32

It builds its model, says "ready", and then does one step for each line it reads,
answering with a JSON line. So two sides can take turns, and each has its memory for
itself.
"""

import atexit
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.configs import SETTINGS, Setting, resized

Step = Callable[[], float]
OPTIONS = {"lr": 1e-4, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.1}


def ours(setting: Setting) -> Step:
    """minigrad and clip_np, with the defaults that a user gets."""
    import minigrad as mg
    from clip_np import CLIP, training_step

    model = CLIP(setting.config, np.random.default_rng(0))
    images, tokens = setting.data()
    if not setting.train:

        def infer() -> float:
            with mg.no_grad():
                return float(model(images, tokens)[0].data[0, 0])

        return infer
    optimizer = mg.optim.AdamW(model.parameters(), **OPTIONS)

    def step() -> float:
        shards = setting.shards
        return training_step(model, optimizer, images, tokens, shards, max_norm=None)["loss"].item()

    return step


def processes(setting: Setting) -> Step:
    """`ours`, taken by two processes with one thread each in place of two threads."""
    import minigrad as mg
    from clip_np import CLIP
    from clip_np.training import ProcessTeam, TrainingStep

    model = CLIP(setting.config, np.random.default_rng(0))
    images, tokens = setting.data()
    optimizer = mg.optim.AdamW(model.parameters(), **OPTIONS)
    alone = TrainingStep(model, optimizer, shards=setting.shards, workers=1, max_norm=None)
    team = ProcessTeam(alone, processes=2)
    atexit.register(team.close)
    return lambda: team(images, tokens)["loss"].item()


def same_work(setting: Setting) -> Step:
    """`ours` without skipping anything: every token passes through every layer."""
    from clip_np.encoders import TextTransformer, VisionTransformer

    VisionTransformer.forward = VisionTransformer.plain_forward
    TextTransformer.forward = TextTransformer.plain_forward
    TextTransformer.lengths = lambda self, inputs: np.full(*inputs.shape)  # padding is work, too
    return ours(setting)


def torch(setting: Setting, compiled: bool = False) -> Step:
    """PyTorch, eager."""
    import torch

    from benchmarks.torch_clip import TorchCLIP, make_optimizer

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = TorchCLIP(setting.config)
    images, tokens = (torch.from_numpy(array) for array in setting.data())
    run = torch.compile(model) if compiled else model
    if not setting.train:

        def infer() -> float:
            with torch.inference_mode():
                return run(images, tokens).item()

        return infer
    optimizer = make_optimizer(model, **OPTIONS)

    def step() -> float:
        loss = run(images, tokens)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100.0))
        return loss.item()

    return step


def torch_compile(setting: Setting) -> Step:
    """PyTorch, its model compiled."""
    return torch(setting, compiled=True)


def jax(setting: Setting) -> Step:
    """JAX: loss, gradient and AdamW in one compiled function."""
    import jax
    import jax.numpy as jnp

    from benchmarks.array_clip import initial, loss

    parameters, inputs = initial(setting)
    parameters = {name: jnp.asarray(array) for name, array in parameters.items()}
    inputs = {name: jnp.asarray(array) for name, array in inputs.items()}
    zeros = {name: jnp.zeros_like(array) for name, array in parameters.items()}

    @jax.jit
    def update(p, mean, square, count):
        value, g = jax.value_and_grad(lambda p: loss(jnp, p, inputs, setting))(p)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
        square = jax.tree.map(lambda v, g: 0.98 * v + 0.02 * g * g, square, g)

        def move(p, m, v):
            root = jnp.sqrt(v / (1 - 0.98**count)) + 1e-6
            return p * (1 - 1e-5 * (p.ndim > 1)) - 1e-4 * m / (1 - 0.9**count) / root

        return jax.tree.map(move, p, mean, square), mean, square, value

    state = [parameters, zeros, zeros, 0]

    def step() -> float:
        state[3] += 1
        *state[:3], value = update(state[0], state[1], state[2], float(state[3]))
        return float(value)

    return step


def autograd(setting: Setting) -> Step:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    from benchmarks.array_clip import AdamW, initial, loss

    parameters, inputs = initial(setting)
    optimizer = AdamW(parameters)
    gradient = value_and_grad(lambda p: loss(anp, p, inputs, setting))

    def step() -> float:
        value, g = gradient(parameters)
        optimizer.step(parameters, g)
        return float(value)

    return step


def mygrad(setting: Setting) -> Step:
    """MyGrad."""
    import mygrad as my

    from benchmarks.array_clip import AdamW, initial, loss

    parameters, inputs = initial(setting)
    optimizer = AdamW(parameters)

    def step() -> float:
        tensors = {name: my.tensor(array, copy=False) for name, array in parameters.items()}
        value = loss(my, tensors, inputs, setting)
        value.backward()
        optimizer.step(parameters, {name: tensor.grad for name, tensor in tensors.items()})
        return float(value)

    return step


SIDES = {
    side.__name__: side
    for side in (ours, processes, same_work, torch, torch_compile, jax, autograd, mygrad)
}


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    side, name, *changes = sys.argv[1:]
    setting = SETTINGS[name]
    for quantity, value in (change.split("=") for change in changes):
        if quantity == "shards":
            setting = replace(setting, shards=int(value))
        else:
            setting = resized(setting, quantity, int(value))
    step = SIDES[side](setting)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = step()
        ms = 1e3 * (time.perf_counter() - started)
        print(json.dumps({"ms": ms, "loss": loss, "peak_mb": peak_megabytes()}), flush=True)


if __name__ == "__main__":
    main()
