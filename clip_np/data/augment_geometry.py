"""Where in the picture is the thing, how large is it, and how sharp?

A caption names the thing and not its place, so each image may be moved. Let p be the
row (or column) of a new pixel, and *source* the place in the old image that it is
copied from:

    stretch and shift    source = (p - centre) / scale + centre + offset
    crop                 source = start + (p + 1/2) * side / length - 1/2
    flip                 source = length - 1 - p

All of these are straight lines, and a line of a line is a line. So one line for the
rows and one for the columns hold all of it. Between two pixels the value is
interpolated. So each new row is a weighted sum of old rows. A blur is one, too:

    R[p, q] = max(0, 1 - |source(p) - q|)            interpolation
    G[p, q] = exp(-(p - q)^2 / (2 sigma^2))          blur; each row is then divided
                                                     by its sum
    new = (G R) old (G' C)^T                         C and G': those of the columns

So any of these changes, and all together, cost two products of matrices. A row of G
near the edge has fewer entries: there the edge weighs more.

The random resized crop is Szegedy et al. 2014, "Going Deeper with Convolutions",
arXiv:1409.4842, section 6.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

WIDEST_CROP = 4 / 3  # width to height of a crop, and height to width, at most
SMALLEST_SIGMA = 1e-3  # pixels; smaller ones would divide by zero, and change nothing
LOWEST_EXPONENT = -30.0
"""exp(-30) = 1e-13 changes no value. Far smaller numbers are denormal, and slow."""


@dataclass(frozen=True)
class Lines:
    """Where B images of `length` rows (or columns) are copied from: start + slope * p.

    start, slope and sigma are arrays (B,); sigma is that of the blur, in pixels.

    >>> mirrored = Lines.unchanged(count=1, length=4).flip(np.array([True]))
    >>> mirrored.start.tolist(), mirrored.slope.tolist()
    ([3.0], [-1.0])
    """

    length: int
    start: np.ndarray
    slope: np.ndarray
    sigma: np.ndarray

    @classmethod
    def unchanged(cls, count: int, length: int) -> "Lines":
        """Every pixel is copied from where it is."""
        return cls(length, start=np.zeros(count), slope=np.ones(count), sigma=np.zeros(count))

    def after(self, start: np.ndarray, slope: np.ndarray) -> "Lines":
        """One line after another: the source of p is now that of start + slope * p."""
        return dataclasses.replace(
            self, start=self.start + self.slope * start, slope=self.slope * slope
        )

    def stretch_and_shift(self, scale: np.ndarray, offset: np.ndarray) -> "Lines":
        """Stretched by a factor about the centre, and moved by pixels: both (B,)."""
        centre = (self.length - 1) / 2
        return self.after(start=centre + offset - centre / scale, slope=1 / scale)

    def crop(self, share: np.ndarray, place: np.ndarray) -> "Lines":
        """A part of the length, enlarged: both (B,).

        share is that of the length, at most 1. place goes from 0, at one end, to 1.
        """
        start = place * (1 - share) * self.length
        return self.after(start=start + share / 2 - 0.5, slope=share)

    def flip(self, chosen: np.ndarray) -> "Lines":
        """Last first, where `chosen` (B,) is true."""
        return self.after(
            start=np.where(chosen, self.length - 1.0, 0.0), slope=np.where(chosen, -1.0, 1.0)
        )

    def blur(self, sigma: np.ndarray) -> "Lines":
        """Blurred by a Gaussian with this sigma (B,), in pixels of the new image."""
        return dataclasses.replace(self, sigma=sigma)

    def matrices(self, images: slice) -> np.ndarray:
        """G R of some of the images: (b, length, length) float32.

        >>> lines = Lines.unchanged(count=1, length=3)
        >>> moved = lines.stretch_and_shift(scale=np.ones(1), offset=np.array([0.25]))
        >>> moved.matrices(slice(1))[0]
        array([[0.75, 0.25, 0.  ],
               [0.  , 0.75, 0.25],
               [0.  , 0.  , 1.  ]], dtype=float32)
        """
        pixels = np.arange(self.length, dtype=np.float32)
        start, slope = self.start[images, np.newaxis], self.slope[images, np.newaxis]
        sources = (start + slope * pixels).clip(0, self.length - 1)  # (b, length)
        weights = _hats(sources.astype(np.float32)[..., np.newaxis] - pixels)
        sigma = self.sigma[images]
        if not sigma.any():
            return weights
        return _gaussians(pixels, sigma) @ weights


def _hats(distances: np.ndarray) -> np.ndarray:
    """max(0, 1 - |distance|), in place."""
    np.abs(distances, out=distances)
    np.subtract(1, distances, out=distances)
    return np.maximum(distances, 0, out=distances)


def _gaussians(pixels: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """G for some sigmas: (length,), (b,) -> (b, length, length) float32."""
    factors = -1 / (2 * np.maximum(sigma, SMALLEST_SIGMA) ** 2)
    squares = np.square(pixels[:, np.newaxis] - pixels)  # (length, length)
    exponents = factors.astype(np.float32)[:, np.newaxis, np.newaxis] * squares
    np.maximum(exponents, LOWEST_EXPONENT, out=exponents)
    weights = np.exp(exponents, out=exponents)
    weights /= weights.sum(axis=2, keepdims=True)
    return weights


def resampled(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Images with new rows and new columns: float32 (b, 3, H, W) -> the same.

    rows (b, H, H) and columns (b, W, W) are the matrices that make them.

    >>> plane = np.array([0.0, 100.0], np.float32).reshape(1, 1, 1, 2)
    >>> columns = np.array([[[0.75, 0.25], [0.5, 0.5]]], np.float32)
    >>> resampled(plane, np.ones((1, 1, 1), np.float32), columns).ravel().tolist()
    [25.0, 50.0]
    """
    return rows[:, np.newaxis] @ planes @ columns[:, np.newaxis].swapaxes(2, 3)  # (b, 3, H, W)


def stretch_and_shift(
    rows: Lines, columns: Lines, rng: np.random.Generator, shift: int, zoom: float
) -> tuple[Lines, Lines]:
    """Stretch each image and move it.

    It is stretched by a factor between exp(-zoom) and exp(zoom), one for each axis, and
    moved by at most `shift` whole pixels along each axis. Pixels of the edge fill the
    gap.
    """
    scale = np.exp(rng.uniform(-zoom, zoom, size=(2, len(rows.start))))
    offset = rng.integers(-shift, shift + 1, size=(2, len(rows.start)))
    return (
        rows.stretch_and_shift(scale[0], offset[0]),
        columns.stretch_and_shift(scale[1], offset[1]),
    )


def crop(
    rows: Lines, columns: Lines, rng: np.random.Generator, strength: float
) -> tuple[Lines, Lines]:
    """Cut a box out of each image and enlarge it to the whole.

    The box has between 1 - strength and 1 of the area, and is up to 4/3 as wide as it
    is high, or as high as it is wide, but never larger than the image. It lies anywhere
    inside.
    """
    count = len(rows.start)
    area = rng.uniform(1 - strength, 1, size=count)
    log_aspect = rng.uniform(-np.log(WIDEST_CROP), np.log(WIDEST_CROP), size=count)
    place = rng.uniform(size=(2, count))
    tall = np.minimum(np.sqrt(area * np.exp(log_aspect)), 1)
    wide = np.minimum(np.sqrt(area * np.exp(-log_aspect)), 1)
    return rows.crop(tall, place[0]), columns.crop(wide, place[1])


def blur(
    rows: Lines, columns: Lines, rng: np.random.Generator, strength: float
) -> tuple[Lines, Lines]:
    """Blur each image by a Gaussian: sigma is 0 to `strength` times the height."""
    sigma = rng.uniform(0, strength * rows.length, size=len(rows.start))
    return rows.blur(sigma), columns.blur(sigma)
