"""Streams of the stand-in: queues of work, of which one does not wait for another.

Underneath, all work is done at once. But an array remembers the stream that it was made
in, and when. Another stream may use it only if it has waited for an event that was
recorded there afterwards.
"""

import threading

current = threading.local()


class Event:
    """A mark in a stream."""

    def __init__(self, stream: "Stream") -> None:
        self.stream, self.time = stream, stream.time


class Stream:
    """A queue; as a context, the one that this thread puts its work into."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None) -> None:
        self.time = 0  # arrays that were made in it so far
        self.waited: dict[Stream, int] = {}  # up to which time of another stream

    def record(self, event: Event | None = None) -> Event:
        assert event is None, "the stand-in makes events itself"
        return Event(self)

    def wait_event(self, event: Event) -> None:
        before = self.waited.get(event.stream, 0)
        self.waited[event.stream] = max(before, event.time)

    def __enter__(self) -> "Stream":
        current.stack = [*getattr(current, "stack", []), get_current_stream()]
        current.stream = self
        return self

    def __exit__(self, *error: object) -> None:
        current.stream = current.stack.pop()


NULL = Stream()


def get_current_stream(device_id: int = -1) -> Stream:
    return getattr(current, "stream", NULL)


def birth() -> tuple[Stream, int]:
    """The stream and the time of an array that is made now."""
    stream = get_current_stream()
    stream.time += 1
    return stream, stream.time


def check(made: tuple[Stream, int]) -> None:
    """ValueError if this thread's stream has not waited for an array."""
    stream, time = made
    using = get_current_stream()
    if stream is not using and using.waited.get(stream, 0) < time:
        raise ValueError("cupy: an array is used before the stream that makes it is done with it")
