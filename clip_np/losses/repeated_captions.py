"""Which pairs of a batch have the same caption?

The losses take caption j for a wrong answer to image i, unless i = j. That is a mistake
where both captions are equal: "a dog" is right for every image of a dog. A model cannot
avoid the mistake, so its loss has a floor. In a batch of 8 pairs with two captions, 4
times "a dog" and 4 times "a cat", the contrastive loss never falls below ln 4.

The losses leave such pairs out. Their parameter `positives` (B, B) names them: it is
true where caption i equals caption j. Captions are equal if their rows of token ids
are, because then the model cannot tell them apart. So captions that differ only in
white space are equal, and captions that differ only in the part that is cut off.
"""

import numpy as np


def equal_captions(tokens: np.ndarray) -> np.ndarray | None:
    """The `positives` of a batch: tokens (B, T) -> (B, B), boolean.

    None if no two captions are equal, which is the usual case. It costs a look at each
    row, and not at each pair of rows.

    >>> equal_captions(np.array([[7, 1], [7, 2], [7, 1]])).astype(int)
    array([[1, 0, 1],
           [0, 1, 0],
           [1, 0, 1]])
    >>> equal_captions(np.array([[7, 1], [7, 2], [7, 3]]))
    """
    number_of: dict[bytes, int] = {}
    numbers = [number_of.setdefault(row.tobytes(), len(number_of)) for row in tokens]
    if len(number_of) == len(numbers):
        return None
    caption = np.array(numbers)  # (B,)
    return caption[:, None] == caption
