"""How can a block of code have a setting, without a global variable?

A global variable would be shared by all threads. If one thread switched recording off
for an evaluation, a training in another thread would stop learning. A context variable
has a separate value in each thread. `setting` gives it a value for the length of a
`with` block:

    with setting(recording, False):
        ...

Python's documentation: https://docs.python.org/3/library/contextvars.html
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TypeVar

Value = TypeVar("Value")


@contextlib.contextmanager
def setting(variable: ContextVar, value: Value) -> Iterator[Value]:
    """Within the block, the context variable holds `value`, which `as` hands over.

    >>> colour = ContextVar("colour", default="blue")
    >>> with setting(colour, "red"):
    ...     colour.get()
    'red'
    >>> colour.get()
    'blue'
    """
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
