"""How does a GPU turn rows of scores into probabilities in one launch?

A block of threads has a row of N scores. In attention, a score is first multiplied by
1/sqrt(D), and the mask is added to it; then comes softmax:

    s    = scale x + mask
    p    = exp(s - m) / sum(exp(s - m))        m = max(s)
    dx   = p (dp - sum(p dp)) scale            dp = dL/dp

All of it is written over the scores, or over dp. The derivations: minigrad/ops/
probabilities.py and attention.py. A row of -inf alone becomes a row of zeros, with
derivative 0. On a GPU the maximum costs little, so every row has its shift m. And the
sum of p dp is at hand in the kernel, so the backward pass of attention needs no other
way to get it.

**Masks.** Scores are matrices, (..., T, N), of T queries and N keys. A causal mask is
never made: query t hides all keys after t, which the kernel knows from the position.
Another mask is an array (M, R, N) of M matrices with R rows. Neighbouring matrices of
scores share one of the M. R is T, or 1 if all queries hide the same keys.

The plain forms: `plain.softmax`, `plain.attention`.
"""

import math
from typing import NamedTuple

from minigrad.backend import Array, array_module
from minigrad.kernels.launching import Kernel, contiguous

NO_MASK, ARRAY, CAUSAL = 0, 1, 2  # what `mask_kind` says to the kernel

FORWARD = Kernel(
    "softmax_forward",
    """
extern "C" __global__ void softmax_forward(
    real *p, const real *mask, long long rows, long long width, double scale,
    long long mask_kind, long long queries, long long mask_rows, long long sharing) {
    const real hidden = -1 / real(0);
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const long long query = row % queries;
        const long long mask_row = row / queries / sharing * mask_rows + query % mask_rows;
        real *row_p = p + row * width;
        real largest = hidden;
        for (long long i = threadIdx.x; i < width; i += blockDim.x) {
            real score = row_p[i] * real(scale);
            if (mask_kind == 1)
                score += mask[mask_row * width + i];
            if (mask_kind == 2 && i > query)
                score += hidden;
            row_p[i] = score;
            largest = score > largest ? score : largest;
        }
        const real shift = block_shift(largest);
        const real sum = block_exponentials(row_p, row_p, width, shift);
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            row_p[i] /= sum;
    }
}
""",
)

BACKWARD = Kernel(
    "softmax_backward",
    """
extern "C" __global__ void softmax_backward(
    const real *p, real *d, long long rows, long long width, double scale) {
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const real *row_p = p + row * width;
        real *row_d = d + row * width;
        real sum = 0;
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            sum += row_p[i] * row_d[i];
        sum = block_sum(sum);
        for (long long i = threadIdx.x; i < width; i += blockDim.x)
            row_d[i] = row_p[i] * (row_d[i] - sum) * real(scale);
    }
}
""",
)

KERNELS = (FORWARD, BACKWARD)


class MaskRows(NamedTuple):
    """A mask as the kernel reads it: (M, R, N); `sharing` matrices share one of M."""

    values: Array
    kind: int
    rows: int
    sharing: int


def probabilities(scores: Array, scale: float = 1.0, mask: Array | str | None = None) -> Array:
    """softmax(scale scores + mask) along the last axis, in the memory of the scores.

    scores (..., T, N), without gaps; mask: an array that broadcasts to them, "causal"
    or None.
    """
    width = scores.shape[-1]
    rows = scores.size // max(width, 1)
    queries = scores.shape[-2] if scores.ndim > 1 else 1
    read = _mask_rows(mask, scores)
    of_mask = (read.kind, queries, read.rows, read.sharing)
    FORWARD.over_rows((scores, read.values, rows, width, scale, *of_mask), rows, width)
    return scores


def gradient(d: Array, p: Array, scale: float = 1.0) -> Array:
    """The gradient of the scores from d = dL/dp, in the memory of d, without gaps."""
    width = d.shape[-1]
    rows = d.size // max(width, 1)
    BACKWARD.over_rows((contiguous(p), d, rows, width, scale), rows, width)
    return d


def _mask_rows(mask: Array | str | None, scores: Array) -> MaskRows:
    """The mask for `probabilities`; a copy where neighbours do not share matrices."""
    if mask is None:
        return MaskRows(scores, kind=NO_MASK, rows=1, sharing=1)
    if isinstance(mask, str):
        return MaskRows(scores, kind=CAUSAL, rows=1, sharing=1)
    shape = (1,) * (scores.ndim - mask.ndim) + mask.shape
    wanted, leading, rows = scores.shape[:-2], shape[:-2], shape[-2]
    # Neighbours share a matrix if the axes that repeat it are the last of the leading.
    repeats = [size < whole for size, whole in zip(leading, wanted)]
    if repeats != sorted(repeats):
        leading = wanted
    values = array_module(scores).broadcast_to(mask, (*leading, rows, scores.shape[-1]))
    sharing = math.prod(wanted) // max(math.prod(leading), 1)
    return MaskRows(contiguous(values), kind=ARRAY, rows=rows, sharing=sharing)
