"""minigrad: reverse-mode automatic differentiation on NumPy or CuPy arrays.

A `Tensor` is an array that remembers how it was computed. `backward` walks through this
memory and leaves, in each input, the derivative of the result:

>>> import minigrad as mg
>>> x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
>>> y = (x @ x).sum()
>>> y.item()
54.0
>>> y.backward()
>>> x.grad                                  # dy/dx, an array of the shape of x
array([[ 7., 11.],
       [ 9., 13.]], dtype=float32)

A model is made of layers, and an optimizer adjusts their parameters:

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> layer = mg.nn.Linear(2, 1, rng)
>>> optimizer = mg.optim.AdamW(layer.parameters(), lr=0.1)
>>> inputs = rng.standard_normal((64, 2)).astype(np.float32)
>>> targets = inputs @ np.array([[2.0], [-1.0]], np.float32)
>>> for step in range(100):
...     loss = ((layer(inputs) - targets) ** 2).mean()
...     optimizer.zero_grad()
...     loss.backward()
...     optimizer.step()
>>> layer.weight.data.round(1)
array([[ 2., -1.]], dtype=float32)

All public names are imported here, in the order in which the files are best read.
`minigrad.tensor` is the function `tensor`. It hides the file of the same name, which is
imported from by `from minigrad.tensor import ...`. The table at the end gives `Tensor`
its operators and methods.
"""

from collections.abc import Callable
from typing import Any

from minigrad import backend, checking, debug, nn, optim
from minigrad.recording import no_grad
from minigrad.tensor import Tensor, record
from minigrad.derivatives import backward_into, grad, value_and_grad
from minigrad.inputs import tensor
from minigrad.ops.basic import add, div, exp, log, mul, neg, power, sqrt, sub
from minigrad.ops.elementary import cos, floor_divide, log1p, remainder, sin, square
from minigrad.ops.choice import abs, clip, maximum, minimum, where
from minigrad.ops.reductions import logsumexp, max, mean, min, norm, std, sum, var
from minigrad.ops.accumulations import cumsum, prod
from minigrad.ops.shape import (
    astype,
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    flip,
    pad,
    ravel,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    to,
    transpose,
    tril,
)
from minigrad.ops.indexing import embedding, getitem, take
from minigrad.ops.linear import linear, matmul
from minigrad.ops.contractions import einsum
from minigrad.ops.error_function import erf
from minigrad.ops.activation import relu, sigmoid, silu, softplus, tanh
from minigrad.ops.gelus import gelu, quick_gelu
from minigrad.ops.probabilities import log_softmax, softmax
from minigrad.ops.losses import cross_entropy
from minigrad.ops.normalisation import layer_norm, normalize
from minigrad.ops.noise import dropout
from minigrad.ops.packed import padded
from minigrad.ops.attention import attention, self_attention
from minigrad.ops.conv import conv2d
from minigrad.ops.pooling import avg_pool2d, max_pool2d
from minigrad.ops.batch_norm import batch_norm
from minigrad.operators import comparison, in_place, iterate, reflected
from minigrad.numpy_functions import protocol
from minigrad.recompute import checkpoint
from minigrad.checking import GradientError, gradcheck, hvp, jvp, taylor_slope
from minigrad.debug import detect_anomaly, draw, profile

__all__ = [  # noqa: RUF022 - in reading order
    # tensors and their gradients
    "tensor",
    "Tensor",
    "no_grad",
    "record",
    "grad",
    "value_and_grad",
    "backward_into",
    # arithmetic
    "neg",
    "exp",
    "log",
    "sqrt",
    "add",
    "sub",
    "mul",
    "div",
    "power",
    "floor_divide",
    "remainder",
    "square",
    "sin",
    "cos",
    "log1p",
    "abs",
    "maximum",
    "minimum",
    "where",
    "clip",
    # reductions
    "sum",
    "mean",
    "var",
    "norm",
    "std",
    "max",
    "min",
    "logsumexp",
    "prod",
    "cumsum",
    # shapes
    "reshape",
    "ravel",
    "flatten",
    "squeeze",
    "expand_dims",
    "transpose",
    "swapaxes",
    "flip",
    "tril",
    "broadcast_to",
    "pad",
    "concatenate",
    "stack",
    "split",
    "to",
    "astype",
    # indexing
    "getitem",
    "take",
    "embedding",
    # products
    "matmul",
    "linear",
    "einsum",
    # neural networks
    "erf",
    "tanh",
    "sigmoid",
    "relu",
    "silu",
    "softplus",
    "gelu",
    "quick_gelu",
    "softmax",
    "log_softmax",
    "cross_entropy",
    "layer_norm",
    "normalize",
    "dropout",
    "attention",
    "self_attention",
    "padded",
    # images
    "conv2d",
    "avg_pool2d",
    "max_pool2d",
    "batch_norm",
    # on top of the tape
    "checkpoint",
    "gradcheck",
    "GradientError",
    "taylor_slope",
    "jvp",
    "hvp",
    "detect_anomaly",
    "draw",
    "profile",
    # modules
    "nn",
    "optim",
    "backend",
    "checking",
    "debug",
]


_OPERATORS: dict[str, Any] = {
    "__add__": add,
    "__radd__": reflected(add),
    "__sub__": sub,
    "__rsub__": reflected(sub),
    "__mul__": mul,
    "__rmul__": reflected(mul),
    "__truediv__": div,
    "__rtruediv__": reflected(div),
    "__floordiv__": floor_divide,
    "__rfloordiv__": reflected(floor_divide),
    "__mod__": remainder,
    "__rmod__": reflected(remainder),
    "__pow__": power,
    "__rpow__": reflected(power),
    "__matmul__": matmul,
    "__rmatmul__": reflected(matmul),
    "__iadd__": in_place(add),
    "__isub__": in_place(sub),
    "__imul__": in_place(mul),
    "__itruediv__": in_place(div),
    "__ifloordiv__": in_place(floor_divide),
    "__imod__": in_place(remainder),
    "__ipow__": in_place(power),
    "__imatmul__": in_place(matmul),
    "__neg__": neg,
    "__abs__": abs,
    "__lt__": comparison("__lt__"),
    "__le__": comparison("__le__"),
    "__gt__": comparison("__gt__"),
    "__ge__": comparison("__ge__"),
    "__eq__": comparison("__eq__"),
    "__ne__": comparison("__ne__"),
    "__getitem__": getitem,
    "__iter__": iterate,
    "T": property(transpose),
}

_METHODS: dict[str, Any] = {
    "sum": sum,
    "mean": mean,
    "var": var,
    "max": max,
    "min": min,
    "reshape": reshape,
    "transpose": transpose,
    "swapaxes": swapaxes,
    "broadcast_to": broadcast_to,
    "astype": astype,
    "to": to,
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "abs": abs,
    "clip": clip,
    "std": std,
    "prod": prod,
    "cumsum": cumsum,
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "normalize": normalize,
    "ravel": ravel,
    "flatten": flatten,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "flip": flip,
    "tril": tril,
    "pad": pad,
    "take": take,
    "split": split,
    "maximum": maximum,
    "minimum": minimum,
    "sin": sin,
    "cos": cos,
    "log1p": log1p,
    "square": square,
    "erf": erf,
    "silu": silu,
    "softplus": softplus,
}

_FUNCTIONS: dict[str, Callable] = {
    name: globals()[name]
    for name in __all__
    if str(getattr(globals()[name], "__module__", None)).startswith("minigrad.ops.")
}

for _name, _operation in (_OPERATORS | _METHODS | protocol(_FUNCTIONS)).items():
    setattr(Tensor, _name, _operation)
