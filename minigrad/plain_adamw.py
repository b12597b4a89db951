"""What does one step of AdamW compute?

The optimizer in minigrad/optim.py works in place, on one long array. This is its plain
form: the formulas of one step for one parameter. A test holds the two equal.

Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
"""

from typing import NamedTuple

from minigrad.backend import Array


class AdamWState(NamedTuple):
    """A parameter and the two running means that AdamW keeps for it."""

    parameter: Array
    mean: Array
    square: Array


def adamw_update(
    parameter: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    step: int,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> AdamWState:
    """One step of AdamW for one parameter, on arrays. Nothing is changed in place.

        m = b1 m + (1 - b1) g                 running mean of the gradient
        v = b2 v + (1 - b2) g^2               running mean of its square
        m' = m / (1 - b1^step)
        v' = v / (1 - b2^step)
        p = p - lr (m' / (sqrt(v') + eps) + weight_decay p)

    m and v start at 0, so they are too small at first. The divisions make up for it.

    step counts from 1. In the first step m' = g and v' = g^2, so every number moves by
    lr, whatever the size of its gradient:

    >>> import numpy as np
    >>> p, g, zeros = np.array([1.0, 1.0]), np.array([0.01, -5.0]), np.zeros(2)
    >>> state = adamw_update(p, g, zeros, zeros, step=1, lr=0.1, weight_decay=0.0)
    >>> print(state.parameter.round(3), state.mean.round(3))
    [0.9 1.1] [ 0.001 -0.5  ]
    """
    beta1, beta2 = betas
    mean = beta1 * mean + (1.0 - beta1) * gradient
    square = beta2 * square + (1.0 - beta2) * gradient**2
    corrected_mean = mean / (1.0 - beta1**step)
    corrected_square = square / (1.0 - beta2**step)
    direction = corrected_mean / (corrected_square**0.5 + eps)
    parameter = parameter - lr * (direction + weight_decay * parameter)
    return AdamWState(parameter, mean, square)
