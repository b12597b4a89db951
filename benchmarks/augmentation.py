"""How long does each part of the augmentation need?

    python -m benchmarks.augmentation

One batch of 64 images. The time is that of the processor, the median of several tries
that take turns. The ratio is to `to_model_input`, the work that every batch needs.
"""

import time
from collections.abc import Callable

import numpy as np

from clip_np.data import AUGMENTATIONS, Augmentation, augment, to_model_input

BATCH = 64
TRIES = {32: 41, 224: 5}  # side of the images in pixels -> tries
PARTS = {
    "shift": Augmentation(shift=3),
    "zoom": Augmentation(zoom=0.1),
    "crop": Augmentation(crop=0.4),
    "colour": Augmentation(colour=0.5),
    "hue": Augmentation(hue=0.1),
    "grey": Augmentation(grey=0.2),
    "blur": Augmentation(blur=0.02),
    "cut_out": Augmentation(cut_out=0.4),
    "flip": Augmentation(flip=0.5),
    "light": AUGMENTATIONS["light"],
    "strong": AUGMENTATIONS["strong"],
}


def milliseconds(work: dict[str, Callable[[], object]], tries: int) -> dict[str, float]:
    """The median time of each piece of work, in turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(tries):
        for name, function in work.items():
            started = time.thread_time()
            function()
            times[name].append(1000 * (time.thread_time() - started))
    return {name: float(np.median(some)) for name, some in times.items()}


def measure(size: int) -> dict[str, float]:
    """Milliseconds for each part, and for `to_model_input`, at `size` pixels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)

    def varied(augmentation: Augmentation) -> Callable[[], object]:
        return lambda: augment(images, rng, augmentation)

    work: dict[str, Callable[[], object]] = {"to_model_input": lambda: to_model_input(images)}
    work |= {name: varied(augmentation) for name, augmentation in PARTS.items()}
    return milliseconds(work, TRIES[size])


def main() -> None:
    results = {size: measure(size) for size in TRIES}
    print("| part |" + "".join(f" {size} px, ms | ratio |" for size in results))
    print("| --- |" + " --- | --- |" * len(results))
    for name in ["to_model_input", *PARTS]:
        cells = [
            f" {times[name]:.2f} | {times[name] / times['to_model_input']:.1f} |"
            for times in results.values()
        ]
        print(f"| {name} |" + "".join(cells))


if __name__ == "__main__":
    main()
