"""How does the next batch reach the GPU while it computes?

Work for a GPU waits in a queue, a *stream*. The program puts steps into it and goes on;
the GPU takes one after the other. A copy in the same stream would wait for all steps
before it, and the next step for the copy. So copies have a stream of their own:

    program      step 1, copy 2, step 2, copy 3, ...     puts all this into the queues
    computing    [ step 1 ][ step 2 ][ step 3 ]
    copying        [copy 2]  [copy 3]

Two *events*, marks in a stream that another stream can wait for, keep the order right.
The program waits for neither of them.

- The steps after a copy wait until it is done.
- A copy waits for the steps that were in the queue before the last one. Its memory may
  be that of an older batch, which these steps still have to read. (CuPy hands freed
  memory out again to the stream that it was made in, without asking whether the GPU is
  done with it.)

The numbers go through *pinned* memory of the host, which the system never moves, so
that the GPU can fetch them by itself. CuPy keeps some for this purpose: `cupy.asarray`
copies an array there and starts the transfer.

NVIDIA, "CUDA C++ Programming Guide", on streams; CuPy's:
https://docs.cupy.dev/en/stable/user_guide/basic.html#current-stream
"""

import importlib

import numpy as np

from minigrad.backend import Array, device_of_backend


class Uploads:
    """Copies arrays of the host to one GPU, one for each step of the computation.

    Call it in the thread that computes. It returns at once, with an array that the
    thread can use like any other. BackendError if there is no such GPU.
    """

    def __init__(self, backend: str) -> None:
        self.device = device_of_backend(backend)
        cuda = importlib.import_module("cupy").cuda
        with self.device:
            self.stream = cuda.Stream(non_blocking=True)
            self.free = cuda.get_current_stream().record()  # what a copy waits for
        self.last: Array | None = None  # alive until the copy after it has its memory

    def __call__(self, array: np.ndarray) -> Array:
        """A copy of the array on the GPU."""
        cupy = importlib.import_module("cupy")
        with self.device:
            computing = cupy.cuda.get_current_stream()
            self.stream.wait_event(self.free)
            with self.stream:
                copy = cupy.asarray(array)
            computing.wait_event(self.stream.record())
            self.free = computing.record()
        self.last = copy
        return copy
