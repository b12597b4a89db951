"""How much memory does a step of fine-tuning need, beside what was announced?

    python -m benchmarks.fine_tuning_memory
    python -m benchmarks.fine_tuning_memory --preset tiny --batch 16

A model of random weights, ViT-B/32 by default, takes two steps in batches of 64, cut
into 8 shards, on two threads: with all weights learning, with a frozen encoder, and
with the frozen one stored as float16. Each case is a process of its own. Printed are
the announced need, and the largest resident memory less what Python and the libraries
had before the model was there.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from clip_np import CLIP, PRESETS
from clip_np.training import TrainingStep, memory_need
from minigrad.half import store_in_half
from minigrad.optim import AdamW

CASES = {
    "all weights learn": [],
    "image encoder frozen": ["--freeze", "vision"],
    "image encoder frozen, float16": ["--freeze", "vision", "--half"],
    "text encoder frozen": ["--freeze", "text"],
}
WORKERS = 2
CAPTION_LENGTH = 16  # tokens of a usual caption
STEPS = 2
GIB = 2**30
KIB = 2**10


def resident() -> int:
    """The bytes of memory that the process has now, as Linux says it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def forget_peak() -> None:
    """Let the largest resident memory begin again from here (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def largest_resident() -> int:
    """The largest resident memory since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * KIB
    raise OSError("/proc/self/status names no VmHWM")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Two steps of one case: GiB that were announced, and that were needed."""
    before = resident()
    model = CLIP(PRESETS[arguments.preset], np.random.default_rng(0))
    if arguments.freeze is not None:
        model.freeze(arguments.freeze)
        if arguments.half:
            store_in_half(getattr(model, arguments.freeze))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    need = memory_need(
        model=model,
        batch_size=arguments.batch,
        shards=arguments.shards,
        workers=WORKERS,
        caption_length=CAPTION_LENGTH,
    )
    optimizer = AdamW(trained, lr=1e-5)
    step = TrainingStep(model.train(), optimizer, shards=arguments.shards, workers=WORKERS)
    forget_peak()
    rng = np.random.default_rng(1)
    size = model.config.vision.image_size
    for _ in range(STEPS):
        images = rng.standard_normal((arguments.batch, 3, size, size), dtype=np.float32)
        tokens = rng.integers(1, 500, (arguments.batch, CAPTION_LENGTH))
        tokens[:, -1] = model.config.text.vocab_size - 1
        step(images, tokens)
    one_batch = images.nbytes
    announced = need.step - need.batches + one_batch  # there is no loader here
    return {"announced": announced / GIB, "needed": (largest_resident() - before) / GIB}


def main() -> None:
    """Measure all cases, or the one that a process of its own is for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="ViT-B/32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--case", action="store_true", help="measure one case in this process")
    parser.add_argument("--freeze")
    parser.add_argument("--half", action="store_true")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments)))
        return
    print("| | announced, GiB | needed, GiB |\n| --- | --- | --- |")
    sizes = ["--preset", arguments.preset, "--batch", str(arguments.batch)]
    sizes += ["--shards", str(arguments.shards)]
    for name, options in CASES.items():
        command = [sys.executable, "-m", "benchmarks.fine_tuning_memory", "--case"]
        output = subprocess.run(
            [*command, *sizes, *options], check=True, capture_output=True, text=True
        ).stdout
        figures = json.loads(output)
        print(f"| {name} | {figures['announced']:.2f} | {figures['needed']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
