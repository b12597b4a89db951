"""How does a value become a tensor of one dtype on one backend?

The danger is *float64 creep*. float32 is the working type. NumPy widens it as soon as
one float64 array or scalar takes part, and the wide result widens whatever it meets
next. In the end the whole program computes in float64, at half the speed and in twice
the memory, without a warning.

An operation is called with whatever is at hand: tensors, arrays, numbers, lists. Before
it computes, `coerce` turns them into tensors that fit together, by these rules:

- Numbers, 0-d arrays, lists, and integer or boolean arrays follow the float tensor that
  they meet: they take its dtype. `x * np.sqrt(64)` stays float32.
- A list that holds tensors is stacked, and each of them gets its gradient.
- If there is no float tensor to follow, Python floats become float32, integers int64.
- Two float dtypes in one operation are an error. The caller decides which one to
  convert.
- Two backends in one operation are an error, too. No array moves in silence.
- complex128 is for checking derivatives (minigrad/checking). There, a float64 constant
  counts as a complex number.

`unify` below is this rule. `coerce` is its fast form.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from minigrad.backend import Array, array_module, backend_of, move, on_host, use_device
from minigrad.tensor import CONTAINERS, Tensor, constant, holds_tensor, record

FLOAT64 = np.dtype(np.float64)
COMPLEX128 = np.dtype(np.complex128)
PYTHON_DATA = (int, float, list, tuple)  # bool is an int


def tensor(
    data: Any, requires_grad: bool = False, dtype: Any = None, backend: str | None = None
) -> Tensor:
    """A new tensor from a number, a nested list, an array or another tensor.

    Python floats become float32, integers int64. Arrays keep their dtype unless `dtype`
    is passed, and their backend unless `backend` is passed. Data that needs no
    conversion is shared, not copied. Raises TypeError for anything but numbers,
    ValueError for an unknown backend. A tensor that requires a gradient is refused, and
    a list with one: a new tensor is not connected to it, and the gradient would be
    lost.

    >>> tensor([[1, 2.5]], requires_grad=True)
    tensor(array([[1. , 2.5]], dtype=float32), requires_grad=True)
    >>> tensor(np.array([1.0, 2.5])).dtype
    dtype('float64')
    >>> tensor([1, 2], dtype="float32").dtype
    dtype('float32')
    """
    if isinstance(data, CONTAINERS) and holds_tensor(data):
        constant("tensor", "data", data)  # refuses gradients
        data = _stacked("tensor", data)
    data = constant("tensor", "data", data)
    if on_host(data):
        is_array = hasattr(data, "__array__")
        data = np.asarray(data)
        if not is_array and data.dtype == FLOAT64:
            data = data.astype(np.float32)
    if data.dtype.kind not in "fciub":
        raise TypeError(f"tensor: cannot compute with dtype {data.dtype}; pass numbers")
    if dtype is not None:
        data = data.astype(dtype, copy=False)
    return Tensor(data if backend is None else move(data, backend), requires_grad)


def unify(name: str, values: Sequence[Any]) -> tuple[Tensor, ...]:
    """The inputs of the operation `name` as tensors of one dtype on one backend.

    Raises TypeError for two float dtypes, ValueError for two backends or no values.

    >>> x = tensor([0.5, 1.5])
    >>> unify("mul", [x, np.float64(2.0)])[1]
    tensor(array(2., dtype=float32))
    >>> unify("mul", [x, np.array([0.5, 1.5])])
    Traceback (most recent call last):
    TypeError: mul: inputs have dtypes float32, float64; convert one with .astype(dtype)
    """
    if not values:
        raise ValueError(f"{name}: needs at least one tensor")
    operands = _as_tensors([_stacked(name, value) for value in values])
    _check_backends(name, operands)
    use_device(operands[0].data)  # an operation computes where its inputs live
    dtypes = [operand.data.dtype for operand in operands]
    if len(set(dtypes)) == 1:
        return tuple(operands)
    dtype = _common_dtype(name, operands, dtypes)
    return tuple([_with_dtype(operand, dtype) for operand in operands])


def _stacked(name: str, value: Any) -> Any:
    """`value`; a list that holds tensors becomes one tensor, on the tape.

    NumPy would make an array of it, and the tensors in it would get no gradient.

    >>> x = tensor([0.5, 1.5], requires_grad=True)
    >>> _stacked("mul", [x, x])
    tensor(array([[0.5, 1.5],
           [0.5, 1.5]], dtype=float32), requires_grad=True)
    """
    if not (isinstance(value, CONTAINERS) and holds_tensor(value)):
        return value
    elements = unify(name, list(value))
    shapes = [element.shape for element in elements]
    if len(set(shapes)) > 1:
        raise ValueError(f"{name}: the tensors of a list have shapes {shapes}; expected equal ones")
    positions = range(len(shapes))

    def vjp(g: Array) -> tuple[Array, ...]:
        return tuple([g[position, ...] for position in positions])

    arrays = [element.data for element in elements]
    return record("stack", array_module(arrays[0]).stack(arrays), elements, vjp)


def _as_tensors(values: Sequence[Any]) -> list[Tensor]:
    """All values as tensors. Other values follow the first float tensor."""
    operands = [value for value in values if isinstance(value, Tensor)]
    if len(operands) == len(values):
        return operands
    leader = next((operand for operand in operands if operand.dtype.kind in "fc"), None)
    if leader is not None:
        use_device(leader.data)  # where the others follow it to
        return [_follow(value, leader) for value in values]
    backend = operands[0].backend if operands else None
    return [_adopt(value, backend) for value in values]


def _follow(value: Any, leader: Tensor) -> Tensor:
    """`value` as a tensor of the leader's dtype; an array of floats keeps its dtype."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, PYTHON_DATA):
        # np.asarray gives float64, which is cast once, below. By way of float32, as in
        # `tensor`, a float64 leader would get rounded digits.
        made = tensor(np.asarray(value))
    else:
        made = tensor(value)
        if made.data.ndim > 0 and made.data.dtype.kind in "fc":
            return made
    if made.data.dtype.kind == "c" and leader.data.dtype.kind == "f":
        return made  # following would drop its imaginary part, so `unify` refuses it later
    return Tensor(array_module(leader.data).asarray(made.data, dtype=leader.data.dtype))


def _adopt(value: Any, backend: str | None) -> Tensor:
    """`value` as a tensor. Python's data goes to `backend`, arrays stay."""
    if isinstance(value, Tensor):
        return value
    return tensor(value, backend=backend if isinstance(value, PYTHON_DATA) else None)


def _check_backends(name: str, operands: list[Tensor]) -> None:
    """Raise ValueError if the operands live on different backends."""
    backends = {backend_of(operand.data) for operand in operands}
    if len(backends) > 1:
        raise ValueError(
            f"{name}: inputs lie on different backends ({', '.join(sorted(backends))}); "
            "use .to(backend)"
        )


def _common_dtype(name: str, operands: list[Tensor], dtypes: list[np.dtype]) -> np.dtype:
    """The dtype in which an operation on operands of different dtypes computes."""
    floats = {dtype for dtype in dtypes if dtype.kind in "fc"}
    if not floats:
        return np.result_type(*dtypes)
    if floats == {FLOAT64, COMPLEX128} and _real_constants(operands):
        return COMPLEX128
    if len(floats) > 1:
        raise TypeError(
            f"{name}: inputs have dtypes {', '.join(map(str, dtypes))}; "
            "convert one with .astype(dtype)"
        )
    return floats.pop()


def _real_constants(operands: list[Tensor]) -> bool:
    """Whether the float64 operands are constants.

    A complex step moves the checked inputs into the complex plane. The other arrays of
    the function, weights for instance, stay float64, and count as complex numbers
    without an imaginary part. If one of them required a gradient, this gradient would
    be complex.
    """
    return not any(operand.requires_grad for operand in operands if operand.dtype == FLOAT64)


def _with_dtype(operand: Tensor, dtype: np.dtype) -> Tensor:
    """`operand` in `dtype`. Only constants are converted, so no gradient is lost."""
    return operand if operand.data.dtype == dtype else Tensor(operand.data.astype(dtype))


def coerce(name: str, *values: Any) -> tuple[Tensor, ...]:
    """The fast form of `unify`: coerce("add", a, b) is unify("add", [a, b]).

    Nearly every call passes one tensor, or two tensors of one dtype, on NumPy. There is
    nothing to do for these, and finding that out needs a tenth of `unify`'s time.

    >>> coerce("add", tensor([0.5, 1.5]), [1, 2])[1]
    tensor(array([1., 2.], dtype=float32))
    """
    if len(values) == 2:
        a, b = values
        if type(a) is type(b) is Tensor:
            x, y = a.data, b.data
            if type(x) is type(y) is ndarray and x.dtype is y.dtype:
                return values
    if len(values) == 1 and isinstance(values[0], Tensor) and type(values[0].data) is ndarray:
        return values
    return unify(name, values)


def floating(name: str, *values: Any) -> tuple[Tensor, ...]:
    """`coerce` for operations that need floats: if all inputs are integers, float32.

    >>> floating("exp", [0, 1])
    (tensor(array([0., 1.], dtype=float32)),)
    """
    operands = coerce(name, *values)
    if operands[0].data.dtype.kind in "fc":
        return operands
    return tuple([Tensor(operand.data.astype(np.float32)) for operand in operands])
