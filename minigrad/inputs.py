"""How does a value become a tensor of one dtype on one backend?"""

from typing import Any

import numpy as np
from numpy import ndarray

from minigrad.backend import array_module, backend_of, move, use_device
from minigrad.tensor import Tensor


def tensor(
    data: Any, requires_grad: bool = False, dtype: Any = None, backend: str | None = None
) -> Tensor:
    """A new tensor from a number, a nested list, an array or another tensor.
    Python floats become float32, integers int64; arrays keep their dtype unless `dtype` is given,
    and their backend where None is. What needs no conversion is shared, not copied."""
    if isinstance(data, Tensor):
        data = data.data
    if array_module(data) is np:
        listed = not hasattr(data, "__array__")
        data = np.asarray(data)
        if listed and data.dtype == np.float64:
            data = data.astype(np.float32)
    if data.dtype.kind not in "fciub":
        raise TypeError(f"tensor: cannot compute with dtype {data.dtype}; pass numbers")
    if dtype is not None:
        data = data.astype(dtype, copy=False)
    return Tensor(data if backend is None else move(data, backend), requires_grad)


def coerce(name: str, *values: Any) -> tuple[Tensor, ...]:
    """The inputs of operation `name` as tensors of one float dtype on one backend.
    Numbers, 0-d arrays, lists, and integer or boolean arrays take the dtype of the float tensor
    that they meet. Raises TypeError for two float dtypes, ValueError for two backends."""
    if len(values) == 2:  # asked first, and without isinstance: most often, this is all
        a, b = values
        if type(a) is type(b) is Tensor:
            x, y = a.data, b.data
            if type(x) is type(y) is ndarray and x.dtype is y.dtype:
                return values
    if len(values) == 1 and isinstance(values[0], Tensor) and type(values[0].data) is ndarray:
        return values
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) < len(values):
        guide = next((each for each in tensors if each.dtype.kind in "fc"), None)
        tensors = [_adopt(value, guide, tensors) for value in values]
    if not tensors:
        raise ValueError(f"{name}: needs at least one tensor")
    backends = {backend_of(each.data) for each in tensors}
    if len(backends) > 1:
        found = ", ".join(sorted(backends))
        raise ValueError(f"{name}: inputs lie on different backends ({found}); use .to(backend)")
    use_device(tensors[0].data)  # an operation computes where its inputs lie
    dtypes = [each.dtype for each in tensors]
    if len(set(dtypes)) == 1:
        return tuple(tensors)
    floats = {dtype for dtype in dtypes if dtype.kind in "fc"}
    real_constants = not any(t.requires_grad for t in tensors if t.dtype == np.float64)
    if floats == {np.dtype(np.float64), np.dtype(np.complex128)} and real_constants:
        floats = {np.dtype(np.complex128)}
    if len(floats) > 1:
        found = ", ".join(map(str, dtypes))
        raise TypeError(f"{name}: inputs have dtypes {found}; convert one with .astype(dtype)")
    target = floats.pop() if floats else np.result_type(*dtypes)
    return tuple(t if t.dtype == target else Tensor(t.data.astype(target)) for t in tensors)


def _adopt(value: Any, guide: Tensor | None, beside: list[Tensor]) -> Tensor:
    """`value` as a tensor; numbers follow the float tensor `guide` where there is one."""
    if isinstance(value, Tensor):
        return value
    listed = isinstance(value, (int, float, list, tuple))
    if guide is None:
        return tensor(value, backend=beside[0].backend if beside and listed else None)
    # Python numbers go straight to the guide's dtype: by way of float32 they would lose digits.
    made = tensor(np.asarray(value) if listed else value)
    settled = not listed and made.ndim > 0 and made.dtype.kind in "fc"
    if settled or (made.dtype.kind, guide.dtype.kind) == ("c", "f"):
        return made
    return Tensor(array_module(guide.data).asarray(made.data, dtype=guide.dtype))


def floating(name: str, *values: Any) -> tuple[Tensor, ...]:
    """`coerce`, and where all the inputs are integers or booleans they become float32."""
    tensors = coerce(name, *values)
    if tensors[0].data.dtype.kind in "fc":
        return tensors
    return tuple([Tensor(each.data.astype(np.float32)) for each in tensors])
