"""A solution of exercise 7."""


def adamw(p, g, mean, square, step, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-2):
    """Return (p, mean, square) after step number `step`."""
    mean = b1 * mean + (1 - b1) * g
    square = b2 * square + (1 - b2) * g**2
    direction = (mean / (1 - b1**step)) / ((square / (1 - b2**step)) ** 0.5 + eps)
    return p - lr * (direction + weight_decay * p), mean, square
