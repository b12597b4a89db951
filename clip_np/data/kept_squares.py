"""Which decoded images are kept for the next epoch?

Training sees each image again and again, and decoding it costs more than keeping it, as
long as there is room: 3 size^2 bytes a square. The first images that are seen are kept
until CACHE_BYTES are full, and the others are decoded each time. What is kept changes
nothing but the time.
"""

from clip_np.data.errors import DataError
from clip_np.data.making import Square

CACHE_BYTES = 512 * 2**20
"""Decoded squares that a loader keeps: 512 MiB, 174,762 images of 32 x 32 pixels."""


def has_room(count: int, size: int) -> bool:
    """Whether so many squares of `size` pixels may be kept.

    >>> has_room(3566, size=224), has_room(3567, size=224)
    (True, False)
    """
    return count * size * size * 3 <= CACHE_BYTES


class KeptSquares:
    """Squares of `size` pixels by name, and why other images cannot be read.

    >>> import numpy as np
    >>> kept = KeptSquares(size=1)
    >>> kept.keep("a.png", np.zeros((1, 1, 3), np.uint8))
    >>> kept.keep("b.png", DataError("b.png: cannot be read"))
    >>> kept.get("a.png"), kept.get("c.png"), kept.unreadable
    (array([[[0, 0, 0]]], dtype=uint8), None, {'b.png': 'b.png: cannot be read'})
    """

    def __init__(self, size: int, repeats: bool = True) -> None:
        self.size = size
        self.repeats = repeats  # whether an image comes again
        self.unreadable: dict[str, str] = {}
        self._squares: dict[str, Square] = {}

    def get(self, name: str) -> Square | None:
        """What is known of an image, if anything."""
        return self._squares.get(name)

    def keep(self, name: str, square: Square) -> None:
        """Remember a square, if there is room, or an error."""
        if isinstance(square, DataError):
            self.unreadable[name] = str(square)
        if self.wants(name):
            self._squares[name] = square

    def wants(self, name: str) -> bool:
        """Whether there is room for an image that is not there yet."""
        is_room = has_room(len(self._squares) + 1, self.size)
        return self.repeats and is_room and name not in self._squares
