"""How do two processes exchange messages that run no code?

Python has pickles for this, and reading a pickle can start any program. A process that
decodes the images of strangers may be fooled one day. So what it sends is data alone:

    8 bytes    the length of the head
    8 bytes    the length of the body
    head       JSON: what the message says
    body       bytes, such as those of an encoded image

JSON keeps integers of any length, floats to the last bit, and names of files that are
no Unicode.
"""

import json
import struct
from typing import IO, Any, NamedTuple

LENGTHS = struct.Struct("<QQ")


class Frame(NamedTuple):
    """A message: what JSON can hold, and bytes."""

    head: Any
    body: bytes = b""


def send(frame: Frame, file: IO[bytes]) -> None:
    """Write a message, at once.

    >>> import io
    >>> pipe = io.BytesIO()
    >>> send(Frame({"kind": "encoded"}, b"GIF89a"), pipe)
    >>> receive(io.BytesIO(pipe.getvalue()))
    Frame(head={'kind': 'encoded'}, body=b'GIF89a')
    """
    head = json.dumps(frame.head).encode("ascii")
    file.write(LENGTHS.pack(len(head), len(frame.body)) + head)
    file.write(frame.body)
    file.flush()


def receive(file: IO[bytes]) -> Frame:
    """Read a message; EOFError if the file has ended."""
    head_length, body_length = LENGTHS.unpack(_exactly(file, LENGTHS.size))
    head = json.loads(_exactly(file, head_length))
    return Frame(head, _exactly(file, body_length))


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("the other process has ended")
    return content
