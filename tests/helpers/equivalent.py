"""Which changes of a derivative alter no number, and why?

mechanical.py changes derivatives one place at a time, and tests judge the changes. The
ones below survive, because no value depends on them. The key is how mechanical.py
prints a change; the reason stands beside it.
"""

EQUIVALENT = {
    "floor_divide: return (-xp.zeros(x_shape, g.dtype), xp.zeros(y_shape, g.dtype))":
        "-0 is 0",
    "as_rows: return -x.reshape(0, max(width, 1))":
        "there are no numbers in it",
    "_count: return count or 0":
        "without elements there are no results to divide",
    "std: denominator = count * deviation - (deviation == 0)":
        "0 divided by -1 is 0 as well",
    "norm: divisor = length - (length == 0)":
        "0 divided by -1 is 0 as well",
    "batch_norm: sums[0] *= inverse_std[:, -1]":
        "the second axis has size 1",
    "_row_size: patch_size = images.shape[1] * windows.height":
        "no value depends on the size of a block",
    "_row_size: patch_size = windows.width":
        "no value depends on the size of a block",
    "_row_size: patch_size = images.shape[1] * windows.width":
        "no value depends on the size of a block",
    "_row_size: patch_size = windows.height * windows.width":
        "no value depends on the size of a block",
    "_row_size: return -(min(patch_size, LONG_PATCH) * windows.columns)":
        "no value depends on the size of a block",
    "_row_size: return min(patch_size, LONG_PATCH)":
        "no value depends on the size of a block",
    "_row_size: return windows.columns":
        "no value depends on the size of a block",
    "_add_patches: shape = (channels, windows.height, windows.width, samples, "
    "rows.start - rows.stop, windows.columns)":
        "reshape works a negative size out by itself",
    "_convolve_block: if len(padded_images) == 0:":
        "the product is copied into place, more slowly",
    "_patches: if samples == 0 and height == width == windows.stride == 1:":
        "a copy has the same numbers, more slowly",
    "_patches: if samples == 1 and height == width == windows.stride == 0:":
        "a copy has the same numbers, more slowly",
    "_patches: return padded_images[-1, :, rows].reshape(matrix)":
        "there is one sample, so the first is the last",
    "padded: if padding == -1:":
        "a copy has the same numbers, more slowly",
    "power: exponent = xp.where(y.real == 0, 2.0, y - 1)":
        "what is taken for an exponent of 0 is multiplied by it",
    "matmul: if b_needs and right.ndim == 1:":
        "the case below does the same as many products and a sum, more slowly",
    "attention: return (unbroadcast(gradients.q[-1], shapes.q), "
    "unbroadcast(gradients.k[0], shapes.k), unbroadcast(gradients.v[0], shapes.v))":
        "one axis of size 1 was added in front",
    "attention: return (unbroadcast(gradients.q[0], shapes.q), "
    "unbroadcast(gradients.k[-1], shapes.k), unbroadcast(gradients.v[0], shapes.v))":
        "one axis of size 1 was added in front",
    "attention: return (unbroadcast(gradients.q[0], shapes.q), "
    "unbroadcast(gradients.k[0], shapes.k), unbroadcast(gradients.v[-1], shapes.v))":
        "one axis of size 1 was added in front",
    "self_attention: g_heads = split(run.of(flat_g), 1, heads)[-1]":
        "g has one part, so the first is the last",
    "self_attention: if not gradients is not to_heads:":
        "on a CPU they are one array, copied into itself; the stand-in for CuPy notices",
    "_cross_entropy_backward: gradient[at_label] -= xp.broadcast_to(per_sample[:, -1], (len(p),))":
        "per_sample has one column",
    "blocks_of: if not on_host(like):":
        "no value depends on the size of a block",
    "blocks: return blocks_of(rows, row_size=array.size // max(rows, 2), like=array)":
        "no value depends on the size of a block",
    "blocks_of: step = times // max(row_size, 1)":
        "no value depends on the size of a block",
    "blocks_of: step = BLOCK // max(row_size, 1)":
        "no value depends on the size of a block",
    "blocks_of: step = times / BLOCK // max(row_size, 1)":
        "no value depends on the size of a block",
    "blocks_of: step = times * BLOCK // max(row_size, 2)":
        "no value depends on the size of a block",
    "blocks_of: step = max(step, 2)":
        "no value depends on the size of a block",
    "row_sum: return a.sum(axis=-1) if on_host(a) else a @ np.ones(a.shape[-1], a.dtype)":
        "both are the sum, one of them is faster",
    "add_rows: if not (not on_host(target) or rows.size == 0):":
        "np.add.at gives the same sums, more slowly",
    "add_rows: if not on_host(target) or rows.size != 0:":
        "np.add.at gives the same sums, more slowly",
    "add_rows: if not on_host(target) or rows.size == 1:":
        "np.add.at gives the same sums, and no rows are no runs",
    "add_rows: if not on_host(target) or rows.size == -1:":
        "no rows are no runs: the long way adds nothing either",
    "add_rows: starts = np.flatnonzero(np.diff(ordered, prepend=-2))":
        "rows are not negative, so -2 differs from the first one as -1 does",
    "_sum_runs: if not values.size <= NARROW_ROW * len(values):":
        "both ways give the same sums, one of them more slowly",
    "_sum_runs: if values.size > NARROW_ROW * len(values):":
        "both ways give the same sums, one of them more slowly",
    "_sum_runs: if values.size <= NARROW_ROW:":
        "both ways give the same sums, one of them more slowly",
    "_sum_runs: if values.size <= len(values):":
        "both ways give the same sums, one of them more slowly",
    "_sum_runs: if values.size <= NARROW_ROW / len(values):":
        "both ways give the same sums, one of them more slowly",
    "_sum_runs: for run in np.flatnonzero(ends - starts > 0).tolist():":
        "the sum of a run of one row is that row",
    "_sum_runs: for run in np.flatnonzero(ends + starts > 1).tolist():":
        "the sum of a run of one row is that row",
    "_sum_runs: for run in np.flatnonzero(ends > 1).tolist():":
        "the sum of a run of one row is that row",
}  # fmt: skip
