"""One step of AdamW, the optimizer that trains nearly every transformer.

It keeps two running means: of the gradient g, and of its square. Dividing one by the
root of the other gives a step that does not depend on the gradient's size:

    mean   = b1 mean + (1 - b1) g
    square = b2 square + (1 - b2) g^2
    step   = (mean / (1 - b1^n)) / (sqrt(square / (1 - b2^n)) + eps)
    p      = p - lr (step + weight_decay p)

n counts steps from 1. Do not change the arrays in place; return new ones.
"""


def adamw(p, g, mean, square, step, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-2):
    """Return (p, mean, square) after step number `step`."""
    ...  # your lines
