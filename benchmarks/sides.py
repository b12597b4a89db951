"""One side of a comparison, in a process of its own: `python -m benchmarks.sides ours micro`.

It builds its model, says "ready", and then does one step for each line it reads, answering
with a JSON line. So two sides can take turns, and each has its memory for itself.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.configs import SETTINGS, Setting

Step = Callable[[], float]


def ours(setting: Setting) -> Step:
    """minigrad and clip_np, with the defaults that a user gets."""
    import minigrad as mg
    from clip_np import CLIP, training_step
    from clip_np.evaluate import embed_images, embed_texts  # noqa: F401
    from minigrad.optim import AdamW

    model = CLIP(setting.config, np.random.default_rng(0))
    images, tokens = setting.data()
    if not setting.train:

        def infer() -> float:
            with mg.no_grad():
                return float(model(images, tokens)[0].data[0, 0])

        return infer
    optimizer = AdamW(model.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
    return lambda: float(
        training_step(model, optimizer, images, tokens, max_norm=None)["loss"].item()
    )


def same_work(setting: Setting) -> Step:
    """`ours` without skipping anything: every token through every layer, as PyTorch's side."""
    from minigrad import take
    from clip_np.text import TextTransformer
    from clip_np.transformer import Transformer

    def pooled(self, x, positions, mask=None, lengths=None):
        batch, length, width = x.shape
        for block in self.resblocks:
            x = block(x, mask)
        chosen = np.arange(batch) * length + positions
        return take(x.reshape(batch * length, width), chosen)  # (B, W)

    Transformer.pooled = pooled
    return ours(setting)


def torch(setting: Setting, compiled: bool = False) -> Step:
    """PyTorch, eager."""
    import torch

    from benchmarks.torch_clip import TorchCLIP, make_optimizer

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = TorchCLIP(setting.config)
    images, tokens = (torch.from_numpy(each) for each in setting.data())
    run = torch.compile(model) if compiled else model
    if not setting.train:

        def infer() -> float:
            with torch.inference_mode():
                return run(images, tokens).item()

        return infer
    optimizer = make_optimizer(model)

    def step() -> float:
        loss = run(images, tokens)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100.0))
        return loss.item()

    return step


SIDES = {"ours": ours, "same_work": same_work, "torch": torch}


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    side, name, *batch = sys.argv[1:]
    setting = SETTINGS[name]
    if batch:
        setting = replace(setting, batch=int(batch[0]))
    step = SIDES[side](setting)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        cpu = time.process_time()
        loss = step()
        ms = 1e3 * (time.perf_counter() - started)
        cpu_ms = 1e3 * (time.process_time() - cpu)
        answer = {"ms": ms, "cpu_ms": cpu_ms, "loss": loss, "peak_mb": peak_megabytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
