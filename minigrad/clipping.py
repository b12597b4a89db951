"""What if one gradient is a thousand times as long as the others?

A single odd batch can give such a gradient, and a step along it throws the model off
its course. So the gradient of all parameters, taken as one vector, is shortened to a
largest length. Its direction stays.

    norm   = sqrt(sum of g^2 over all numbers of all gradients)
    factor = min(1, max_norm / norm)
    g      = factor g

`clip_grad_norm` does this. `clipped_step` is for a training step: the optimizer
multiplies by the factor when it has the numbers at hand anyway, so the gradients are
not written once more. On a GPU both copy all gradients into one array first
(minigrad/kernels/flat_gradients.py), and no number is read back.

Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural
networks", arXiv:1211.5063.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from minigrad.backend import Array, array_module, as_array, on_host, use_device
from minigrad.kernels import flat_gradients
from minigrad.kernels.launching import choose
from minigrad.module import Parameter
from minigrad.threads import parallel_map

if TYPE_CHECKING:
    from minigrad.optim import Optimizer

TINY = 1e-6
"""Is added to the norm, so that a norm of 0 is not divided by; PyTorch's number."""


def clip_grad_norm(params: Sequence[Parameter], max_norm: float | None, workers: int = 1) -> Array:
    """Scale all gradients so that their common length is at most max_norm.

    Returns the length before, a 0-d array. With max_norm None nothing is scaled. On a
    CPU the arrays are changed in place, on `workers` threads. On a GPU the gradients
    become views of one new array.

    >>> import numpy as np
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = np.array([30.0, 40.0])
    >>> clip_grad_norm([p], max_norm=1.0)
    array(50.)
    >>> p.grad.round(4)
    array([0.6, 0.8])
    """
    moved = [parameter for parameter in params if parameter.grad is not None]
    first = _first_gradient("clip_grad_norm", moved)
    use_device(first)
    clip = choose(first, portable=_clip_each, on_gpu=_clip_together)
    return clip(moved, max_norm, workers)


def clipped_step(
    optimizer: "Optimizer",
    params: Sequence[Parameter],
    max_norm: float | None,
    workers: int = 1,
    check: Callable[[Array], None] | None = None,
) -> Array:
    """The fast form of `clip_grad_norm(params, max_norm)` and `optimizer.step()`.

    Returns the length before, a 0-d array. The gradients stay as they are. params has
    all parameters of the optimizer, and may have others, whose gradients count for the
    length. check is called with the length before anything is moved; if it raises,
    nothing is.

    >>> import numpy as np
    >>> from minigrad.optim import SGD
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = np.array([30.0, 40.0])
    >>> clipped_step(SGD([p], lr=1.0), [p], max_norm=1.0)
    array(50.)
    >>> p.data.round(4), p.grad
    (array([-0.6, -0.8]), array([30., 40.]))
    """
    use_device(_first_gradient("clipped_step", params))
    optimizer.repack()
    stretches = optimizer.stretches()
    # On a GPU, these are all gradients of the optimizer's parameters. On a CPU: none.
    gathered = [part.gradient for part in stretches if part.gradient is not None]
    in_them = {id(parameter) for parameter in optimizer.params} if gathered else set()
    others = [parameter for parameter in params if id(parameter) not in in_them]
    norm, factor = measure([*gathered, *_numbers_of(others)], max_norm, workers)
    if check is not None:
        check(norm)
    optimizer.move(stretches, factor, workers)
    return norm


def measure(
    gradients: Sequence[Array], max_norm: float | None, workers: int
) -> tuple[Array, Array | None]:
    """The common length, (), and the factor, (), or None if nothing is to be scaled.

    The gradients have one axis each.

    >>> import numpy as np
    >>> measure([np.array([3.0]), np.array([4.0])], max_norm=10.0, workers=1)
    (array(5.), None)
    """
    form = choose(gradients[0], portable=_measure_each, on_gpu=_measure_together)
    return form(gradients, max_norm, workers)


def _first_gradient(name: str, params: Sequence[Parameter]) -> Array:
    """The first gradient; ValueError, in the name of a function, if there is none."""
    for parameter in params:
        if parameter.grad is not None:
            return parameter.grad
    raise ValueError(
        f"{name}: no parameter has a gradient; call it between loss.backward() and optimizer.step()"
    )


def _numbers_of(params: Sequence[Parameter]) -> list[Array]:
    """The gradients with a single axis, (n,) each."""
    return [parameter.grad.reshape(-1) for parameter in params if parameter.grad is not None]


def _measure_each(
    gradients: Sequence[Array], max_norm: float | None, workers: int
) -> tuple[Array, Array | None]:
    """`measure`, one array after the other."""
    xp = array_module(gradients[0])
    squares = parallel_map(lambda g: xp.vdot(g, g), gradients, workers)
    norm = as_array(xp.sqrt(sum(squares)))
    if max_norm is None:
        return norm, None
    if on_host(norm) and norm <= max_norm:  # on a GPU this question would wait for the device
        return norm, None
    return norm, xp.minimum(1.0, max_norm / (norm + TINY)).astype(norm.dtype)


def _measure_together(
    gradients: Sequence[Array], max_norm: float | None, workers: int
) -> tuple[Array, Array | None]:
    """`measure` on a GPU, whose threads need no `workers`."""
    largest = math.inf if max_norm is None else max_norm
    norm, factor = flat_gradients.measure(gradients, largest, TINY)
    return norm, None if max_norm is None else factor


def _clip_each(moved: Sequence[Parameter], max_norm: float | None, workers: int) -> Array:
    """`clip_grad_norm` in place, one array after the other."""
    norm, factor = measure(_numbers_of(moved), max_norm, workers)
    if factor is not None:
        gradients = [parameter.grad for parameter in moved]
        parallel_map(lambda g: array_module(g).multiply(g, factor, out=g), gradients, workers)
    return norm


def _clip_together(moved: Sequence[Parameter], max_norm: float | None, workers: int) -> Array:
    """`clip_grad_norm` on a GPU: the gradients become views of one array."""
    gradients = _numbers_of(moved)
    joined = flat_gradients.gather(gradients, gradients[0])
    norm, factor = measure([joined], max_norm, workers)
    if factor is not None:
        joined *= factor
    start = 0
    for parameter in moved:
        parameter.grad = joined[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size
    return norm
