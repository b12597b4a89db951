"""From the shell to the answer for one image: ViT-B/32 beside the import of PyTorch and open_clip.

python -m benchmarks.start                      makes a model of random weights, 605 MB, and times
python -m benchmarks.start --model DIRECTORY    one of yours

Prints the median seconds and the largest resident memory of each command, and one JSON
line. The commands take turns. `clip-np classify` opens weights, vocabulary and image,
embeds three labels and the image, and prints the table; the other side only imports.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

import clip_np

LABELS = "a photo of a cat,a photo of a dog,a photo of a red bicycle"


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of a command that must succeed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


def make_model(directory: pathlib.Path) -> None:
    """ViT-B/32 with random weights, as a directory of Hugging Face's form."""
    model = clip_np.CLIP(clip_np.PRESETS["ViT-B/32"], np.random.default_rng(0))
    clip_np.save_pretrained(model, directory, clip_np.Tokenizer.published())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a directory or file that clip_np.load opens")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        if arguments.model is None:
            make_model(folder / "model")
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "image.png")
        model = arguments.model or str(folder / "model")
        classify = ["-m", "clip_np", "classify", str(folder / "image.png"), "--labels", LABELS]
        sides = {
            "clip-np classify, one image": [*classify, "--model", model],
            "import torch, open_clip": ["-c", "import torch, open_clip"],
            "import numpy, PIL.Image": ["-c", "import numpy, PIL.Image"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                found[name].append(run([sys.executable, *command]))
    table = {
        name: {"seconds": statistics.median(s for s, _ in runs), "mb": max(m for _, m in runs)}
        for name, runs in found.items()
    }
    for name, row in table.items():
        print(f"{name:<32}{row['seconds']:8.2f} s{row['mb']:8.0f} MB")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
