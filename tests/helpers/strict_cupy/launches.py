"""How many kernels would CuPy launch for a call?

One for each new array that the call computes, and one for each array that it writes
into. A view is none. Some calls are more, as in the source of CuPy 14:

- `matmul` of three or more axes copies each operand that is not contiguous, and a
  result that is not. If axes broadcast, small kernels make tables of addresses first.
- `matmul` and `dot` of matrices copy an operand of which no axis is contiguous. The dot
  product of two vectors is a product and a sum.
- `concatenate` and `stack` copy their arrays one by one.

cuBLAS and CUB may launch two kernels where one is counted here. A profiler would see
these; the figures here are for comparing one state of the source with another.
"""

from collections.abc import Sequence

import numpy as np

NO_WORK = {"empty", "empty_like", "broadcast_arrays", "shape", "ndim", "size"}
PRODUCTS = {"matmul", "dot", "vdot", "inner"}
JOINS = {"concatenate", "stack", "hstack", "vstack"}


def count(
    name: str, hosts: Sequence[np.ndarray], results: Sequence[np.ndarray], out: np.ndarray | None
) -> int:
    """Launches of function `name` for the operands `hosts`, with these results.

    `results` are the arrays that are new. `out` is the array that is written into.
    """
    written = out if out is not None else next(iter(results), None)
    if name in NO_WORK or written is None or written.size == 0:
        return 0
    if name in PRODUCTS:
        return of_product(hosts[:2], out)
    if name == "einsum":
        return 1 + sum(not is_contiguous(host) for host in hosts)
    if name in JOINS:
        return len(hosts)
    return max(len(results), 1)


def of_product(operands: Sequence[np.ndarray], out: np.ndarray | None) -> int:
    """Launches of a matrix product."""
    copied_out = int(out is not None and not out.flags.c_contiguous)
    if any(host.size == 0 for host in operands):
        return 1  # zeros
    if max(host.ndim for host in operands) <= 2:
        if all(host.ndim == 1 for host in operands):
            return 2 + sum(not host.flags.c_contiguous for host in operands)
        return 1 + sum(not is_contiguous(host) for host in operands) + copied_out
    copies = sum(not host.flags.c_contiguous for host in operands)
    leading = {host.shape[:-2] for host in operands}
    tables = 3 * (max(host.ndim for host in operands) - 2) if len(leading) > 1 else 0
    return 1 + copies + tables + copied_out


def is_contiguous(host: np.ndarray) -> bool:
    """Whether cuBLAS can read it: as a matrix with one axis of neighbours."""
    return host.ndim == 0 or host.size == 0 or host.itemsize in host.strides
