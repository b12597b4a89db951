"""What does a reader learn when a file is bad?

Files come from strangers, are cut off by full disks, or are simply not what their name
promises. Whatever is wrong with the contents of a file ends as one kind of exception,
`FileError`. Its message starts with the path and says why. A file that is missing or
that the system does not let us open is not damaged: such an `OSError` passes through
unchanged.
"""

import contextlib
import os
from collections.abc import Iterator

File = str | os.PathLike
MESSAGE_LIMIT = 500  # characters that are quoted from another library's message


class FileError(ValueError):
    """The contents of a file are damaged, foreign or dangerous.

    `filename` is the path, as in an OSError. It is None until the message names the
    file. Halves of characters, which no terminal can show, are written as "\\ud800".
    """

    def __init__(self, message: str, filename: File | None = None) -> None:
        super().__init__(message.encode("utf-8", "backslashreplace").decode("utf-8"))
        self.filename = filename


@contextlib.contextmanager
def file_errors(path: File, problem: str) -> Iterator[None]:
    """Turn what a file's contents raise inside the block into a FileError.

    A FileError that names no file yet gets the path in front. For any other exception
    the message is `problem`, followed by the exception. (Damage makes the libraries
    raise BadZipFile, EOFError, TokenError, RecursionError and more, so all kinds are
    caught.) An error that names a file already passes through, and so does the OSError
    of a missing file.

    >>> with file_errors("a.json", "no configuration"):
    ...     {}["width"]
    Traceback (most recent call last):
    clip_np.files.errors.FileError: a.json: no configuration (KeyError: 'width')
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FileError | OSError) and error.filename:
            raise
        if isinstance(error, FileError):
            raise FileError(f"{path}: {error}", path) from error
        raise FileError(
            f"{path}: {problem} ({type(error).__name__}: {error!s:.{MESSAGE_LIMIT}})", path
        ) from error
