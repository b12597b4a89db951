"""What happens to the cosine when a part of the image is hidden?

The other maps look inside the model. This one asks from outside, and works for every
encoder. A grey card hides a part of the image, and the image is embedded again. If the
cosine to the text falls, the part spoke for the text.

The image is cut into a grid of CELLS x CELLS cells. The card covers 3 x 3 of them, and
stands in all places where it covers at least one. At the border a part of it is
outside, so every cell is covered by nine cards:

    drop(card) = cosine of the whole image - cosine of the image with the card
    map at a cell = max(0, mean of drop over the nine cards that cover the cell)

The values are differences of cosines. Times the temperature they are differences of
logits. A text that has nothing to do with the image has small ones, which are noise. So
a map whose largest difference of logits is below NEGLIGIBLE becomes zero.

A card of a single cell would hide less than a thing, and its drop would be mostly
noise. The card has the median of the image's colours, so that on an even background it
makes no edge that is a thing itself.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks",
arXiv:1311.2901, section 4.2.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

import minigrad as mg

CELLS = 8  # along a side
REACH = 1  # cells to each side of a card's middle
BATCH_SIZE = 16  # images that are embedded together
NEGLIGIBLE = 0.1  # of a logit: the odds of the text would change by a tenth


def cards() -> list[tuple[slice, slice]]:
    """The rows and columns of cells that each card covers.

    >>> cards()[1], len(cards())
    ((slice(0, 1, None), slice(0, 2, None)), 100)
    """
    middles = range(-REACH, CELLS + REACH)
    spans = [slice(max(i - REACH, 0), min(i + REACH + 1, CELLS)) for i in middles]
    return list(itertools.product(spans, spans))


def hidden_images(image: np.ndarray) -> Iterator[np.ndarray]:
    """The image (3, S, S) with each card in turn.

    >>> image = np.zeros((3, 8, 8))
    >>> image[:, 0, 1] = 1.0
    >>> [copy.sum().item() for copy in hidden_images(image)][:4]
    [3.0, 0.0, 0.0, 0.0]
    """
    size = image.shape[1]
    edges = np.linspace(0, size, CELLS + 1).round().astype(int)  # of the cells, in pixels
    colour = np.median(image, axis=(1, 2))  # (3,)
    for rows, columns in cards():
        copy = image.copy()
        y = slice(edges[rows.start], edges[rows.stop])
        x = slice(edges[columns.start], edges[columns.stop])
        copy[:, y, x] = colour[:, None, None]
        yield copy


def occlusion_maps(
    encode: Callable[[np.ndarray], mg.Tensor],
    image: np.ndarray,
    text_features: np.ndarray,
    temperature: float,
) -> np.ndarray:
    """How much hiding a cell makes the cosine fall: (M, CELLS, CELLS).

    encode: images (B, 3, S, S) -> features (B, E). image (3, S, S). text_features: unit
    rows (M, E).
    """
    copies = itertools.chain([image], hidden_images(image))
    cosines = []
    with mg.no_grad():
        while batch := list(itertools.islice(copies, BATCH_SIZE)):
            features = mg.normalize(encode(np.stack(batch))).numpy()  # (B, E)
            cosines.append(features @ text_features.T)  # (B, M)
    whole, *hidden = np.concatenate(cosines)  # (M,) and (cards, M)
    sums = np.zeros((len(text_features), CELLS, CELLS))
    for (rows, columns), cosine in zip(cards(), hidden):
        sums[:, rows, columns] += (whole - cosine)[:, None, None]
    cards_over_a_cell = (2 * REACH + 1) ** 2
    maps = np.maximum(sums / cards_over_a_cell, 0.0)  # (M, CELLS, CELLS)
    largest = maps.max(axis=(1, 2), keepdims=True)
    return np.where(temperature * largest < NEGLIGIBLE, 0.0, maps)
