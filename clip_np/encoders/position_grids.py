"""How does a model see images of another size than it was trained with?

A vision transformer cuts an image into patches of P pixels, and adds a learned row to
the token of each patch, its position. A larger image has more patches of the same size.
All weights serve them as they are, except the positions. For 224 pixels in patches of
16, 14 x 14 of them were learned, and 336 pixels ask for 21 x 21. The size of an image
must be a multiple of P. So a model with patches of 32 can see 320 or 352 pixels, but
not 336.

The learned rows form an image of their own, n x n pixels with W colours, and nearby
positions have similar rows. So they are resized like an image. Each new row is a
mixture of old ones. Along one axis, the mixture is a matrix M (m, n), and for a grid G
(n, n) of any one of the W numbers

    new grid = M G M^T          rows are mixed from the left, columns from the right

Which old rows are mixed, and how much of each? The middle of new place i lies, measured
in old places, at c_i = (i + 1/2) n/m - 1/2. Old place j counts by its distance from
there, through Keys's cubic with a = -1/2, a smooth bump that reaches 2 places:

    k(x) =  3/2 |x|^3 - 5/2 |x|^2 + 1                for |x| < 1
           -1/2 |x|^3 + 5/2 |x|^2 - 4 |x| + 2        for 1 <= |x| < 2, else 0
    M_ij proportional to k((c_i - j) / s),       s = max(n/m, 1)

and each row of M sums to 1. Beyond the border there is nothing, so fewer places are
mixed there. Where the grid shrinks, s > 1 makes the bump wider, so that no old place is
skipped: this is antialiasing.

This is what open_clip does when it loads (`resize_pos_embed`, PyTorch's bicubic
interpolation with antialias=True and align_corners=False), and what Pillow does to
pictures. OpenAI's code does not resize. transformers resizes without antialiasing and
with a = -3/4, which gives somewhat other rows.

The row of the class token belongs to no place, and stays. A ResNet's attention pool has
such a grid, too, with the row of its mean token in front.

Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing"; Dosovitskiy
et al. 2021, arXiv:2010.11929, section 3.2.
"""

import math

import numpy as np


def keys_cubic(distances: np.ndarray) -> np.ndarray:
    """k(x) for each distance, in any shape.

    >>> keys_cubic(np.array([0.0, 0.5, 1.0, -1.5, 2.0]))
    array([ 1.    ,  0.5625,  0.    , -0.0625,  0.    ])
    """
    x = np.abs(distances)
    near = 1.5 * x**3 - 2.5 * x**2 + 1.0
    far = -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def mixing_matrix(old: int, new: int) -> np.ndarray:
    """M (new, old): how much of each old place is in each new one.

    >>> mixing_matrix(2, 4).round(2)
    array([[ 1.09, -0.09],
           [ 0.79,  0.21],
           [ 0.21,  0.79],
           [-0.09,  1.09]])
    """
    ratio = old / new
    centres = (np.arange(new) + 0.5) * ratio - 0.5  # (new,)
    distances = centres[:, None] - np.arange(old)  # (new, old)
    weights = keys_cubic(distances / max(ratio, 1.0))  # (new, old)
    return weights / weights.sum(axis=1, keepdims=True)


def resize_grid(grid: np.ndarray, side: int) -> np.ndarray:
    """A square grid of rows (n, n, W) as one of another side, (m, m, W).

    >>> grid = np.arange(4.0).reshape(2, 2, 1)
    >>> resize_grid(grid, 2)[..., 0].tolist()  # nothing to do
    [[0.0, 1.0], [2.0, 3.0]]
    >>> resize_grid(grid, 3)[..., 0].round(2).tolist()[1]
    [0.93, 1.5, 2.07]
    """
    n, _, width = grid.shape
    mix = mixing_matrix(n, side)  # (m, n)
    rows_mixed = (mix @ grid.reshape(n, n * width)).reshape(side, n, width)  # M G
    return mix @ rows_mixed  # (m, m, W): for each row, its columns are mixed


def resize_positions(positions: np.ndarray, side: int) -> np.ndarray:
    """Positions (1 + n*n, W) for a grid of another side: (1 + m*m, W), of their dtype.

    Row 0 belongs to no place and stays.

    >>> positions = np.ones((1 + 7 * 7, 4), np.float32)
    >>> resize_positions(positions, side=10).shape
    (101, 4)
    """
    n = math.isqrt(len(positions) - 1)
    grid = positions[1:].reshape(n, n, -1).astype(np.float64)  # (n, n, W)
    new_grid = resize_grid(grid, side).reshape(side * side, -1)  # (m*m, W)
    return np.concatenate([positions[:1], new_grid]).astype(positions.dtype)
