"""How does an object lie in shared memory, so that others read it without a copy?

A message is a row of parts: first a pickle, then the arrays that it mentions, as they
are. (Pickles of protocol 5 can leave large pieces of memory out, to be sent beside
them.) In front stand the numbers of bytes.

    | total | parts | length 0 | length 1 | ... |  pickle  |  array  |  array  | ...

A reader takes the arrays where they lie. They hold only until the sender writes its
next message into the same memory.

PEP 574, "Pickle protocol 5 with out-of-band data".
"""

import pickle
from typing import Any

import numpy as np

from clip_np.training.communicator.shared_block import aligned

COUNTS = 32  # numbers at the head of a message: its length, its parts, and their lengths
HEAD = 8 * COUNTS  # bytes


def encode(value: Any) -> list[Any]:
    """The parts of a message, the first one with the numbers of bytes."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    if len(parts) > COUNTS - 2:
        parts = [memoryview(pickle.dumps(value, protocol=5))]
    lengths = [len(part) for part in parts]
    total = HEAD + sum(aligned(length) for length in lengths)
    counts = np.zeros(COUNTS, np.int64)
    counts[: 2 + len(parts)] = [total, len(parts), *lengths]
    return [memoryview(counts.tobytes()), *parts]


def size_of(parts: list[Any]) -> int:
    """The bytes that a message from `encode` fills."""
    return size_in(parts[0])


def size_in(memory: Any) -> int:
    """The bytes of the message that begins with `memory`.

    >>> parts = encode("a text")
    >>> size_in(parts[0]), len(parts)  # the numbers, and a pickle, which is short
    (320, 2)
    """
    return int(np.frombuffer(memory[:8], np.int64)[0])


def write(parts: list[Any], memory: Any) -> None:
    """Lay a message into memory that is large enough."""
    offset = 0
    for part in parts:
        memory[offset : offset + len(part)] = part
        offset += aligned(len(part))


def decode(memory: Any) -> Any:
    """The object of the message in `memory`; its arrays lie there.

    >>> memory = memoryview(bytearray(1000))
    >>> write(encode({"rows": np.arange(3)}), memory)
    >>> decode(memory)
    {'rows': array([0, 1, 2])}
    """
    _, count, *lengths = np.frombuffer(memory[:HEAD], np.int64).tolist()
    parts, offset = [], HEAD
    for length in lengths[:count]:
        parts.append(memory[offset : offset + length])
        offset += aligned(length)
    return pickle.loads(parts[0], buffers=parts[1:])
