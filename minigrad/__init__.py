"""minigrad: reverse-mode automatic differentiation on NumPy arrays, and CuPy's when asked.

    import minigrad as mg

    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = (x @ x).tanh().sum()
    y.backward()
    x.grad                      # dy/dx, an array of x's shape

Everything public is imported here. The tables below give Tensor its operators and methods; the
operations themselves stand in chapters 2 to 7, each beside its derivative.
"""

from minigrad import backend, checking, debug, nn, optim
from minigrad.backend import as_array as _as_array
from minigrad.checking import GradientError, gradcheck, hvp, taylor_slope
from minigrad.debug import detect_anomaly, draw, profile
from minigrad.inputs import tensor
from minigrad.ops.activation import relu, sigmoid, tanh
from minigrad.ops.attention import attention, self_attention
from minigrad.ops.basic import add, div, exp, log, mul, neg, power, sqrt, sub
from minigrad.ops.choice import abs, clip, maximum, minimum, where
from minigrad.ops.contractions import einsum
from minigrad.ops.error_function import erf
from minigrad.ops.gelus import gelu, quick_gelu
from minigrad.ops.indexing import embedding, getitem, take
from minigrad.ops.linear import linear, matmul
from minigrad.ops.noise import dropout
from minigrad.ops.normalisation import layer_norm, normalize
from minigrad.ops.probabilities import cross_entropy, log_softmax, softmax
from minigrad.ops.reductions import logsumexp, max, mean, min, sum, var
from minigrad.ops.shape import (
    astype,
    broadcast_to,
    concatenate,
    pad,
    reshape,
    split,
    stack,
    swapaxes,
    to,
    transpose,
)
from minigrad.recompute import checkpoint
from minigrad.tensor import Tensor, backward_into, grad, no_grad

_OPERATORS = {"add": add, "sub": sub, "mul": mul, "truediv": div, "pow": power, "matmul": matmul}
_METHODS = (
    *(sum, mean, var, max, min, reshape, transpose, swapaxes, broadcast_to, astype, to),
    *(exp, log, sqrt, tanh, sigmoid, relu, gelu, quick_gelu, abs, clip),
)


for _name, _op in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _op)
    setattr(Tensor, f"__r{_name}__", lambda self, other, _op=_op: _op(other, self))
for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):

    def _compare(self, other, _name=_name):
        other = other.data if isinstance(other, Tensor) else other
        return _as_array(getattr(self.data, _name)(other))

    setattr(Tensor, _name, _compare)
for _op in _METHODS:
    setattr(Tensor, _op.__name__, _op)
Tensor.__neg__ = neg
Tensor.__abs__ = abs
Tensor.__getitem__ = getitem
Tensor.__iter__ = lambda self: (self[i] for i in range(len(self)))
Tensor.T = property(transpose)

# Every public function and class, and the modules that are used by name.
_named = {_name for _name, _value in globals().items() if callable(_value) and _name[0] != "_"}
__all__ = sorted(_named | {"backend", "checking", "debug", "nn", "optim"})
