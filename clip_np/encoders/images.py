"""Are these the images that an encoder can read?

A vision encoder is built for images of one size, (B, 3, S, S): B images in three
colours, S pixels a side. Anything else is refused with a message that says which size
it needs. Whether the numbers were prepared as in training does not show: see
clip_np/data/preprocessing.py.
"""

import minigrad as mg
from minigrad.backend import Array


def as_images(images: Array | mg.Tensor, size: int, like: mg.Tensor) -> mg.Tensor:
    """The images as a tensor on the backend of `like`: (B, 3, size, size).

    ValueError for another shape.

    >>> import numpy as np
    >>> as_images(np.zeros((2, 3, 8, 8), np.float32), size=8, like=mg.tensor(0.0)).shape
    (2, 3, 8, 8)
    """
    if not isinstance(images, mg.Tensor):
        images = mg.tensor(images, backend=like.backend)
    if images.ndim != 4 or images.shape[1:] != (3, size, size):
        raise ValueError(
            f"encode_image: expected images of shape (B, 3, {size}, {size}), got {images.shape}"
        )
    return images
