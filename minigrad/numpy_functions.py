"""What does a function of NumPy do with a tensor?

NumPy would turn the tensor into an array and compute with the numbers alone. The result
would be a constant, and the gradient would be lost without a word. But before it
computes, NumPy asks its arguments whether they bring an implementation of their own.
Tensor does, and gives one of three answers:

1. The engine has the function: np.exp(x) is mg.exp(x), and np.sum(x, axis=0) is
   mg.sum(x, axis=0).
2. The result has no gradient anyway: a shape, a position, a truth value, a rounded
   number. Then NumPy computes it from the arrays. So it does if no tensor among the
   arguments requires a gradient.
3. Otherwise a TypeError names what the engine has instead.

`np.float64(2) * x` and `array + x` go the same way, because NumPy's operators are
functions of NumPy, too.

NumPy's two protocols: NEP 13 (`__array_ufunc__`, elementwise functions) and NEP 18
(`__array_function__`, all others), https://numpy.org/neps.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad.recording import is_recording
from minigrad.tensor import CONTAINERS, Tensor

OUR_NAMES = {
    "multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "negative": "neg",
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
}
"""NumPy's functions that have another name here."""

OUR_PARAMETERS = {
    "axis1": "first",
    "axis2": "second",
    "a_min": "low",
    "a_max": "high",
    "min": "low",
    "max": "high",
    "pad_width": "widths",
    "constant_values": "value",
    "indices_or_sections": "sections",
}
"""NumPy's parameters that have another name here."""

COMPARISONS = {
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
}
"""A comparison -> the operator of the left operand, and that of the right one."""

WITHOUT_GRADIENT = {
    *("shape", "ndim", "size", "result_type", "iscomplexobj", "isrealobj"),
    *("shares_memory", "may_share_memory"),
    *("argmax", "argmin", "argsort", "argwhere", "argpartition", "nonzero"),
    *("flatnonzero", "count_nonzero", "searchsorted", "digitize", "lexsort"),
    *("all", "any", "allclose", "isclose", "array_equal", "array_equiv"),
    *("isfinite", "isnan", "isinf", "isneginf", "isposinf", "signbit"),
    *("logical_and", "logical_or", "logical_not", "logical_xor"),
    *("sign", "floor", "ceil", "rint", "trunc", "fix", "round", "around"),
    *("zeros_like", "ones_like", "empty_like", "full_like"),
    *("array_repr", "array_str", "array2string", "save", "savez", "savez_compressed", "savetxt"),
}
"""NumPy's functions whose result is piecewise constant, or is no number."""

INSTEAD = {
    "dot": "mg.matmul or mg.einsum",
    "inner": "mg.matmul or mg.einsum",
    "vdot": "mg.matmul or mg.einsum",
    "vecdot": "mg.einsum",
    "tensordot": "mg.einsum",
    "outer": "mg.einsum",
    "kron": "mg.einsum",
    "trace": 'mg.einsum("ii->", x)',
    "diagonal": 'mg.einsum("ii->i", x)',
    "multi_dot": "mg.matmul",
    "vstack": "mg.concatenate or mg.stack",
    "hstack": "mg.concatenate or mg.stack",
    "dstack": "mg.concatenate or mg.stack",
    "column_stack": "mg.stack",
    "append": "mg.concatenate",
    "block": "mg.concatenate",
    "array_split": "mg.split",
    "hsplit": "mg.split",
    "vsplit": "mg.split",
    "moveaxis": "mg.transpose",
    "rollaxis": "mg.transpose",
    "repeat": "mg.take",
    "tile": "mg.broadcast_to",
    "roll": "mg.concatenate",
    "sort": "mg.take(x, np.argsort(x))",
    "diff": "x[1:] - x[:-1]",
    "average": "mg.mean",
    "reciprocal": "1 / x",
    "cbrt": "x ** (1 / 3)",
    "float_power": "mg.power",
    "log2": "mg.log",
    "log10": "mg.log",
    "fmax": "mg.maximum",
    "fmin": "mg.minimum",
}
"""What to use in place of a function that the engine lacks."""

Operations = Mapping[str, Callable]


def find_operation(function: Callable, operations: Operations) -> Callable | None:
    """The engine's form of a NumPy function.

    >>> import minigrad as mg
    >>> find_operation(np.multiply, vars(mg)) is mg.mul
    True
    """
    name = function.__name__
    if not any(getattr(module, name, None) is function for module in (np, np.linalg)):
        return None
    return operations.get(OUR_NAMES.get(name, name))


def protocol(operations: Operations) -> dict[str, Callable]:
    """The two methods by which Tensor answers NumPy, for the class to attach.

    `operations` has the engine's functions by name; minigrad/__init__.py has them all.
    """

    def array_function(
        self: Tensor, function: Callable, types: Any, inputs: tuple, options: dict
    ) -> Any:
        operation = find_operation(function, operations)
        if operation is not None:
            return _call_ours(function, operation, inputs, options)
        return _call_numpy(function, function.__name__, inputs, options, operations)

    def array_ufunc(
        self: Tensor, function: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        if method == "__call__" and function.__name__ in COMPARISONS and not options:
            return _compare(function.__name__, inputs[0], inputs[1])
        operation = find_operation(function, operations)
        if method != "__call__":
            name = f"{function.__name__}.{method}"
            return _call_numpy(getattr(function, method), name, inputs, options, operations)
        if operation is None:
            return _call_numpy(function, function.__name__, inputs, options, operations)
        if "out" in options:
            raise TypeError(
                f"np.{function.__name__}: the result is a tensor, and cannot be written into an "
                f"array, as `out=` and `array += x` ask for; write array = array + x"
            )
        if options:
            raise _not_taken(function, next(iter(options)), operation)
        return operation(*inputs)

    return {"__array_function__": array_function, "__array_ufunc__": array_ufunc}


def _compare(name: str, a: Any, b: Any) -> Any:
    """The comparison `name` as an operator of the operand that is a tensor."""
    operator, reflected = COMPARISONS[name]
    return getattr(a, operator)(b) if isinstance(a, Tensor) else getattr(b, reflected)(a)


def _call_ours(function: Callable, operation: Callable, inputs: tuple, options: dict) -> Any:
    """operation(...) with the arguments of function(...)."""
    bound = inspect.signature(function).bind(*inputs, **options)
    numpy_parameters = inspect.signature(function).parameters
    parameters = inspect.signature(operation).parameters
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for position, (numpy_name, value) in enumerate(bound.arguments.items()):
        kind = numpy_parameters[numpy_name].kind
        name = OUR_PARAMETERS.get(numpy_name, numpy_name)
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional += value
        elif position == 0 or kind is inspect.Parameter.POSITIONAL_ONLY:
            positional.append(value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            for extra in value:
                if OUR_PARAMETERS.get(extra, extra) not in parameters:
                    raise _not_taken(function, extra, operation)
            named |= {OUR_PARAMETERS.get(extra, extra): value[extra] for extra in value}
        elif name in parameters:
            if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:  # mg.reshape(x, *shape)
                positional.append(value)
            else:
                named[name] = value
        elif not _is_default(value, numpy_parameters[numpy_name].default):
            raise _not_taken(function, numpy_name, operation)
    if (
        _works_on_all(numpy_parameters)
        and not _works_on_all(parameters)
        and named.get("axis") is None
    ):
        # Without an axis, np.take picks from all elements, and mg.take along axis 0.
        positional[0] = positional[0].reshape(-1)  # (size,)
        named["axis"] = 0
    return operation(*positional, **named)


def _is_default(value: Any, default: Any) -> bool:
    """Whether an argument says no more than its default: None, "C", False and so on.

    An array is never a default. It is not compared: the result would be an array.
    """
    return value is default or (type(value) is type(default) and value == default)


def _works_on_all(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a function works on all elements if it is passed no axis."""
    return "axis" in parameters and parameters["axis"].default is None


def _not_taken(function: Callable, parameter: str, operation: Callable) -> TypeError:
    """The error for an argument that the engine's operation does not have."""
    return TypeError(
        f"np.{function.__name__}: `{parameter}` is not possible for tensors; the function is "
        f"mg.{operation.__name__}{inspect.signature(operation)}"
    )


def _call_numpy(
    function: Callable, name: str, inputs: tuple, options: dict, operations: Operations
) -> Any:
    """NumPy's own function on the arrays, unless a gradient would be lost."""
    is_harmless = name in WITHOUT_GRADIENT or not is_recording()
    if not is_harmless and _requires_gradient([*inputs, *options.values()]):
        raise TypeError(
            f"np.{name}: NumPy would compute with the numbers alone, and the gradient would be "
            f"lost; {_advice(name, operations)}, or pass x.data if you need no gradient"
        )
    return function(
        *[_as_arrays(value) for value in inputs],
        **{key: _as_arrays(value) for key, value in options.items()},
    )


def _advice(name: str, operations: Operations) -> str:
    """What to use instead of np.<name>."""
    if name in INSTEAD:
        return f"use {INSTEAD[name]}"
    similar = difflib.get_close_matches(name.partition(".")[0], operations, n=1, cutoff=0.6)
    if similar:
        return f"the nearest that the engine has is mg.{similar[0]}"
    return "the engine has no such function: write it with operations of mg"


def _requires_gradient(value: Any) -> bool:
    """Whether a tensor in `value` requires a gradient."""
    if isinstance(value, CONTAINERS):
        return any(_requires_gradient(element) for element in value)
    return isinstance(value, Tensor) and value.requires_grad


def _as_arrays(value: Any) -> Any:
    """`value` with arrays in place of tensors."""
    if isinstance(value, CONTAINERS):
        return type(value)(_as_arrays(element) for element in value)
    return value.data if isinstance(value, Tensor) else value
