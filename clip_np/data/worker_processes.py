"""How do several processes decode the images of a training?

Decoding and varying images costs as much as a small model's step. Python lets one
thread of a process run at a time, so the model and its loader wait for each other.
Processes do not:

    this process                          pipe                 worker processes
    pairs of a step: captions, sources  ------->  decode, resize, vary
    normalise  <--  shared memory: squares and varied images, uint8  <--

A worker gets what is left to read: the path of a file, or encoded bytes. A function
that reads an image from a table or a tar file is called in this process: it may not
work in another one, and its table is then in memory once, not in each worker. Squares
that were decoded before are put into the shared memory instead.

Each worker has the memory of two batches. While one is normalised here, the worker
makes the next. All in all that is

    workers x 2 x batch_size x size^2 x 6 bytes

of shared memory, and for each worker 46 MB for Python (Linux) and the picture that it
decodes. The batches that are ready are counted in batches.py.

A worker is a fresh Python, which runs decoding_worker.py and never the script of the
user. (`multiprocessing` would run that script again in each worker, unless its code
stands below `if __name__ == "__main__"`.) It is started in a session of its own, so
Ctrl-C in a terminal does not reach it. If this process dies, the worker ends with its
input. If the worker dies, `WorkerError` ends the run.
"""

import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image, ImageFile

from clip_np.data.decoding_worker import (
    NO_ROW,
    SLOTS,
    Failed,
    Made,
    Message,
    Refused,
    Request,
    Slots,
    Start,
    reply_of,
    row_frame,
)
from clip_np.data.errors import DataError
from clip_np.data.frames import Frame, receive, send
from clip_np.data.images import fetched
from clip_np.data.kept_squares import KeptSquares
from clip_np.data.making import Recipe, is_ready
from clip_np.data.pairs import Pairs
from clip_np.data.shared_memory import shared_memory

PROGRAM = "import sys; sys.path = {path!r}; from clip_np.data.decoding_worker import work; work()"
"""What a worker runs. It looks for modules where this process does."""


class WorkerError(RuntimeError):
    """A worker process died, or something in it failed that is no bad image."""


class WorkerProcess:
    """One process that makes batches, one at a time.

    free_slots: the slots of its memory whose batch was taken away.
    """

    def __init__(self, number: int, recipe: Recipe, batch_size: int) -> None:
        self.number = number
        size = Slots.bytes_needed(batch_size, recipe.size)
        with shared_memory(size) as shared:
            self.slots = Slots(memoryview(shared.memory), batch_size, recipe.size)
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=shared.descriptors,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self.start: Start | None = Start(
            recipe=recipe,
            batch_size=batch_size,
            handle=shared.handle,
            largest_image=Image.MAX_IMAGE_PIXELS,
            truncated_images=ImageFile.LOAD_TRUNCATED_IMAGES,
        )
        self.free_slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(SLOTS):
            self.free_slots.put(slot)

    def make(self, request: Request, messages: Iterator[Message]) -> Made:
        """Send a request with its rows, and wait until the batch is in the slot.

        Raises DataError for an image that cannot be read, and WorkerError.
        """
        self.slots.row[0] = NO_ROW
        try:
            if self.start is not None:
                self._send(self.start.frame())
                self.start = None
            self._send(Frame(request._asdict()))
            for message in messages:
                self._send(row_frame(message))
            assert self.process.stdout is not None  # it is a pipe
            reply = reply_of(receive(self.process.stdout))
        except (OSError, EOFError) as error:
            raise self._death(request) from error
        if isinstance(reply, Refused):
            raise DataError(reply.text)
        if isinstance(reply, Failed):
            when = _when(request, reply.row)
            raise WorkerError(
                f"data worker {self.number} failed {when} ({reply.report}). Where it failed is "
                "printed above. With 0 `data_workers` the program decodes by itself"
            )
        return reply

    def _send(self, frame: Frame) -> None:
        assert self.process.stdin is not None  # it is a pipe
        send(frame, self.process.stdin)

    def _death(self, request: Request) -> WorkerError:
        """The error for a worker whose pipes have ended."""
        status = self.process.wait()
        who = f"data worker {self.number} (process {self.process.pid})"
        when = _when(request, int(self.slots.row[0]))
        if status >= 0:
            return WorkerError(
                f"{who} ended with status {status} {when}: its own message stands above. With 0 "
                "`data_workers` the program decodes by itself"
            )
        return WorkerError(
            f"{who} was ended by signal {-status} {when}. Usual cause: too little memory. Fewer "
            "`data_workers` need less, and with 0 of them the program decodes by itself"
        )

    def close(self) -> None:
        """Wait for the end of the process, and close its pipes."""
        self.process.wait()
        assert self.process.stdin is not None and self.process.stdout is not None  # pipes
        with suppress(OSError):  # a message that nobody reads any more
            self.process.stdin.close()
        self.process.stdout.close()


def _when(request: Request, row: int) -> str:
    """Which step and image a worker was working on, in words."""
    if row == NO_ROW:
        return f"in step {request.step}"
    return f"while it decoded {request.names[row]} in step {request.step}"


class WorkerProcesses:
    """Makes batches in `count` processes; the plain twin is `InThisProcess`.

    failure is set once a process has died, at once and not when its batch is due.
    """

    def __init__(self, count: int, recipe: Recipe, batch_size: int, kept: KeptSquares) -> None:
        self.recipe = recipe
        self.kept = kept
        self.threads = SLOTS * count  # to send, wait and normalise
        self.failure: WorkerError | None = None
        self._workers: list[WorkerProcess] = []
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        try:
            for number in range(1, count + 1):
                self._workers.append(WorkerProcess(number, recipe, batch_size))
                self._idle.put(self._workers[-1])
        except BaseException:
            self.stop()
            self.close()
            raise

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in self._workers:
            worker.process.kill()  # it has nothing to save

    def close(self) -> None:
        """Forget the processes; no thread may use them any more."""
        for worker in self._workers:
            worker.close()

    def make(self, step: int, pairs: Pairs) -> tuple[np.ndarray, list[str], list[str]]:
        """Images as of `Recipe.finish`, captions and names of the readable pairs."""
        with self._borrowed() as worker:
            slot = worker.free_slots.get()
            try:
                made = worker.make(
                    self._request(step, slot, pairs), self._messages(pairs, worker, slot)
                )
            except BaseException:
                worker.free_slots.put(slot)
                raise
        # From here on the worker makes the next batch, in its other slot.
        try:
            return self._taken(made, pairs, worker, slot)
        finally:
            worker.free_slots.put(slot)

    @contextmanager
    def _borrowed(self) -> Iterator[WorkerProcess]:
        """A worker that has nothing to do."""
        worker = self._idle.get()
        try:
            yield worker
        except WorkerError as error:
            self.failure = self.failure or error
            raise
        finally:
            self._idle.put(worker)

    def _request(self, step: int, slot: int, pairs: Pairs) -> Request:
        return Request(
            step=step,
            slot=slot,
            names=list(pairs.names),
            captions=list(pairs.captions),
            tags=None if pairs.tags is None else list(pairs.tags),
        )

    def _messages(self, pairs: Pairs, worker: WorkerProcess, slot: int) -> Iterator[Message]:
        """What the worker needs for each row. Known squares go into the slot."""
        for row, name in enumerate(pairs.names):
            kept = self.kept.get(name)
            source = pairs.sources[row] if kept is None else kept
            if isinstance(source, DataError):
                yield source
            elif is_ready(source, self.recipe.size):
                worker.slots.squares[slot, row] = source
                yield None
            else:
                yield fetched(source, name)

    def _taken(
        self, made: Made, pairs: Pairs, worker: WorkerProcess, slot: int
    ) -> tuple[np.ndarray, list[str], list[str]]:
        """What `make` returns, out of the slot."""
        cause_of = dict(made.causes)
        for row, name in enumerate(pairs.names):
            if row in cause_of:
                self.kept.keep(name, DataError(cause_of[row]))
            elif self.kept.wants(name):
                self.kept.keep(name, worker.slots.squares[slot, row].copy())
        images = self.recipe.finish(worker.slots.images[slot, : len(made.rows)])
        return images, made.captions, [pairs.names[row] for row in made.rows]
