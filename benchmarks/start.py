"""How long does the first answer take, from the shell?

python -m benchmarks.start                      with random weights, 605 MB
python -m benchmarks.start --model DIRECTORY    with a model of yours

`clip-np classify` opens the weights, the vocabulary and the image of a ViT-B/32, embeds
three labels and the image, and prints the table. Next to it stand two programs that
only import: PyTorch with open_clip, and NumPy with Pillow. The commands take turns, so
that a busy machine slows all of them down.

Printed are the median seconds and the largest resident memory of each command, and one
JSON line.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from PIL import Image

import clip_np

LABELS = "a photo of a cat,a photo of a dog,a photo of a red bicycle"

# What is imported next to this project -> what brings it.
COMPARED = {"torch": "torch", "open_clip": "open-clip-torch"}


class Measurement(NamedTuple):
    """What one run of a command took."""

    seconds: float  # by the clock on the wall
    megabytes: float  # the largest resident memory


def require_modules() -> None:
    """SystemExit that says what to install, before anything is measured."""
    missing = [name for name in COMPARED if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(COMPARED[name] for name in missing)
        raise SystemExit(
            f"this comparison imports {' and '.join(missing)}, not installed here: pip install "
            f"{packages}"
        )


def measure(command: list[str]) -> Measurement:
    """Run a command, which must succeed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Measurement(seconds, usage.ru_maxrss / 1024)


def write_model(directory: pathlib.Path) -> None:
    """Write a ViT-B/32 with random weights, as a directory in Hugging Face's layout."""
    model = clip_np.CLIP(clip_np.PRESETS["ViT-B/32"], np.random.default_rng(0))
    clip_np.save_pretrained(model, directory, clip_np.Tokenizer.published())


def write_image(path: pathlib.Path) -> None:
    """Write an image of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, list[Measurement]]:
    """Measure every Python command `rounds` times, in turns."""
    measurements: dict[str, list[Measurement]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            measurements[name].append(measure([sys.executable, *command]))
    return measurements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a directory or file that clip_np.load opens")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    require_modules()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model = arguments.model
        if model is None:
            model = str(folder / "model")
            write_model(folder / "model")
        image = folder / "image.png"
        write_image(image)
        classify = ["classify", str(image), "--labels", LABELS, "--model", model]
        commands = {
            "clip-np classify, one image": ["-m", "clip_np", *classify],
            "import torch, open_clip": ["-c", "import torch, open_clip"],
            "import numpy, PIL.Image": ["-c", "import numpy, PIL.Image"],
        }
        measurements = take_turns(commands, arguments.rounds)
    table = {}
    for name, runs in measurements.items():
        seconds = statistics.median(run.seconds for run in runs)
        megabytes = max(run.megabytes for run in runs)
        table[name] = {"seconds": seconds, "mb": megabytes}
        print(f"{name:<32}{seconds:8.2f} s{megabytes:8.0f} MB")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
