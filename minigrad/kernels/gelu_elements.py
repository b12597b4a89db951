"""How does a GPU compute GELU, where the derivative costs no memory?

A thread has one number v, and computes

    y      = v Phi(v)                     forward
    dL/dv  = g (Phi(v) + v Phi'(v))       backward

for one of three versions of Phi (minigrad/ops/gelus.py has them all). On a CPU the
forward pass stores the derivative, because exp and tanh are slow there. A GPU waits for
memory and has time to compute: here the backward pass computes Phi and Phi' again from
v. That stores nothing, and moves a quarter fewer numbers.

The plain forms: `plain.gelu`, `plain.quick_gelu`. Hendrycks & Gimpel 2016, "Gaussian
Error Linear Units (GELUs)", arXiv:1606.08415.
"""

import math
from typing import NamedTuple

from minigrad.backend import Array
from minigrad.kernels.launching import Kernel, contiguous
from minigrad.memory import empty
from minigrad.plain import CUBIC, SIGMOID_FACTOR

ROOT = math.sqrt(2.0 / math.pi)

FORWARD = """
extern "C" __global__ void NAME_forward(const real *x, real *y, long long count) {
    for (long long i = first_element(); i < count; i += element_step()) {
        real v = x[i];
        PHI
        y[i] = x[i] * phi;
    }
}
"""

BACKWARD = """
extern "C" __global__ void NAME_backward(
    const real *x, const real *g, real *to_x, long long count) {
    for (long long i = first_element(); i < count; i += element_step()) {
        real v = x[i];
        PHI
        SLOPE
        to_x[i] = g[i] * (phi + x[i] * slope);
    }
}
"""


class Pair(NamedTuple):
    """The kernels of one version of GELU."""

    forward_kernel: Kernel
    backward_kernel: Kernel

    def forward(self, x: Array, needs: bool) -> tuple[Array, Array]:
        """x Phi(x), and what `backward` needs: x."""
        x = contiguous(x)
        y = empty(x.shape, x)
        self.forward_kernel.over_elements((x, y, x.size), x.size)
        return y, x

    def backward(self, g: Array, x: Array) -> Array:
        """g (Phi(x) + x Phi'(x)), in the shape of g."""
        g = contiguous(g)
        to_x = empty(g.shape, g)
        self.backward_kernel.over_elements((x, g, to_x, g.size), g.size)
        return to_x


def _pair(name: str, phi: str, slope: str) -> Pair:
    """The two kernels with the lines that compute Phi(v) and Phi'(v)."""
    forward, backward = (
        text.replace("NAME", name).replace("PHI", phi).replace("SLOPE", slope)
        for text in (FORWARD, BACKWARD)
    )
    return Pair(Kernel(f"{name}_forward", forward), Kernel(f"{name}_backward", backward))


GELU = _pair(
    "gelu",
    phi=f"const real phi = real(0.5) * (1 + erf(v * real({math.sqrt(0.5)})));",
    slope=f"const real slope = exp(real(-0.5) * v * v) * real({0.5 * ROOT});",
)
TANH_GELU = _pair(
    "tanh_gelu",
    phi=f"""v = v > 10 ? real(10) : v < -10 ? real(-10) : v;  // else v^3 might overflow
        const real u = v * (1 + real({CUBIC}) * v * v) * real({ROOT});
        const real phi = real(0.5) * (1 + tanh(u));""",
    slope=f"""const real to_u = (1 + real({3.0 * CUBIC}) * v * v) * real({ROOT});
        const real slope = 2 * phi * (1 - phi) * to_u;""",
)
QUICK_GELU = _pair(
    "quick_gelu",
    phi=f"const real phi = 1 / (1 + exp(real({-SIGMOID_FACTOR}) * v));",
    slope=f"const real slope = phi * (1 - phi) * real({SIGMOID_FACTOR});",
)

KERNELS = (*GELU, *TANH_GELU, *QUICK_GELU)
