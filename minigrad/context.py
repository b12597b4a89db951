"""How can a block of code have a setting, without a global variable?

A global variable would be shared by all threads. If one thread switched recording off
for an evaluation, a training in another thread would stop learning. A context variable
has a separate value in each thread. (On Python 3.14 without the lock, a new thread
begins with a copy of the values of the thread that started it. Where that would be
wrong, the value says whose it is: see recording.py, memory.py.) `setting` gives it a
value for the length of a `with` block, or of the calls of a decorated function:

    with setting(recording, False):
        ...

The old value must come back whatever ends the block, a Ctrl-C too. Python delivers a
Ctrl-C between any two steps of a program. So the value is set inside a `try`. A block
that ends normally is exposed for one step only, the first of `__exit__`.

Python's documentation: https://docs.python.org/3/library/contextvars.html
"""

import contextlib
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Setting(contextlib.AbstractContextManager, Generic[Value]):
    """The `with` block, or decorator, that `setting` returns."""

    __slots__ = ("outer", "value", "variable")

    def __init__(self, variable: ContextVar, value: Value) -> None:
        self.variable = variable
        self.value = value
        self.outer: list[Any] = []  # the values outside; several, if blocks of it are nested

    def __enter__(self) -> Value:
        outer = self.variable.get()
        self.outer.append(outer)
        try:
            self.variable.set(self.inside(outer))
        except BaseException:  # a Ctrl-C, right after the value was set
            self.__exit__()
            raise
        return self.value

    def inside(self, outer: Any) -> Any:
        """What the variable holds inside the block. Outside it holds `outer`."""
        return self.value

    def __exit__(self, *error: object) -> None:
        before = self.outer[-1]
        self.variable.set(before)
        del self.outer[-1]

    def __call__(self, function: Callable) -> Callable:
        """`function`, with the setting during each of its calls.

        TypeError for functions that go on running after their call has returned:
        generators and coroutines. The setting would be over before they begin.
        """
        kinds = (inspect.isgeneratorfunction, inspect.iscoroutinefunction)
        if any(is_kind(function) for is_kind in (*kinds, inspect.isasyncgenfunction)):
            raise TypeError(
                f"{function.__qualname__} is a generator or a coroutine, which runs after its "
                "call has returned: this decorator would change nothing. Use a `with` block "
                "inside of it, without a yield or an await in the block"
            )

        @functools.wraps(function)
        def call(*inputs: Any, **options: Any) -> Any:
            with type(self)(self.variable, self.value):
                return function(*inputs, **options)

        return call


def setting(variable: ContextVar, value: Value) -> Setting[Value]:
    """Within the block, the context variable holds `value`, which `as` hands over.

    >>> colour = ContextVar("colour", default="blue")
    >>> with setting(colour, "red"):
    ...     colour.get()
    'red'
    >>> colour.get()
    'blue'
    """
    return Setting(variable, value)
