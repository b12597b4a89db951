"""How do the settings of other libraries say that an image is to be prepared?

All CLIPs prepare images in the same four steps: resize the shorter side (bicubic), cut
out the square in the middle, divide by 255, subtract a mean and divide by a deviation
for each colour. Some squash the image to the square in place of the first two. Models
differ in that, in the size and in the colours. Settings that ask for anything else are
refused, because the model would silently see worse images.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from clip_np.data import MEAN, STD, Preprocess
from clip_np.files import FileError


class Words(NamedTuple):
    """How a library says what is done to an image.

    mean, std: its words for the colours' mean and deviation. squashes: called with the
    settings and the size of the square, it says whether images are squashed to it
    (True), or resized in proportion and cropped (False); FileError for anything else.
    required: settings that, if they are there, must have this value.
    """

    mean: str
    std: str
    squashes: Callable[[Mapping[str, Any], int], bool]
    required: Mapping[str, Any]


def parse_preprocess(settings: Mapping[str, Any], words: Words, size: int) -> Preprocess:
    """The preparation of images for a model that sees `size` pixels a side.

    FileError for another preparation than CLIP's, or colours that make no sense.

    >>> def squashes(settings, size):
    ...     return settings["mode"] == "squash"
    >>> words = Words(mean="mean", std="std", squashes=squashes, required={"bits": 8})
    >>> settings = {"mean": [0.5, 0.5, 0.5], "mode": "squash", "bits": 8}
    >>> pipeline = parse_preprocess(settings, words, size=32)
    >>> pipeline.mean, pipeline.squash
    ((0.5, 0.5, 0.5), True)
    """
    for word, value in words.required.items():
        if settings.get(word, value) != value:
            raise FileError(f"the settings ask for {word} {settings[word]!r}, expected {value!r}")
    mean = _parse_colour(settings.get(words.mean, MEAN), words.mean)
    std = _parse_colour(settings.get(words.std, STD), words.std)
    if min(std) <= 0:
        raise FileError(f"{words.std} of the colours must be positive, not {std}")
    return Preprocess(
        size=size,
        # Our own word. Other libraries convert to RGB after the crop, as the published
        # models do.
        convert_first=settings.get("convert_first") is True,
        mean=mean,
        std=std,
        squash=words.squashes(settings, size),
    )


def require_size(word: str, value: Any, size: int) -> None:
    """FileError unless 224, [224, 224] or {"height": 224, "width": 224} is the size.

    >>> require_size("crop_size", {"height": 224, "width": 224}, size=224)
    >>> require_size("crop_size", [224, 196], size=224)
    Traceback (most recent call last):
    clip_np.files.errors.FileError: images are to have crop_size [224, 196], the ...
    """
    sides = list(value.values()) if isinstance(value, dict) else value
    if sides not in (size, [size], [size, size]):
        raise FileError(f"images are to have {word} {value!r}, the model sees {size}")


def _parse_colour(value: Any, word: str) -> tuple[float, float, float]:
    """Three finite numbers; FileError, ValueError or TypeError for anything else."""
    red, green, blue = map(float, value)
    if not (math.isfinite(red) and math.isfinite(green) and math.isfinite(blue)):
        raise FileError(f"{word} of the colours must be finite, not {value}")
    return red, green, blue
