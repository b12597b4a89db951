"""What the kernels of updates, sums and rows compute: see kernel_models.py."""

import numpy as np


def gather(joined, addresses, stops, arrays, *, blocks):
    starts = [0, *stops[:-1]]
    number = np.ctypeslib.as_ctypes_type(joined.dtype)
    for address, start, stop in zip(addresses.tolist(), starts, stops):
        joined[start:stop] = (number * int(stop - start)).from_address(address)


def squares_of_parts(x, sums, parts, part_size, count, *, blocks):
    for part in range(parts):
        sums[part] = (x[part * part_size : (part + 1) * part_size].astype(float) ** 2).sum()


def norm_and_factor(sums, norm, factor, parts, max_norm, tiny, *, blocks):
    norm[...] = np.sqrt(sums.astype(float).sum())
    factor[...] = 1.0 if norm <= max_norm else max_norm / (norm + tiny)


def adamw(p, g, mean, square, factor, count, beta1, beta2, a, b, eps, kept, *, blocks):
    gradient = factor * g.astype(float)
    mean[...] = beta1 * mean + (1.0 - beta1) * gradient
    square[...] = beta2 * square + (1.0 - beta2) * gradient**2
    p[...] = kept * p - a * mean / (b * np.sqrt(square) + eps)


def sgd(p, g, velocity, factor, count, momentum, lr, weight_decay, *, blocks):
    velocity[...] = momentum * velocity + factor * g.astype(float) + weight_decay * p
    p[...] = p - lr * velocity


def column_sums(x, sums, rows, width, *, blocks):
    sums[...] = x.reshape(rows, width).astype(float).sum(axis=0)


def add_rows(table, values, order, rows, stops, runs, width, *, blocks):
    table, values = table.reshape(-1, width), values.reshape(-1, width).astype(float)
    for start, stop, row in zip([0, *stops[: runs - 1]], stops[:runs], rows[:runs]):
        table[row] += values[order[start:stop]].sum(axis=0).astype(table.dtype)


def add_bias_and_residual(y, bias, residual, rows, width, *, blocks):
    terms = bias.astype(float) + residual.reshape(rows, width)
    y.reshape(rows, width)[...] += terms.astype(y.dtype)


def add_distinct_rows(table, values, ids, rows, width, *, blocks):
    table.reshape(-1, width)[ids] += values.reshape(rows, width)


def unit_rows_forward(x, y, lengths, rows, width, eps, *, blocks):
    x = x.reshape(rows, width).astype(float)
    size = np.maximum(abs(x).max(axis=1), 1.0)  # squares stay finite
    length = size * np.sqrt(((x / size[:, None]) ** 2).sum(axis=1))
    y.reshape(rows, width)[...] = x / np.maximum(length, eps)[:, None]
    lengths[...] = length


def unit_rows_backward(g, y, lengths, to_x, rows, width, eps, *, blocks):
    g, y = g.reshape(rows, width).astype(float), y.reshape(rows, width).astype(float)
    along = np.where(lengths < eps, 0.0, (g * y).sum(axis=1))
    divisor = np.maximum(lengths.astype(float), eps)
    to_x.reshape(rows, width)[...] = (g - y * along[:, None]) / divisor[:, None]


UPDATES = (gather, squares_of_parts, norm_and_factor, adamw, sgd)
SUMS = (column_sums, add_rows, add_distinct_rows, add_bias_and_residual)
MODELS = (*UPDATES, *SUMS, unit_rows_forward, unit_rows_backward)
