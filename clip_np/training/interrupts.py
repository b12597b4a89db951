"""How can a run be stopped without tearing a step apart?

Python answers Ctrl-C by raising KeyboardInterrupt wherever the program happens to be,
perhaps between the update of one weight and the next. Other signals that ask a program
to end, such as SIGTERM from `kill` or a batch system, end it on the spot. Within
`stop_on_signals`, the first of them is only noted. The training loop looks at the note
between two steps, saves, and ends. A second Ctrl-C interrupts at once.

Before the first step and after the last one there is nothing to save, but there are
processes to end and files to put away. Within `end_on_signals`, SIGTERM does there what
Ctrl-C does: it raises an exception, so that everything that is open is closed.

What somebody else has settled about a signal stays so:

- a signal that is ignored (`nohup` ignores SIGHUP, a shell's `&` may ignore Ctrl-C)
- a handler that was not set by Python: it could not be put back afterwards
- a handler for SIGTERM or SIGHUP that the program has set for itself

Python's documentation: https://docs.python.org/3/library/signal.html
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

Handler = Callable[[int, Any], Any] | int | None

ENDINGS = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals besides Ctrl-C that ask a program to end, on some system or other."""

SIGNALLED = 128
"""Added to a signal's number, it is the exit status, as in shells."""


class Stop(threading.Event):
    """Set when the program is asked to end. `signal` says by which signal."""

    signal: int | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP set the event that it receives.

    Signals reach the main thread only. In another thread the event is never set, and
    signals are the caller's business.

    >>> with stop_on_signals() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.is_set(), stop.signal == signal.SIGTERM
    (True, True)
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stop.is_set():
            stop.signal = number
            stop.set()

    with _handled_by(handle, _signals_to_take()):
        yield stop


@contextlib.contextmanager
def end_on_signals() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP raise SystemExit with their exit status.

    In a thread other than the main one, nothing is changed.

    >>> with end_on_signals():
    ...     signal.raise_signal(signal.SIGTERM)
    Traceback (most recent call last):
    SystemExit: 143
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled_by(_end, [number for number in _signals_to_take() if number != signal.SIGINT]):
        yield


def _end(number: int, frame: Any) -> None:
    raise SystemExit(SIGNALLED + number)


@contextlib.contextmanager
def _handled_by(handle: Callable[[int, Any], None], numbers: list[int]) -> Iterator[None]:
    """Within the block, these signals are answered by `handle`."""
    before: dict[int, Handler] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signals_to_take() -> list[int]:
    """The signals of which nobody else has settled what they do."""
    taken: list[int] = []
    # None stands for a handler that was not set by Python.
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
        taken.append(signal.SIGINT)
    for name in ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, _end):
            taken.append(number)
    return taken
