"""When is an operation put on the tape?

Always, unless the program says that it needs no gradients: while it uses a model, and
while it updates the parameters by hand. Then an operation computes its result and
forgets how. This saves the memory of everything that the derivatives would need.

Each thread has its own answer. It is a context variable (see minigrad/context.py), so a
program that runs a function in a copy of its context takes the answer along.
`run_workers` (minigrad/threads.py) does. But on some Pythons *every* new thread starts
with such a copy, wanted or not, and a training that was started inside of a `no_grad`
would never learn. There the answer holds only in the thread that gave it.
"""

import sys
from contextvars import ContextVar
from threading import get_ident
from typing import NamedTuple

from minigrad.context import Setting


class Answer(NamedTuple):
    """Whether to record, and the number of the thread that decided so."""

    on: bool
    thread: int


_USUALLY = Answer(on=True, thread=0)
_answer: ContextVar[Answer] = ContextVar("recording", default=_USUALLY)


def is_recording() -> bool:
    """Whether this thread records its operations at this moment.

    >>> with no_grad():
    ...     is_recording()
    False
    """
    on, thread = _answer.get()
    return on or (thread != get_ident() and threads_inherit())


def threads_inherit() -> bool:
    """Whether every new thread starts with a copy of its starter's context.

    From Python 3.14 on that is usual where there is no lock, and can be asked for
    elsewhere: `python -X thread_inherit_context=1`. See Python's pages on sys.flags.

    >>> type(threads_inherit())
    <class 'bool'>
    """
    return bool(getattr(sys.flags, "thread_inherit_context", False))


class _Recording(Setting[bool]):
    """The `with` block, or decorator, that `recording` returns."""

    __slots__ = ()

    def inside(self, outer: Answer) -> Answer:
        """The answer of this thread."""
        return Answer(self.value, get_ident())


def recording(on: bool) -> Setting[bool]:
    """Within the block, operations are recorded if `on` is true, and only then.

    >>> with no_grad(), recording(True):
    ...     is_recording()
    True
    """
    return _Recording(_answer, on)


def no_grad() -> Setting[bool]:
    """Within the block, or the decorated function, nothing is recorded on the tape.

    It holds for this thread, for the threads of `run_workers`, and for what runs in a
    copy of this context. Other threads that are started in the block record.

    Here an update in place, `w -= lr * w.grad`, changes the array of the leaf w.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 3.0], requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return recording(False)
