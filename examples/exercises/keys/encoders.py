"""Answer keys of the chapter on the encoders."""

from collections.abc import Callable

import numpy as np

from examples.exercises.comparing import require
from examples.exercises.judging import Mistake, judge

Results = dict[str, np.ndarray]


def _cut(images: np.ndarray, size: int) -> np.ndarray:
    """Patches (B, rows, columns, 3, size, size), by loops."""
    height, width = images.shape[2:]
    return np.array(
        [
            [
                [image[:, top : top + size, left : left + size] for left in range(0, width, size)]
                for top in range(0, height, size)
            ]
            for image in images
        ]
    )


def check_patches(patches: Callable) -> None:
    name = "the patches"

    def with_axes(*axes: int) -> Callable:
        """The patches by axes (B, row, column, colour, y, x) in this order."""

        def run(images: np.ndarray, size: int) -> Results:
            parts = _cut(images, size).transpose(axes)
            return {name: parts.reshape(len(images), -1, 3 * size * size)}

        return run

    cases = {
        f"of images {batch} x 3 x {height} x {width}, size {size}": {
            "images": np.arange(batch * 3.0 * height * width).reshape(batch, 3, height, width),
            "size": size,
        }
        for batch, height, width, size in ((2, 4, 6, 2), (1, 6, 3, 3), (3, 3, 6, 3))
    }
    mistakes = [
        Mistake(
            "reshape alone cuts lines of pixels, not squares: split both axes of the image, then "
            "bring the parts of a patch together",
            lambda images, size: {name: images.reshape(len(images), -1, 3 * size * size)},
        ),
        Mistake(
            "the patches stand in columns: the first row of patches comes first",
            with_axes(0, 2, 1, 3, 4, 5),
        ),
        Mistake(
            "in a row the colours stand together, first all red numbers: (3, P, P)",
            with_axes(0, 1, 2, 4, 5, 3),
        ),
        Mistake(
            "the pixels of a patch stand in columns: its first line comes first",
            with_axes(0, 1, 2, 3, 5, 4),
        ),
    ]
    judge(
        lambda images, size: {name: patches(images, size)},
        with_axes(0, 1, 2, 3, 4, 5),
        cases,
        mistakes,
    )


def check_window(window_mask: Callable) -> None:
    name = "the mask"

    def answer(tokens: int, window: int) -> Results:
        mask = window_mask(tokens, window)
        require(mask is not None, "nothing was returned. Is the function written?")
        mask = np.asarray(mask, dtype=np.float64)
        require(not np.isnan(mask).any(), "there is a NaN: 0 times infinity? Use np.where")
        return {name: mask}

    def where(visible: Callable, yes: float = 0.0, no: float = -np.inf) -> Callable:
        """The mask by visible(distance, window), the distance back to a token."""

        def run(tokens: int, window: int) -> Results:
            distance = np.arange(tokens)[:, None] - np.arange(tokens)
            return {name: np.where(visible(distance, window), yes, no)}

        return run

    def seen(distance: np.ndarray, window: int) -> np.ndarray:
        return (distance >= 0) & (distance < window)

    cases = {
        f"of {tokens} tokens and a window of {window}": {"tokens": tokens, "window": window}
        for tokens, window in ((5, 2), (4, 1), (6, 3), (3, 7))
    }
    mistakes = [
        Mistake(hint, run)
        for hint, run in [
            ("a window of two tokens is the token itself and one before it",
             where(lambda distance, window: (distance >= 0) & (distance <= window))),
            ("rows ask and columns answer; this mask is transposed",
             where(lambda distance, window: (distance <= 0) & (distance > -window))),
            ("later tokens must be hidden, too",
             where(lambda distance, window: np.abs(distance) < window)),
            ("later tokens must be hidden, too: for them i - j is negative",
             where(lambda distance, window: distance < window)),
            ("later tokens are hidden, but there is no window yet",
             where(lambda distance, window: distance >= 0)),
            ("a mask is added to the scores: 0 where a token may look", where(seen, yes=1.0)),
            ("that marks with 1 where a token may look. A mask is added to the scores: it is 0 "
             "there and -infinity elsewhere", where(seen, yes=1.0, no=0.0)),
            ("that marks with 1 what is hidden. A mask is added to the scores: what is hidden has "
             "-infinity", where(seen, yes=0.0, no=1.0)),
            ("0 and -infinity are swapped", where(seen, yes=-np.inf, no=0.0)),
            ("that hides the same tokens, but by a large number: use -np.inf",
             where(seen, no=-1e9)),
        ]
    ]  # fmt: skip
    judge(answer, where(seen), cases, mistakes)


def check_end_token(read_end: Callable) -> None:
    name = "the rows of the end tokens"

    def at(places: Callable) -> Callable:
        """The rows of hidden at the places (B,) that a function of tokens gives."""

        def run(hidden: np.ndarray, tokens: np.ndarray) -> Results:
            return {name: hidden[np.arange(len(tokens)), places(tokens)]}

        return run

    first = np.array([[90, 5, 7, 91, 0], [90, 91, 0, 0, 0], [90, 5, 5, 5, 91]])
    second = np.array([[90, 0, 7, 91, 0, 0], [90, 12, 0, 0, 4, 95]])  # 0 is a word here, too
    cases = {
        f"of {len(tokens)} captions": {
            "hidden": np.arange(2.0 * tokens.size).reshape(*tokens.shape, 2),
            "tokens": tokens,
        }
        for tokens in (first, second)
    }
    mistakes = [
        Mistake(
            "the last column is padding in most rows",
            at(lambda tokens: np.full(len(tokens), tokens.shape[1] - 1)),
        ),
        Mistake(
            "that takes the same tokens from every caption: pair each caption with its own place, "
            "hidden[np.arange(B), places]",
            lambda hidden, tokens: {name: hidden[:, tokens.argmax(axis=1)]},
        ),
        Mistake(
            "the id 0 may stand inside of a caption: do not count the tokens that are not 0",
            at(lambda tokens: (tokens != 0).sum(axis=1) - 1),
        ),
        Mistake(
            "that is the token before the end token", at(lambda tokens: tokens.argmax(axis=1) - 1)
        ),
    ]
    judge(
        lambda hidden, tokens: {name: read_end(hidden, tokens)},
        at(lambda tokens: tokens.argmax(axis=1)),
        cases,
        mistakes,
    )
