"""What is an operation?

An operation is a function that computes a result, and knows the derivative of what it
computes. It takes tensors, arrays or numbers, and returns a tensor:

    def mul(a, b):
        a, b = coerce("mul", a, b)             # tensors of one dtype on one backend
        x, y = a.data, b.data                  # a vjp keeps arrays, never tensors

        def vjp(g):                            # g = dL/d(a b)
            return g * y, g * x                # dL/da, dL/db

        return record("mul", x * y, (a, b), vjp)

`record` puts vjp on the tape. The walk back (minigrad/tape.py) calls it with the
gradient of the result, and hands what it returns to the operations that made a and b.
Nothing else in minigrad knows calculus.

    basic             neg exp log sqrt mul add sub div power: start here
    choice            abs maximum minimum where clip
    elementary        sin cos log1p square floor_divide remainder
    reductions        sum mean var norm std max min logsumexp
    accumulations     cumsum prod
    shape             reshape ravel flatten squeeze expand_dims transpose swapaxes
                      flip tril broadcast_to pad concatenate stack split to astype
    indexing          x[index] take embedding
    linear            matmul linear
    contractions      einsum
    error_function    erf
    activation        tanh sigmoid relu silu softplus
    gelus             gelu quick_gelu
    probabilities     softmax log_softmax
    losses            cross_entropy
    normalisation     layer_norm normalize
    noise             dropout
    masks             which tokens a token may look at
    packed            padded
    attention         attention self_attention
    windows           which numbers a sliding window sees
    conv              conv2d
    pooling           avg_pool2d max_pool2d
    batch_norm        batch_norm

Many are fast or safe forms of formulas that minigrad/plain.py and
minigrad/plain_images.py write out. The first line of such a function names its plain
twin, and tests hold the two equal.

Each file begins with `from __future__ import annotations`. Without it, Python 3.11
evaluates the annotations of a nested function every time its `def` runs, which is once
for each `vjp`: 200 of the 1,950 nanoseconds of a small `add`.
"""
