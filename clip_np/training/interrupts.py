"""How can a run be stopped without tearing a step apart?

Python answers Ctrl-C by raising KeyboardInterrupt wherever the program happens to be,
perhaps between the update of one weight and the next. Within `stop_on_ctrl_c`, the
first Ctrl-C only sets an event. The training loop looks at it between two steps, saves,
and ends. A second Ctrl-C interrupts at once.

Python's documentation: https://docs.python.org/3/library/signal.html
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Within the block, Ctrl-C sets the event that the block receives.

    Signals reach the main thread only. In another thread the event is never set, and
    Ctrl-C is the caller's business.

    >>> with stop_on_ctrl_c() as stop:
    ...     signal.raise_signal(signal.SIGINT)
    ...     stop.is_set()
    True
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
