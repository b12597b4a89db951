"""How is a pickle read without running the program that is in it?

A pickle is a program for a machine with a stack. This one makes {"width": 64}:

    EMPTY_DICT             push {}
    BINUNICODE "width"     push "width"
    BININT1 64             push 64
    SETITEM                take a key and a value, put them into the dict below
    STOP                   the result is on top

Python's own machine also has GLOBAL, which imports whatever the program names, and
REDUCE, which calls it: `pickle.load` of a stranger's file hands the computer to the
stranger. So here is another machine. It knows the instructions that data need and no
others. A name is text to it, and what the few known names mean is decided in
`torch_tensors`. Nothing is imported, and no method of an object out of the file is
called.

People save more than weights: the arguments of a training, the path of its data, the
state of a random generator. Such an object becomes a `StandIn`. It is inert: it knows
the name of its class, and forgets everything that the program does to it.

`pickletools`, which takes pickles apart and never runs them, reads the instructions.
No instruction makes more than a few hundred bytes, apart from the data that stands in
the program itself. So the length of a program limits the memory that it takes.
https://docs.python.org/3/library/pickletools.html
"""

import pickletools
from collections.abc import Callable
from typing import Any, Protocol

from clip_np.files.errors import FileError

# Instructions that take values from the top of the stack, and how many.
OPERANDS = {
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "STACK_GLOBAL": 2,  # a module and a name in it
    "APPEND": 1,  # an item; the list stays
    "SETITEM": 2,  # a key and a value; the dict stays
    "BUILD": 1,  # attributes; the object stays
    "REDUCE": 2,  # a function and its arguments
    "NEWOBJ": 2,  # a class and its arguments
    "BINPERSID": 1,  # what describes a storage
}
# Instructions that take everything above the topmost mark.
TAKE_ALL_ABOVE_MARK = {"TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET"}
# Instructions that push a new value, always the same one.
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: StandIn("builtins.set"),
}
# Instructions that push the number or text that follows them in the program.
LITERALS = {
    *("BININT1", "BININT2", "BININT", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"),  # of protocols 3 to 5
}
IGNORED = {"PROTO", "FRAME", "STOP"}  # instructions that change nothing on the stack
KEY_LIMIT = 2**31  # integer keys lie below; optimizers number their parameters


class Attributes(dict[str, Any]):
    """The attributes of a TorchScript module."""


class StandIn:
    """Takes the place of an object that belongs to no weights; `name` is its class.

    It compares and hashes by identity, in constant time.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"StandIn({self.name!r})"


class Names(Protocol):
    """What the names in a program mean: `torch_tensors.TorchNames`."""

    def look_up(self, name: str) -> str | StandIn:
        """A known name as it is, or a stand-in; FileError for a dangerous one."""

    def call(self, name: Any, arguments: Any) -> Any:
        """The result of a call with anything; FileError if it is not allowed."""

    def storage(self, description: Any) -> Any:
        """The numbers that are described; FileError if they are not in the file."""


def run_pickle(program: bytes, names: Names) -> Any:
    """What the program leaves on the stack.

    FileError for an instruction, a name or a call that no data need. Programs that
    make no sense raise other exceptions, such as IndexError: use `file_errors`
    around it. The result may contain itself, so whoever walks through it needs a limit.

    >>> import pickle
    >>> from clip_np.files.torch_tensors import TorchNames
    >>> names = TorchNames(entries={})
    >>> run_pickle(pickle.dumps({"width": 64}, protocol=2), names)
    {'width': 64}
    >>> run_pickle(pickle.dumps(print, protocol=2), names)
    Traceback (most recent call last):
    clip_np.files.errors.FileError: asks for '__builtin__.print', which weights ...
    """
    machine = _Machine(names)
    for instruction, argument, _ in pickletools.genops(program):
        machine.step(instruction.name, argument)
    return machine.stack.pop()


class _Machine:
    """A stack, the stacks below the marks, and the values to be used again."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.below_marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}  # a dict: an index of 2^32 - 1 takes no memory

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction; `argument` is what follows it in the program."""
        operands = self._take(name)
        match name:
            case _ if name in IGNORED:
                pass
            case "MARK":
                self.below_marks.append(self.stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(operands))
            case "APPEND" | "APPENDS":
                _append(self.stack[-1], operands)
            case "SETITEM" | "SETITEMS":
                _set_items(self.stack[-1], operands)
            case "ADDITEMS":
                _append(self.stack[-1], operands)
            case "FROZENSET":
                self.stack.append(StandIn("builtins.frozenset"))
            case "GLOBAL":  # the argument is "module name"
                self.stack.append(self.names.look_up(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                self.stack.append(self.names.look_up(_dotted(operands)))
            case "REDUCE" | "NEWOBJ":
                function, arguments = operands
                self.stack.append(self._call(function, arguments))
            case "BINPERSID":
                self.stack.append(self.names.storage(operands[0]))
            case "BUILD":
                _set_attributes(self.stack[-1], operands[0])
            case _ if name in LITERALS:
                self.stack.append(argument)
            case _ if name in CONSTANTS:
                self.stack.append(CONSTANTS[name]())
            case _:
                raise FileError(f"uses the instruction {name}, which weights do not need")

    def _take(self, name: str) -> list[Any]:
        """Take the operands of an instruction from the stack."""
        if name in TAKE_ALL_ABOVE_MARK:
            operands = self.stack
            self.stack = self.below_marks.pop()
            return operands
        count = OPERANDS.get(name, 0)
        if count > len(self.stack):
            raise FileError(f"its instruction {name} needs {count} values from a shorter stack")
        rest = len(self.stack) - count
        operands = self.stack[rest:]
        del self.stack[rest:]
        return operands

    def _call(self, function: Any, arguments: Any) -> Any:
        """The result of a call. That of a stand-in is another stand-in, at once."""
        if isinstance(function, StandIn):
            return StandIn(function.name)
        return self.names.call(function, arguments)


def _dotted(parts: list[Any]) -> str:
    """The text "module.name" of the two parts of a name."""
    if not all(type(part) is str for part in parts):
        raise FileError("has a name that is no text")
    return ".".join(parts)


def _append(target: Any, items: list[Any]) -> None:
    """Add items to a list, and to nothing else that might have an `extend`."""
    if isinstance(target, StandIn):
        return
    if type(target) is not list:
        raise FileError(f"appends to a {type(target).__name__}")
    target.extend(items)


def _set_items(target: Any, items: list[Any]) -> None:
    """Put keys and values, in turn, into a dict.

    Only text and small integers are keys; other keys become stand-ins. The hash of a
    tuple walks through all that is in it, and a tuple of two times the same tuple, 60
    levels deep, has 2^60 leaves.
    """
    if isinstance(target, StandIn):
        return
    if not isinstance(target, dict):
        raise FileError(f"sets items of a {type(target).__name__}")
    keys = [key if _is_plain_key(key) else StandIn("a key") for key in items[::2]]
    target.update(zip(keys, items[1::2], strict=True))


def _is_plain_key(key: Any) -> bool:
    """Whether a key is text, or an integer of which the hash is quickly made."""
    return type(key) is str or (type(key) is int and -KEY_LIMIT < key < KEY_LIMIT)


def _set_attributes(target: Any, attributes: Any) -> None:
    """Give a module its attributes.

    They are moved and not copied: copying a large dict into many modules would take
    memory without end. An OrderedDict has attributes too, the versions of its
    modules; they are left out.
    """
    if isinstance(target, StandIn):
        return
    if type(target) is Attributes and type(attributes) is dict:
        target.update(attributes)
        attributes.clear()
    elif type(target) is not dict:
        raise FileError(f"sets attributes of a {type(target).__name__}")
