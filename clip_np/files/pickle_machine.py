"""How is a pickle read without running the program that is in it?

A pickle is a program for a machine with a stack. This one makes {"width": 64}:

    EMPTY_DICT             push {}
    BINUNICODE "width"     push "width"
    BININT1 64             push 64
    SETITEM                take a key and a value, put them into the dict below
    STOP                   the result is on top

Python's own machine also has GLOBAL, which imports whatever the program names, and
REDUCE, which calls it: `pickle.load` of a stranger's file hands the computer to the
stranger. So here is another machine. It knows the instructions that weights need and no
others. A name is text to it, and what the few allowed names mean is decided in
`torch_tensors`. Nothing is imported, and no method of an object out of the file is
called.

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
    "APPEND": 1,  # an item; the list stays
    "SETITEM": 2,  # a key and a value; the dict stays
    "BUILD": 1,  # attributes; the object stays
    "REDUCE": 2,  # a function and its arguments
    "NEWOBJ": 2,  # a class and its arguments
    "BINPERSID": 1,  # what describes a storage
}
# Instructions that take everything above the topmost mark.
TAKE_ALL_ABOVE_MARK = {"TUPLE", "APPENDS", "SETITEMS"}
# Instructions that push a new value, always the same one.
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
# Instructions that push the number or text that follows them in the program.
LITERALS = {"BININT1", "BININT2", "BININT", "LONG1", "BINFLOAT", "BINUNICODE"}
KEY_LIMIT = 2**31  # integer keys lie below; optimizers number their parameters


class Attributes(dict[str, Any]):
    """The attributes of a TorchScript module."""


class Names(Protocol):
    """What the names in a program mean: `torch_tensors.TorchNames`."""

    def is_known(self, name: str) -> bool:
        """Whether the program may use this name."""

    def call(self, name: Any, arguments: Any) -> Any:
        """The result of a call with anything; FileError if it is not allowed."""

    def storage(self, description: Any) -> Any:
        """The numbers that are described; FileError if they are not in the file."""


def run_pickle(program: bytes, names: Names) -> Any:
    """What the program leaves on the stack.

    FileError for an instruction, a name or a call that weights do not need. Programs
    that make no sense raise other exceptions, such as IndexError: use `file_errors`
    around it. The result may contain itself, so whoever walks through it needs a limit.

    >>> import pickle
    >>> from clip_np.files.torch_tensors import TorchNames
    >>> names = TorchNames(entries={})
    >>> run_pickle(pickle.dumps({"width": 64}, protocol=2), names)
    {'width': 64}
    >>> run_pickle(pickle.dumps(print, protocol=2), names)
    Traceback (most recent call last):
    clip_np.files.errors.FileError: asks for '__builtin__.print', which ...
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
            case "PROTO" | "STOP":
                pass
            case "MARK":
                self.below_marks.append(self.stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(operands))
            case "APPEND" | "APPENDS":
                _append(self.stack[-1], operands)
            case "SETITEM" | "SETITEMS":
                _set_items(self.stack[-1], operands)
            case "GLOBAL":
                self.stack.append(self._known_name(argument))
            case "REDUCE" | "NEWOBJ":
                function, arguments = operands
                self.stack.append(self.names.call(function, arguments))
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

    def _known_name(self, argument: str) -> str:
        """The text "module.name" for the "module name" of the program.

        This stops what makes pickles dangerous: names such as `os.system`.
        """
        name = argument.replace(" ", ".", 1)
        if not self.names.is_known(name):
            raise FileError(f"asks for {name!r}, which weights do not need")
        return name


def _append(target: Any, items: list[Any]) -> None:
    """Add items to a list, and to nothing else that might have an `extend`."""
    if type(target) is not list:
        raise FileError(f"appends to a {type(target).__name__}")
    target.extend(items)


def _set_items(target: Any, items: list[Any]) -> None:
    """Put keys and values, in turn, into a dict.

    Only text and small integers are keys. The hash of a tuple walks through all that is
    in it, and a tuple of two times the same tuple, 60 levels deep, has 2^60 leaves.
    """
    if not isinstance(target, dict):
        raise FileError(f"sets items of a {type(target).__name__}")
    keys, values = items[::2], items[1::2]
    for key in keys:
        if not (type(key) is str or (type(key) is int and key < KEY_LIMIT)):
            raise FileError("has a dict whose keys are neither text nor small numbers")
    target.update(zip(keys, values, strict=True))


def _set_attributes(target: Any, attributes: Any) -> None:
    """Give a module its attributes.

    They are moved and not copied: copying a large dict into many modules would take
    memory without end. An OrderedDict has attributes too, the versions of its
    modules; they are left out.
    """
    if type(target) is Attributes and type(attributes) is dict:
        target.update(attributes)
        attributes.clear()
    elif type(target) is not dict:
        raise FileError(f"sets attributes of a {type(target).__name__}")
