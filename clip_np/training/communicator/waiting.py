"""How does a process wait for another one, briefly, without taking its core away?

A rank comes to a barrier, on average, a fraction of a millisecond before the last one.
To be put to sleep by the system and woken up again would take as long. So it looks
again and again, and between two looks offers its core to whoever wants it. If the wait
grows longer, it sleeps, each time for a sixteenth of the time that it has waited: then
it is at most a sixteenth too late, and needs nearly no computing time.

    waited so far      0 ... 0.2 ms      1 ms       16 ms     beyond 80 ms
    pause              none              0.06 ms    1 ms      5 ms

Waiting ends in one of three ways: what was waited for has come; the deadline is over;
or `look`, which is asked after longer pauses, sees that it will never come.
"""

from collections.abc import Callable
from time import perf_counter, sleep

SPINNING = 2e-4
"""Seconds in which a rank only looks. Waking it up would take a quarter of that."""

SHORTEST_PAUSE = 5e-5
LONGEST_PAUSE = 5e-3
PAUSES_IN_WAIT = 16  # a pause is this part of the time waited so far

LOOKING_AFTER = 0.02
"""Seconds after which `look` is asked in each pause. It calls the system."""


def wait_until(
    is_ready: Callable[[], bool],
    look: Callable[[], None],
    deadline: float | None,
    longest_pause: float = LONGEST_PAUSE,
) -> bool:
    """Return True when `is_ready` does, or False after `deadline` seconds.

    look raises an error if waiting is in vain. With deadline None it alone ends that.
    longest_pause is in seconds.

    >>> wait_until(lambda: True, look=lambda: None, deadline=1.0)
    True
    >>> wait_until(lambda: False, look=lambda: None, deadline=0.001)
    False
    """
    started = perf_counter()
    while not is_ready():
        waited = perf_counter() - started
        if waited < SPINNING:
            sleep(0)  # lets other threads and processes go first
            continue
        if waited > LOOKING_AFTER:
            try:
                look()
            except Exception:
                # A rank may have come, gone on and failed while this one slept.
                if is_ready():
                    return True
                raise
        if deadline is not None and waited > deadline:
            return False
        sleep(min(max(waited / PAUSES_IN_WAIT, SHORTEST_PAUSE), longest_pause))
    return True
