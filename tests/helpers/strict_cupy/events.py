"""What has the device been asked to do, while a test was watching?

    with watching() as events:
        loss.backward()
    assert events.reads == [] and len(events.launches) < 100

A real device answers none of these questions without a profiler. Each of them costs a
program time in silence: a read makes it wait, a copy from the host crosses the bus, a
launch takes a few microseconds, float64 computes at a fraction of float32's speed.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from paths import ROOT

PACKAGES = tuple(str(ROOT / name) + "/" for name in ("minigrad", "clip_np"))
WIDE = (np.dtype(np.float64), np.dtype(np.complex128))


@dataclass(eq=False)
class Events:
    """What happened, in order.

    - reads: how an array was read on the host.
    - copies: from the host to the device, "minigrad/ops/attention.py:213 (5, 5) bool".
    - launches: names of functions, once for each kernel, product, fill and copy on the
      device.
    - wide: arrays of float64 or complex128 that were made, as for `copies`.
    """

    reads: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    launches: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)


watchers: list[Events] = []  # of the `with` blocks that are open; appending is thread-safe


@contextlib.contextmanager
def watching() -> Iterator[Events]:
    """The events of a block, of all threads."""
    events = Events()
    watchers.append(events)
    try:
        yield events
    finally:
        watchers.remove(events)


def place() -> str:
    """The line of the packages that is being run, "minigrad/tape.py:80"."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGES):
            return f"{name[len(str(ROOT)) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "a test"


def note_read(how: str) -> None:
    for events in watchers:
        events.reads.append(how)


def note_copy(host: np.ndarray) -> None:
    for events in watchers:
        events.copies.append(f"{place()} {host.shape} {host.dtype}")


def note_array(host: np.ndarray) -> None:
    """An array was made on the device."""
    if watchers and host.dtype in WIDE:
        for events in watchers:
            events.wide.append(f"{place()} {host.shape} {host.dtype}")


def note_launches(name: str, count: int) -> None:
    for events in watchers:
        events.launches += [name] * count
