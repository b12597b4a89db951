"""Which samples of the data could not be used, and why?

A large data set has some images that cannot be read, and rows without a caption. A run
that leaves them out (`skip_bad`) lists them in bad_samples.txt of its directory, one on
a line: the name, a colon, the cause. With the list somebody can mend the data, or check
that nothing else is missing.

The loop alone writes it, once in `log_every` steps. A run that is resumed meets some of
the samples again; they are not listed twice.
"""

from collections.abc import Sequence
from pathlib import Path

from clip_np.files import shown

BAD_SAMPLES = "bad_samples.txt"


class BadSamples:
    """The list at `path`, which is not made before there is something to list.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "bad_samples.txt")
    ...     BadSamples(path).write(["a.png: empty"])
    ...     BadSamples(path).write(["a.png: empty", "b.png: empty"])  # a resumed run
    ...     path.read_text().splitlines()
    ['a.png: empty', 'b.png: empty']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listed: set[str] | None = None  # lines of the file; None: not read yet
        self._seen = 0  # problems of the last call

    def write(self, problems: Sequence[str]) -> None:
        """Add those of the run's problems that are not listed yet."""
        if len(problems) == self._seen:  # nothing has come since the last time
            return
        self._seen = len(problems)
        if self._listed is None:
            self._listed = self._read()
        lines = dict.fromkeys(map(_line, problems))  # without those that are equal
        new = [line for line in lines if line not in self._listed]
        self._listed.update(new)
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.writelines(line + "\n" for line in new)

    def _read(self) -> set[str]:
        """The lines of the file. A last one that was cut short is removed from it."""
        if not self.path.exists():
            return set()
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            self.path.write_bytes(whole)
        return set(whole.decode("utf-8", errors="replace").splitlines())


def _line(problem: str) -> str:
    """A problem on one line. File names may hold bytes that are no letters."""
    return shown(problem).encode("utf-8", "backslashreplace").decode("utf-8")
