"""How does a GPU move all parameters in one launch?

Each thread has some numbers of the long array of parameters (minigrad/flat.py). For
each number it reads the parameter, its gradient and its two running means, and writes
three of them back. As steps of NumPy, the same formulas are 12 passes over memory:

    g = factor g                            the clipped gradient
    m = b1 m + (1 - b1) g
    v = b2 v + (1 - b2) g^2
    p = (1 - lr weight_decay) p - a m / (b sqrt(v) + eps)

`optim.AdamW` says what a and b are. The factor is a number on the GPU, from
flat_gradients.py, and 1 if nothing is clipped.

SGD is here too: u = momentum u + g + weight_decay p, p = p - lr u.

The plain form: `plain_adamw.adamw_update`. Loshchilov & Hutter 2019, arXiv:1711.05101.
"""

from typing import NamedTuple

from minigrad.backend import Array, array_module
from minigrad.kernels.launching import Kernel, contiguous

ADAMW = Kernel(
    "adamw",
    """
extern "C" __global__ void adamw(
    real *p, const real *g, real *mean, real *square, const real *factor, long long count,
    double beta1, double beta2, double a, double b, double eps, double kept) {
    const real rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (long long i = first_element(); i < count; i += element_step()) {
        const real gradient = g[i] * factor[0];
        const real m = real(beta1) * mean[i] + rest1 * gradient;
        const real v = real(beta2) * square[i] + rest2 * (gradient * gradient);
        mean[i] = m;
        square[i] = v;
        p[i] = real(kept) * p[i] - real(a) * (m / (real(b) * sqrt(v) + real(eps)));
    }
}
""",
)

SGD = Kernel(
    "sgd",
    """
extern "C" __global__ void sgd(
    real *p, const real *g, real *velocity, const real *factor, long long count,
    double momentum, double lr, double weight_decay) {
    for (long long i = first_element(); i < count; i += element_step()) {
        const real pull = g[i] * factor[0] + real(weight_decay) * p[i];
        const real v = real(momentum) * velocity[i] + pull;
        velocity[i] = v;
        p[i] -= real(lr) * v;
    }
}
""",
)

KERNELS = (ADAMW, SGD)


class AdamWNumbers(NamedTuple):
    """What a step of AdamW needs besides arrays, in the order of the kernel."""

    beta1: float
    beta2: float
    a: float
    b: float
    eps: float
    kept: float  # 1 - lr weight_decay


class SGDNumbers(NamedTuple):
    """What a step of SGD needs besides arrays, in the order of the kernel."""

    momentum: float
    lr: float
    weight_decay: float


def adamw(
    p: Array, g: Array, mean: Array, square: Array, factor: Array | None, numbers: AdamWNumbers
) -> None:
    """Move p (n,) and its running means in place."""
    g, factor = contiguous(g), _or_one(factor, p)
    arguments = (p, g, mean, square, factor, p.size, *map(float, numbers))
    ADAMW.over_elements(arguments, count=p.size)


def sgd(p: Array, g: Array, velocity: Array, factor: Array | None, numbers: SGDNumbers) -> None:
    """Move p (n,) and its running sum of gradients in place."""
    g, factor = contiguous(g), _or_one(factor, p)
    arguments = (p, g, velocity, factor, p.size, *map(float, numbers))
    SGD.over_elements(arguments, count=p.size)


def _or_one(factor: Array | None, like: Array) -> Array:
    """The factor of the gradient, (): 1 if there is none."""
    return array_module(like).ones((), like.dtype) if factor is None else factor
