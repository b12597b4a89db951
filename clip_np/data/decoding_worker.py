"""What does a process do that decodes images for another one?

It is started by worker_processes.py and does one thing, until its input ends:

    standard input     Start, then for each batch a Request and the B sources of it
    standard output    for each batch a Made, a Refused or a Failed
    shared memory      the pixels: squares in and out, and the images of the batch

A source is read from the pipe when its turn comes, so the encoded images of a batch are
never all in memory. How messages are written is in frames.py.

The input ends when the program ends, whatever ended it. So no worker outlives its
program. Ctrl-C and the signals that ask a program to end are the program's business,
and a worker ignores them.
"""

import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from PIL import Image, ImageFile

from clip_np.data.augmentation import Augmentation
from clip_np.data.errors import DataError
from clip_np.data.frames import Frame, receive, send
from clip_np.data.images import ImageSource
from clip_np.data.making import Recipe, Square, is_square, load_square, vary
from clip_np.data.preprocessing import Preprocess
from clip_np.data.shared_memory import Handle, open_shared
from minigrad.threads import blas_threads

SLOTS = 2
"""Batches in the memory of a worker: one is made while the other is taken away."""

IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that the program handles. No system has all of them."""

NO_ROW = -1  # no image of the batch was begun


class Start(NamedTuple):
    """The first message: what holds for all batches."""

    recipe: Recipe
    batch_size: int
    handle: Handle
    largest_image: int | None  # Pillow's limit, which a program may have changed
    truncated_images: bool  # Pillow's setting: whether images may lack their end

    def frame(self) -> Frame:
        """This message as it is sent."""
        return Frame({**self._asdict(), "recipe": asdict(self.recipe)})

    @classmethod
    def of(cls, frame: Frame) -> "Start":
        """The message that was sent."""
        settings = dict(frame.head["recipe"])
        settings["augmentation"] = Augmentation(**settings["augmentation"])
        settings["preprocess"] = Preprocess(**settings["preprocess"])
        recipe = Recipe(**settings)
        return cls(**{**frame.head, "recipe": recipe})


class Request(NamedTuple):
    """One batch to make."""

    step: int
    slot: int
    names: list[str]
    captions: list[str]
    tags: list[str] | None


class Made(NamedTuple):
    """A batch is in the images of the slot; `causes` says why other rows are not."""

    rows: list[int]
    captions: list[str]
    causes: list[tuple[int, str]]


class Refused(NamedTuple):
    """There is no such batch: the text of a DataError."""

    text: str


class Failed(NamedTuple):
    """Something else went wrong in the worker."""

    row: int
    report: str


Reply = Made | Refused | Failed
REPLIES: dict[str, type[Reply]] = {"made": Made, "refused": Refused, "failed": Failed}

Message = Path | str | bytes | np.ndarray | DataError | None
"""What is sent for a row: where its image is, or why there is none. None means that the
square is in the slot already."""


def reply_frame(reply: Reply) -> Frame:
    """A reply as it is sent."""
    return Frame({"kind": type(reply).__name__.lower(), **reply._asdict()})


def reply_of(frame: Frame) -> Reply:
    """The reply that was sent.

    >>> reply_of(reply_frame(Refused("a.png: cannot be read")))
    Refused(text='a.png: cannot be read')
    """
    fields = dict(frame.head)
    return REPLIES[fields.pop("kind")](**fields)


def row_frame(message: Message) -> Frame:
    """The message of a row as it is sent."""
    match message:
        case None:
            return Frame({"kind": "ready"})
        case DataError():
            return Frame({"kind": "bad", "text": str(message)})
        case bytes():
            return Frame({"kind": "encoded"}, message)
        case np.ndarray():
            form = {"dtype": message.dtype.str, "shape": message.shape}
            return Frame({"kind": "array", **form}, message.tobytes())
        case _:  # errors about a path and about the text of a path differ
            kind = "path" if isinstance(message, Path) else "name"
            return Frame({"kind": kind, "text": str(message)})


def row_message(frame: Frame) -> Message:
    """The message that was sent for a row.

    >>> row_message(row_frame("cat.png")), row_message(row_frame(None))
    ('cat.png', None)
    """
    head = frame.head
    match head["kind"]:
        case "bad":
            return DataError(head["text"])
        case "encoded":
            return frame.body
        case "array":
            return np.frombuffer(frame.body, np.dtype(head["dtype"])).reshape(head["shape"])
        case "path":
            return Path(head["text"])
        case "name":
            return str(head["text"])
    return None


class Slots:
    """The shared memory of a worker as arrays.

    - row (1,): the row that the worker decodes now. It is read if the worker dies.
    - squares, images (SLOTS, B, size, size, 3): decoded, and varied.

    >>> Slots.bytes_needed(batch_size=2, size=8)
    1544
    """

    def __init__(self, memory: memoryview, batch_size: int, size: int) -> None:
        shape = (2, SLOTS, batch_size, size, size, 3)
        self.row = np.frombuffer(memory, np.int64, count=1)
        pixels = np.frombuffer(memory, np.uint8, offset=self.row.nbytes)
        self.squares, self.images = pixels.reshape(shape)

    @staticmethod
    def bytes_needed(batch_size: int, size: int) -> int:
        """How much memory that takes."""
        return 8 + 2 * SLOTS * batch_size * size * size * 3


def work() -> None:
    """Make batches until the input ends."""
    for name in IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests = sys.stdin.buffer
    replies = _take_standard_output()
    try:
        _answer_all(Start.of(receive(requests)), requests, replies)
    except (EOFError, OSError):
        # The program has ended, and with it both pipes. What is left to be written has
        # no reader. Python would try it again at its end, and report that it cannot.
        os._exit(0)


def _take_standard_output() -> BinaryIO:
    """A file for the replies. What any library prints goes to standard error."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def _answer_all(start: Start, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests. It ends by the error of a pipe that has ended."""
    Image.MAX_IMAGE_PIXELS = start.largest_image
    ImageFile.LOAD_TRUNCATED_IMAGES = start.truncated_images
    size = start.recipe.size
    memory = open_shared(start.handle, Slots.bytes_needed(start.batch_size, size))
    slots = Slots(memoryview(memory), start.batch_size, size)
    with blas_threads(1):  # the other cores have other workers
        while True:
            request = Request(**receive(requests).head)
            reply = _answer(request, requests, slots, start.recipe)
            send(reply_frame(reply), replies)


def _answer(request: Request, requests: BinaryIO, slots: Slots, recipe: Recipe) -> Reply:
    """Make the batch of a request. All its rows are read from the pipe in any case."""
    problem: Refused | Failed | None = None
    squares: list[Square] = []
    for row, name in enumerate(request.names):
        message = row_message(receive(requests))
        if problem is None:
            slots.row[0] = row
            try:
                in_slot = slots.squares[request.slot, row]  # (size, size, 3)
                squares.append(_square(message, name, in_slot, recipe))
            except DataError as error:
                problem = Refused(str(error))
            except Exception as error:  # sent to the program, which ends with it
                problem = _failed(row, error)
    return problem or _vary(request, squares, slots, recipe)


def _failed(row: int, error: Exception) -> Failed:
    """The reply about an error. Where it was raised is printed for people."""
    traceback.print_exc()
    return Failed(row, f"{type(error).__name__}: {error}")


def _square(message: Message, name: str, in_slot: np.ndarray, recipe: Recipe) -> Square:
    """The square of a row, which is also written to `in_slot` in the shared memory."""
    if message is None:
        return in_slot
    if isinstance(message, DataError):
        if recipe.skip_bad:
            return message
        raise message
    source = cast(ImageSource, message)  # a text is the path of a file, as in `opened`
    square = load_square(source, name, recipe.preprocess, recipe.skip_bad)
    if is_square(square):
        in_slot[...] = square
    return square


def _vary(request: Request, squares: list[Square], slots: Slots, recipe: Recipe) -> Reply:
    """Put the varied images in the shared memory."""
    try:
        varied = vary(request.step, squares, request.captions, request.tags, recipe)
    except DataError as error:
        return Refused(str(error))
    except Exception as error:  # sent to the program, which ends with it
        return _failed(NO_ROW, error)
    slots.images[request.slot, : len(varied.rows)] = varied.images
    causes = [(row, str(square)) for row, square in enumerate(squares) if not is_square(square)]
    return Made(rows=varied.rows, captions=varied.captions, causes=causes)
