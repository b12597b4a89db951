"""An array that behaves as CuPy's does, and more strictly. Underneath, NumPy computes.

- It refuses to become a NumPy array by itself, to meet one in an operation, and to be
  handed to a function of NumPy's. (CuPy allows some of these, at the price of a hidden
  copy.)
- Every result is an array, 0-d ones included.
- What copies numbers to the host, `float(x)`, `if x`, `.item()`, `.get()`, a boolean
  index, is noted (events.py). So are copies from the host, launches, and float64.
- Python does not go through it row by row: that would be kernels for each row.
- An index array that is out of range wraps around silently. Where `a[i] = v` names a
  position twice, it is a matter of chance which value stays.
- It lies on one of two devices; an operation wants its arrays on the thread's current
  one.
- Names, keywords and types come from names.json, a snapshot of CuPy's own.
"""

import functools
import inspect
import json
import operator
import pathlib
import types

import numpy as np

from strict_cupy import cublas, events, launches, streams
from strict_cupy.arithmetic import COMPUTES
from strict_cupy.device import Device, current_device, pool

NAMES = json.loads(pathlib.Path(__file__).with_name("names.json").read_text(encoding="utf-8"))
SCALARS = (bool, int, float, complex, np.generic)
UNPACKED = 4  # rows; an array of so many may be taken apart, as in `q, k, v = qkv`
shuffle = np.random.default_rng(0)


def is_exempt() -> bool:
    """Whether the caller may do what is refused. Replaced while tests read arrays."""
    return False


@functools.cache
def signature(parameters: str) -> inspect.Signature:
    """A signature from a parameter list of names.json."""
    return inspect.signature(eval(f"lambda {parameters}: None"))


@functools.cache
def complaint(parameters: str, count: int, names: tuple[str, ...]) -> str:
    """What is wrong with a call of `count` values and these names; "" if nothing is.

    It does not depend on the values, so a kind of call is looked at only once.
    """
    try:
        signature(parameters).bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return ""


def check_call(name: str, parameters: str, args: tuple, kwargs: dict) -> None:
    wrong = complaint(parameters, len(args), tuple(kwargs))
    if wrong:
        raise TypeError(f"cupy: {name}({parameters}): {wrong}")


@functools.cache
def _computes(name: str, dtypes: tuple) -> bool:
    """Whether the elementwise function has a loop that these types can be cast to."""
    loops = NAMES["types"].get(name)
    if loops is None:
        return True
    fitting = [loop for loop in loops.split() if len(loop) == len(dtypes)]
    pairs = [list(zip(dtypes, loop)) for loop in fitting]
    return any(all(d is None or np.can_cast(d, c) for d, c in each) for each in pairs)


def check_types(name: str, inputs: tuple) -> None:
    dtypes = tuple(each.dtype if type(each) is ndarray else None for each in inputs)
    if not _computes(name, dtypes):
        raise TypeError(f"cupy: {name} has no loop for {[str(each) for each in dtypes]}")


def to_host(value: object, sources: list) -> object:
    """`value` with NumPy's arrays for the stand-in's, which are added to `sources`."""
    if type(value) is ndarray:
        if value._device != current_device():
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{value._device} while current = {current_device()}"
            )
        streams.check(value._made)
        sources.append(value)
        return value._host
    if isinstance(value, np.ndarray) and not is_exempt():
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: move it to the device first")
    if type(value) in (list, tuple):
        return type(value)(to_host(each, sources) for each in value)
    return value


def to_device(value: object, sources: list) -> object:
    """A result of NumPy's as the stand-in gives it: arrays for arrays and scalars."""
    if type(value) in (list, tuple):
        return type(value)(to_device(each, sources) for each in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    for source in sources:
        if value is source._host:
            return source
    host = np.asarray(value)
    for source in sources:
        if np.may_share_memory(host, source._host):
            return ndarray(host, source if source._base is None else source._base)
    return ndarray(host)


def compute(function: object, args: tuple, kwargs: dict, name: str = "") -> object:
    """function(*args, **kwargs) on the host, without warnings: CuPy never gives any."""
    sources: list = []
    args = to_host(args, sources)
    kwargs = {key: to_host(value, sources) for key, value in kwargs.items()}
    if function is np.matmul:
        args = tuple(cublas.rounded(factor) for factor in args)
    with np.errstate(all="ignore"):
        result = to_device(function(*args, **kwargs), sources)
    if events.watchers:
        name = name or function.__name__
        hosts = [source._host for source in sources]
        made = [each._host for each in new_arrays(result, sources)]
        count = launches.count(name, hosts, made, kwargs.get("out"))
        events.note_launches(name, count)
    return result


def new_arrays(result: object, sources: list) -> list:
    """The arrays in a result that are neither operands nor views of them."""
    if type(result) in (list, tuple):
        return [made for each in result for made in new_arrays(each, sources)]
    is_new = type(result) is ndarray and result._base is None
    return [result] if is_new and not any(result is source for source in sources) else []


def read(array: "ndarray", how: str) -> np.ndarray:
    """The numbers, on the host: what makes a real device wait."""
    if not is_exempt():
        events.note_read(how)
    return array._host


class ndarray:
    __module__ = "cupy"

    def __init__(self, host: np.ndarray, base: "ndarray | None" = None) -> None:
        if host.dtype.kind not in "?biufc":
            raise TypeError(f"Unsupported dtype {host.dtype}")
        self._host, self._base, self._device = host, base, current_device()
        self._held, self._made = 0, streams.birth() if base is None else base._made
        if base is None:
            events.note_array(host)
            pool.take(host.nbytes)
            self._held = host.nbytes

    def __del__(self) -> None:
        if getattr(self, "_held", 0):
            pool.give_back(self._held)

    @property
    def __class__(self) -> type:
        """What isinstance asks: for tests that read arrays, NumPy's kind."""
        return np.ndarray if is_exempt() else ndarray

    # --- what it is -------------------------------------------------------------------

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    base = property(lambda self: self._base)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data))
    device = property(lambda self: Device(self._device))
    T = property(lambda self: compute(np.transpose, (self,), {}))
    imag = property(lambda self: compute(np.imag, (self,), {}))

    @property
    def real(self) -> "ndarray":
        return compute(np.real, (self,), {}) if self.dtype.kind == "c" else self

    @property
    def flags(self) -> types.SimpleNamespace:
        names = ("c_contiguous", "f_contiguous", "owndata", "fnc", "forc")
        return types.SimpleNamespace(**{name: getattr(self._host.flags, name) for name in names})

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> object:
        if len(self) > UNPACKED and not is_exempt():
            raise TypeError(
                f"a loop over the {len(self)} rows of an array of the device launches kernels "
                "for each row: compute with the whole array"
            )
        return (self[i] for i in range(len(self)))

    # --- what reads it ----------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(read(self, "bool"))

    def __int__(self) -> int:
        return int(read(self, "int"))

    def __float__(self) -> float:
        return float(read(self, "float"))

    def __complex__(self) -> complex:
        return complex(read(self, "complex"))

    def __repr__(self) -> str:
        return repr(read(self, "repr"))

    def __format__(self, form: str) -> str:
        return format(read(self, "format"), form)

    def get(self, stream=None, order="C", out=None, blocking=True) -> np.ndarray:
        return np.array(read(self, "get"), order=order)

    def item(self) -> object:
        return read(self, "item").item()

    def tolist(self) -> list:
        return read(self, "tolist").tolist()

    def tobytes(self, order="C") -> bytes:
        return read(self, "tobytes").tobytes(order)

    def nonzero(self) -> tuple:
        read(self, "nonzero")
        return compute(np.nonzero, (self,), {})

    def __reduce__(self) -> tuple:
        return _from_host, (np.array(self._host),)

    def __copy__(self) -> "ndarray":
        return self.copy()

    def __deepcopy__(self, memo: dict) -> "ndarray":
        return self.copy()

    # --- what NumPy would do to it ----------------------------------------------------

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if not is_exempt():
            raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`.")
        return np.array(self._host, dtype=dtype)

    def __array_ufunc__(self, ufunc: object, method: str, *inputs: object, **options: object):
        if is_exempt():
            hosts = [each._host if type(each) is ndarray else each for each in inputs]
            return getattr(ufunc, method)(*hosts, **options)
        plain = method == "__call__" and len(inputs) == 2 and not options
        if plain and any(isinstance(each, np.generic) for each in inputs):
            check_types(ufunc.__name__, inputs)
            return compute(ufunc, inputs, {})  # np.float64(2) * array
        raise TypeError(f"numpy.{ufunc.__name__} was given an array of the device")

    def __array_function__(self, function: object, kinds: object, args: tuple, kwargs: dict):
        if not is_exempt():
            raise TypeError(f"numpy.{function.__name__} was given an array of the device")
        return function(*_hosts(args), **{key: _hosts(value) for key, value in kwargs.items()})

    # --- its parts --------------------------------------------------------------------

    def __getitem__(self, index: object) -> "ndarray":
        where = self._index(index)
        return compute(lambda host: host[where], (self,), {}, "getitem")

    def __setitem__(self, index: object, value: object) -> None:
        where, sources = self._index(index), []
        target, values = to_host(self, sources), to_host(value, sources)
        events.note_launches("setitem", int(target[where].size > 0))
        if not any(isinstance(part, np.ndarray) for part in where):
            target[where] = values
            return
        positions = np.arange(target.size).reshape(target.shape)[where]  # shape of the values
        values = np.broadcast_to(np.asarray(values), positions.shape).reshape(-1)
        order = shuffle.permutation(positions.size)
        target[np.unravel_index(positions.reshape(-1)[order], target.shape)] = values[order]

    def _index(self, index: object) -> tuple:
        """An index for NumPy, integer arrays wrapped into range."""
        parts, sources = list(index) if isinstance(index, tuple) else [index], []
        hosts = [to_host(np.asarray(p) if isinstance(p, list) else p, sources) for p in parts]
        used = [_axes_used(part) for part in hosts]
        rest = self.ndim - sum(n for n, part in zip(used, hosts) if part is not Ellipsis)
        axis = 0
        for position, part in enumerate(hosts):
            if type(parts[position]) is ndarray and part.dtype.kind == "b":
                read(parts[position], "boolean index")
            elif isinstance(part, np.ndarray) and part.dtype.kind in "iu" and self.shape[axis]:
                hosts[position] = part % self.shape[axis]
            axis += rest if part is Ellipsis else used[position]
        return tuple(hosts)


def _axes_used(part: object) -> int:
    """How many axes one part of an index stands for."""
    is_mask = isinstance(part, np.ndarray) and part.dtype.kind == "b"
    return part.ndim if is_mask else int(part is not None)


def _hosts(value: object) -> object:
    if type(value) in (list, tuple):
        return type(value)(_hosts(each) for each in value)
    return value._host if type(value) is ndarray else value


def _from_host(host: np.ndarray) -> ndarray:
    return ndarray(host)


# --- operators and methods, as far as names.json has them -----------------------------

SHORT = {  # operator -> the function of NumPy's that it stands for
    **{"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide"},
    **{"floordiv": "floor_divide", "mod": "remainder", "pow": "power", "matmul": "matmul"},
    **{"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lt": "less"},
    **{"le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal"},
    **{"ne": "not_equal"},
}


IN_PLACE = {"fill", "sort", "partition"}  # methods without a result


def _binary(name: str, reverse: bool) -> object:
    function = COMPUTES.get(name) or getattr(np, name)

    def method(self: ndarray, other: object) -> object:
        if type(other) is not ndarray and isinstance(other, np.ndarray) and is_exempt():
            return function(*((other, self._host) if reverse else (self._host, other)))
        if not isinstance(other, (ndarray, np.ndarray, *SCALARS)):
            return NotImplemented
        pair = (other, self) if reverse else (self, other)
        check_types(name, pair)
        return compute(function, pair, {})

    return method


def _in_place(name: str) -> object:
    function = COMPUTES.get(name) or getattr(np, name)

    def method(self: ndarray, other: object) -> ndarray:
        check_types(name, (self, other))
        cast = functools.partial(function, casting="same_kind")
        compute(cast, (self, other), {"out": self}, name)
        return self

    return method


def _unary(function: object) -> object:
    return lambda self: compute(function, (self,), {})


def _method(name: str, parameters: str) -> object:
    def method(self: ndarray, *args: object, **kwargs: object) -> object:
        check_call(f"ndarray.{name}", parameters, args, kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key != "blocking"}
        events.note_launches(name, int(name in IN_PLACE))
        call = lambda host, *a, **k: getattr(host, name)(*a, **k)  # noqa: E731
        return compute(call, (self, *args), kwargs, name)

    return method


def _take(self: ndarray, indices: object, axis: object = None, out: object = None) -> ndarray:
    count = self.size if axis is None else self.shape[axis]
    sources: list = []
    wrapped = np.asarray(to_host(indices, sources)) % max(count, 1)
    return compute(lambda host: host.take(wrapped, axis), (self,), {}, "take")


for _short, _name in SHORT.items():
    if f"__{_short}__" in NAMES["operators"]:
        setattr(ndarray, f"__{_short}__", _binary(_name, reverse=False))
    if f"__r{_short}__" in NAMES["operators"]:
        setattr(ndarray, f"__r{_short}__", _binary(_name, reverse=True))
    if f"__i{_short}__" in NAMES["operators"]:
        setattr(ndarray, f"__i{_short}__", _in_place(_name))
ndarray.__neg__, ndarray.__pos__ = _unary(operator.neg), _unary(operator.pos)
ndarray.__abs__, ndarray.__invert__ = _unary(operator.abs), _unary(operator.invert)
ndarray.__hash__ = None
for _name, _parameters in NAMES["cupy.ndarray"].items():
    if _parameters is not None and hasattr(np.ndarray, _name) and _name not in vars(ndarray):
        setattr(ndarray, _name, _method(_name, _parameters))
ndarray.take = _take
