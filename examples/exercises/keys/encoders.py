"""Answer keys of the chapter on the encoders."""

from types import ModuleType

import numpy as np

import minigrad as mg
from examples.exercises.comparing import require, require_equal


def check_patches(answer: ModuleType) -> None:
    images = np.arange(2 * 3 * 4 * 6, dtype=np.float64).reshape(2, 3, 4, 6)
    size = 2
    rows = [
        image[:, top : top + size, left : left + size].ravel()
        for image in images
        for top in range(0, 4, size)
        for left in range(0, 6, size)
    ]
    right = np.array(rows).reshape(2, 6, 12)
    torn = images.reshape(2, 6, 12)
    columns_first = right.reshape(2, 2, 3, 12).swapaxes(1, 2).reshape(2, 6, 12)
    colours_last = right.reshape(2, 6, 3, 4).swapaxes(2, 3).reshape(2, 6, 12)
    require_equal(
        "the patches",
        answer.patches(images, size),
        right,
        {
            "reshape alone cuts lines of pixels, not squares: split both axes of the image, "
            "then bring the parts of a patch together": torn,
            "the patches stand in columns: the first row of patches comes first": columns_first,
            "in a row the colours stand together, first all red numbers: (3, P, P)": colours_last,
        },
    )


def check_window(answer: ModuleType) -> None:
    tokens = 5
    mask = answer.window_mask(tokens, 2)
    distance = np.arange(tokens)[:, None] - np.arange(tokens)
    hidden = (distance < 0) | (distance >= 2)
    right = np.where(hidden, -1e9, 0.0)
    require(mask is not None, "nothing was returned. Is the function written?")
    mask = np.asarray(mask, dtype=np.float64)
    require(not np.isnan(mask).any(), "there is a NaN: 0 times infinity? Use np.where")
    finite = np.where(np.isneginf(mask), -1e9, mask)
    require_equal(
        "the mask of five tokens and a window of two",
        finite,
        right,
        {
            "a window of two tokens is the token itself and one before it": np.where(
                (distance < 0) | (distance >= 3), -1e9, 0.0
            ),
            "rows ask and columns answer; this mask is transposed": right.T,
            "later tokens must be hidden, too": np.where(np.abs(distance) >= 2, -1e9, 0.0),
            "a mask is added to the scores: 0 where a token may look": np.where(hidden, -1e9, 1.0),
        },
    )
    rng = np.random.default_rng(0)
    q, k, v = (mg.tensor(rng.standard_normal((1, 1, tokens, 3))) for _ in range(3))
    changed = v.numpy().copy()
    changed[0, 0, 0] += 1.0  # only the first two tokens may see the first one
    results = [
        mg.attention(q, k, value, mask=mask).numpy()[0, 0] for value in (v, mg.tensor(changed))
    ]
    moved = np.abs(results[0] - results[1]).max(axis=1) > 1e-12
    require(moved.tolist() == [True, True, False, False, False], "the window does not hold")


def check_end_token(answer: ModuleType) -> None:
    tokens = np.array([[90, 5, 7, 91, 0], [90, 91, 0, 0, 0], [90, 5, 5, 5, 91]])
    hidden = np.arange(3 * 5 * 2, dtype=np.float64).reshape(3, 5, 2)
    right = np.array([hidden[0, 3], hidden[1, 1], hidden[2, 4]])
    require_equal(
        "the rows of the end tokens",
        answer.read_end(hidden, tokens),
        right,
        {
            "the last column is padding in most rows": hidden[:, -1],
            "that takes the same tokens from every caption: pair each caption with its own "
            "place, hidden[np.arange(B), places]": hidden[:, [3, 1, 4]],
        },
    )
