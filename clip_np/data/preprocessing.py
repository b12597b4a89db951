"""How does a picture become the numbers that a CLIP model expects?

A model wants float32 arrays of one size, and pictures have any size. Three steps lead
there:

    resize        the shorter side becomes n pixels (bicubic), the other in proportion
    crop          the square in the middle
    normalise     (value / 255 - mean) / std, separately for red, green and blue

The mean and standard deviation are those of OpenAI's training images (Radford et al.
2021, arXiv:2103.00020).

There are two pipelines. They differ in *when* a picture becomes RGB. Published models
were trained on pictures that became RGB after the crop (`preprocess`). The models
trained here convert first (`training_preprocess`): Pillow resizes a palette picture,
such as a GIF, by picking the nearest pixel, which makes it up to 75 of 255 levels
wrong. And a few published models saw whole pictures, resized to the square without
regard to their proportions; their files ask for it, and here it is called `squash`.
"""

import functools
from dataclasses import dataclass
from warnings import warn

import numpy as np
from PIL import Image

from clip_np.data.images import to_rgb
from minigrad.backend import Array, array_module

Colour = tuple[float, float, float]  # red, green, blue; 1 is full brightness
MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
STD: Colour = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocess:
    """A pipeline: called with a PIL image, returns float32 (3, size, size), normalised.

    - size: width and height of the square in pixels.
    - convert_first: make the picture RGB and upright before it is resized. If not, it
      becomes RGB after the crop.
    - mean, std: one number for each colour.
    - squash: resize the whole picture to the square, and crop nothing.

    >>> pipeline = Preprocess(size=4)
    >>> white = Image.new("RGB", (10, 6), "white")
    >>> pipeline(white).shape
    (3, 4, 4)
    >>> [f"{value:.2f}" for value in pipeline(white)[:, 0, 0]]  # (1 - mean) / std
    ['1.93', '2.07', '2.15']
    """

    size: int
    convert_first: bool = False
    mean: Colour = MEAN
    std: Colour = STD
    squash: bool = False

    def __call__(self, image: Image.Image) -> np.ndarray:
        if not isinstance(image, Image.Image):
            raise TypeError(f"expected a PIL image (PIL.Image.open), got {type(image).__name__}")
        if self.convert_first:
            image = to_rgb(image)
        elif image.mode.startswith(("I", "F")):
            warn(
                f"an image of mode {image.mode} has more than 8 bits a pixel, and all values above "
                "255 become white, as in the published pipeline: `to_rgb` scales them",
                stacklevel=2,
            )
        square = self.square(image).convert("RGB")
        batch_of_one = np.asarray(square)[np.newaxis]  # (1, size, size, 3)
        return self.normalise(batch_of_one)[0]

    def square(self, image: Image.Image) -> Image.Image:
        """The image resized to the square: squashed, or in proportion and cropped."""
        if self.squash:
            return image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return resize_and_crop(image, self.size)

    def normalise(self, images: np.ndarray) -> np.ndarray:
        """Squares as a model sees them: uint8 (B, S, S, 3) to float32 (B, 3, S, S)."""
        return to_model_input(images, self.mean, self.std)


preprocess = Preprocess
"""The pipeline of the published models: preprocess(224) is a callable."""
training_preprocess = functools.partial(Preprocess, convert_first=True)
"""The pipeline of the models trained here: training_preprocess(32) is a callable."""


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels (bicubic) and cut out the centre square.

    >>> resize_and_crop(Image.new("L", (30, 20)), size=8).size
    (8, 8)
    """
    shorter = min(image.size)
    width, height = (int(size * side / shorter) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left = round((width - size) / 2)
    top = round((height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def to_model_input(images: Array, mean: Colour | Array = MEAN, std: Colour | Array = STD) -> Array:
    """Normalised images: uint8 (B, H, W, 3) -> float32 (B, 3, H, W), where they are.

    mean and std (3,): as in `Preprocess`, or arrays that lie where the images are.

    >>> black = np.zeros((1, 2, 2, 3), np.uint8)
    >>> to_model_input(black).shape
    (1, 3, 2, 2)
    >>> to_model_input(black, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))[0, 0].tolist()
    [[-1.0, -1.0], [-1.0, -1.0]]
    """
    xp = array_module(images)
    # (images / 255 - mean) / std
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")  # (B, 3, H, W)
    pixels /= 255
    pixels -= xp.asarray(mean, np.float32)[:, np.newaxis, np.newaxis]  # (3, 1, 1)
    pixels /= xp.asarray(std, np.float32)[:, np.newaxis, np.newaxis]
    return pixels
