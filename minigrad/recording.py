"""When is an operation put on the tape?

Always, unless the program says that it needs no gradients: while it uses a model, and
while it updates the parameters by hand. Then an operation computes its result and
forgets how. This saves the memory of everything that the derivatives would need.

Each thread has its own answer (minigrad/context.py).
"""

from contextvars import ContextVar

from minigrad.context import Setting, setting

_recording: ContextVar[bool] = ContextVar("recording", default=True)
is_recording = _recording.get
"""is_recording() tells whether this thread records its operations at this moment."""


def recording(on: bool) -> Setting[bool]:
    """Within the block, operations are recorded if `on` is true, and only then.

    >>> with no_grad(), recording(True):
    ...     is_recording()
    True
    """
    return setting(_recording, on)


def no_grad() -> Setting[bool]:
    """Within the block, or the decorated function, nothing is recorded on the tape.

    Here an update in place, `w -= lr * w.grad`, changes the array of the leaf w.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 3.0], requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return recording(False)
