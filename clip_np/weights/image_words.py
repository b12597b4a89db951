"""In which words does Hugging Face's transformers describe how an image is prepared?

A file of settings next to the weights says it:

    preprocessor_config.json    {"image_mean": ..., "size": ..., ...}
    processor_config.json       {"image_processor": the same}     since version 5

The word "size" has several forms, and they do not mean the same:

    {"shortest_edge": 224}           in proportion; the square in the middle is cut out
    224                              the same, in files of early versions
    {"height": 224, "width": 224}    the whole image, squashed to the square
    [224, 224]                       the same

https://github.com/huggingface/transformers/blob/main/src/transformers/image_processing_utils.py
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from clip_np.data import Preprocess
from clip_np.files import FileError, file_errors, read_json
from clip_np.weights.configuration import UNFIT, Settings
from clip_np.weights.preprocessing import Words, require_size

PREPROCESSING = "preprocessor_config.json"
PROCESSING = "processor_config.json"
NESTED = "image_processor"  # the part of processor_config.json that is about images

PROCESSOR = "CLIPImageProcessor"
# Classes of the library that prepare images as CLIP does. Others have other defaults.
PROCESSORS = {None, PROCESSOR, f"{PROCESSOR}Fast", f"{PROCESSOR}Pil", "CLIPFeatureExtractor"}
BICUBIC = 3  # Pillow's number for bicubic interpolation
STEPS = ("do_resize", "do_rescale", "do_normalize")
RESCALE_FACTOR = 1 / 255
TOLERANCE = 1e-6  # relative; some files have the factor with fewer digits


class ImageSettings(NamedTuple):
    """What is said of images, and the file that says it."""

    settings: Settings
    source: pathlib.Path


def read_image_settings(folder: pathlib.Path) -> ImageSettings:
    """What the files in a folder say of images; nothing if there are none.

    The newer file wins, as in the library. FileError if a file is damaged.
    """
    path = folder / PROCESSING
    if path.exists():
        with file_errors(path, UNFIT):
            nested = read_json(path).get(NESTED)
            if nested is not None:
                if type(nested) is not dict:
                    raise FileError(f"its {NESTED} is a {type(nested).__name__}, not an object")
                return ImageSettings(settings=nested, source=path)
    path = folder / PREPROCESSING
    settings = read_json(path) if path.exists() else {}
    return ImageSettings(settings=settings, source=path)


def squashes(settings: Mapping[str, Any], size: int) -> bool:
    """Whether images are squashed to the square, or resized in proportion and cropped.

    FileError for anything else, and for other sizes than the model's.

    >>> squashes({"size": {"shortest_edge": 224}}, size=224)
    False
    >>> squashes({"size": {"height": 224, "width": 224}}, size=224)
    True
    """
    _require_steps(settings)
    stated = settings.get("size", size)
    if isinstance(stated, dict):
        stated = {side: value for side, value in stated.items() if value is not None}
        is_squashed = set(stated) == {"height", "width"}
        if not is_squashed and set(stated) != {"shortest_edge"}:
            raise FileError(f"the settings ask for size {stated!r}, which is not known here")
    else:
        is_squashed = isinstance(stated, list) or settings.get("default_to_square") is True
    require_size("size", stated, size)
    require_size("crop_size", settings.get("crop_size") or size, size)
    if not (is_squashed or settings.get("do_center_crop", True)):
        raise FileError("the settings ask for no do_center_crop, which leaves images oblong")
    return is_squashed


def _require_steps(settings: Mapping[str, Any]) -> None:
    """FileError for steps that are not taken here."""
    for word in ("image_processor_type", "feature_extractor_type"):
        if settings.get(word) not in PROCESSORS:
            raise FileError(f"the settings are for {settings[word]!r}, expected {PROCESSOR!r}")
    factor = settings.get("rescale_factor", RESCALE_FACTOR)
    if abs(factor - RESCALE_FACTOR) > TOLERANCE * RESCALE_FACTOR:
        raise FileError(f"the settings ask for rescale_factor {factor}, expected 1/255")
    if settings.get("do_pad") or settings.get("pad_size"):
        raise FileError("the settings ask for do_pad, which is not known here")


IMAGE_WORDS = Words(
    mean="image_mean",
    std="image_std",
    squashes=squashes,
    required={"resample": BICUBIC} | dict.fromkeys(STEPS, True),
)


def image_settings(preprocess: Preprocess) -> Settings:
    """How images are prepared: the library's words, and `convert_first` from here."""
    size = preprocess.size
    square = {"height": size, "width": size}
    return {
        "size": square if preprocess.squash else {"shortest_edge": size},
        "crop_size": square,
        "image_mean": preprocess.mean,
        "image_std": preprocess.std,
        "resample": BICUBIC,
        "convert_first": preprocess.convert_first,
    }


def processor_settings(preprocess: Preprocess) -> Settings:
    """The contents of preprocessor_config.json."""
    return {"image_processor_type": PROCESSOR, **image_settings(preprocess)}
