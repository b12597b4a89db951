"""How do the settings of other libraries say that an image is to be prepared?

All CLIPs prepare images in the same four steps: resize the shorter side (bicubic), cut
out the square in the middle, divide by 255, subtract a mean and divide by a deviation
for each colour. Models differ in the size and in the colours; settings that ask for
anything else are refused, because the model would silently see worse images.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from clip_np.data import MEAN, STD, Preprocess
from clip_np.files import FileError


class Words(NamedTuple):
    """What a library calls the mean and the deviation, sizes, and the steps.

    `required` are settings that, if they are there, must have this value.
    """

    mean: str
    std: str
    sizes: tuple[str, ...]
    required: Mapping[str, Any]


def parse_preprocess(settings: Mapping[str, Any], words: Words, size: int) -> Preprocess:
    """The preparation of images for a model that sees `size` pixels a side.

    FileError for another preparation than CLIP's, or colours that make no sense.

    >>> words = Words(mean="mean", std="std", sizes=("size",), required={"mode": "RGB"})
    >>> half = [0.5, 0.5, 0.5]
    >>> parse_preprocess({"mean": half, "std": half, "size": 32}, words, size=32)
    Preprocess(size=32, convert_first=False, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    """
    for word, value in words.required.items():
        if settings.get(word, value) != value:
            raise FileError(f"the settings ask for {word} {settings[word]!r}, expected {value!r}")
    for word in words.sizes:
        _require_size(word, settings.get(word, size), size)
    mean = _parse_colour(settings.get(words.mean, MEAN), words.mean)
    std = _parse_colour(settings.get(words.std, STD), words.std)
    if min(std) <= 0:
        raise FileError(f"{words.std} of the colours must be positive, not {std}")
    # Our own word. Other libraries convert to RGB after the crop, as the published
    # models do.
    convert_first = settings.get("convert_first") is True
    return Preprocess(size, convert_first=convert_first, mean=mean, std=std)


def _require_size(word: str, value: Any, size: int) -> None:
    """FileError unless 224, [224, 224] or {"height": 224, "width": 224} is the size."""
    sides = value.values() if isinstance(value, dict) else (value,)
    for side in sides:
        if side not in (size, [size, size]):
            raise FileError(f"images are to have {word} {value!r}, the model sees {size}")


def _parse_colour(value: Any, word: str) -> tuple[float, float, float]:
    """Three finite numbers; FileError, ValueError or TypeError for anything else."""
    red, green, blue = map(float, value)
    if not (math.isfinite(red) and math.isfinite(green) and math.isfinite(blue)):
        raise FileError(f"{word} of the colours must be finite, not {value}")
    return red, green, blue
