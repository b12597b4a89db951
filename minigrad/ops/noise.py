"""How does random noise keep a network from relying on single numbers?

While training, dropout sets each number to 0 with probability p. The others grow by
1/(1-p), so that the expected value stays. A network that must work with any half of its
numbers missing cannot lean on one of them. When the network is used, nothing is
dropped.

    y = x m          m = 0 with probability p, else 1/(1-p)

Randomness is explicit: the caller passes the generator. The mask is drawn on the host
and then moved, so that every backend and every dtype draws the same numbers.

Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", JMLR 15.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.backend import Array, move
from minigrad.inputs import floating
from minigrad.ops.basic import mul
from minigrad.tensor import Tensor, constant

RandomSource = np.random.Generator | None


def dropout(x: Any, p: float, rng: RandomSource) -> Tensor:
    """The form of `plain.dropout` that draws its mask from `rng`. p=0 changes nothing.

    >>> import numpy as np
    >>> print(dropout([1.0, 2.0, 3.0, 4.0], p=0.5, rng=np.random.default_rng(0)).data)
    [2. 4. 6. 0.]
    """
    (x,) = floating("dropout", x)
    mask = dropout_mask("dropout: p", p, rng, x.shape, x)
    return x if mask is None else mul(x, mask)


def dropout_mask(
    name: str, p: float, rng: RandomSource, shape: tuple[int, ...], like: Tensor
) -> Array | None:
    """An array to multiply with: 0 with probability p, else 1/(1-p). None if p is 0.

    `name` stands for p in error messages; `like` gives dtype and backend.

    >>> from minigrad import tensor
    >>> rng = np.random.default_rng(0)
    >>> dropout_mask("p", 0.5, rng, shape=(4,), like=tensor(1.0))
    array([2., 2., 2., 0.], dtype=float32)
    """
    p = float(constant(name.partition(":")[0], name.rpartition(" ")[2], p))
    if not 0.0 <= p < 1.0:
        raise ValueError(f"{name} must lie in [0, 1), got {p}")
    if p == 0.0:
        return None
    if rng is None:
        raise ValueError(f"{name} > 0 needs a random generator: numpy.random.default_rng(seed)")
    mask = (rng.random(shape, dtype=np.float32) >= p) * (1.0 / (1.0 - p))
    return move(mask.astype(like.dtype), like.backend)
