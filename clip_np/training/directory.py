"""Where does a run keep its files, so that none of them is lost?

All of them are in one directory:

    checkpoint.npz             from which the run goes on
    checkpoint.previous.npz    the one before, in case the last one is damaged
    best.npz                   the weights with the highest recall in validation
    metrics.jsonl              what happened
    bad_samples.txt            what could not be used of the data
    run.json                   options, versions, data and figures
    report.html                all of it on a page
    loss.png, ...              pictures
    earlier.1/, earlier.2/     earlier runs that were started in the same directory, and
                               copies of this one before its options were changed
    run.lock                   who writes here, while somebody does

A new checkpoint is written under another name first. When it is complete, the last one
becomes the one before, and the new one takes its place. So at any instant a whole
checkpoint is there.

The first checkpoint of a new run also moves the files of an earlier run aside, into a
folder of their own. Until then nothing of them is touched: a run that fails before its
first step leaves all as it was. The folder is a run directory like any other, so that
the earlier run can go on from there.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from warnings import warn

from clip_np.files import File, FileError, exclusive, make_folder, remove_stale
from clip_np.training.bad_samples import BAD_SAMPLES
from clip_np.training.description import DESCRIPTION
from clip_np.training.log import METRICS
from clip_np.training.saved import saved_training
from clip_np.training.watch import TrainingWarning
from clip_np.weights import BEST, CHECKPOINT, PREVIOUS, Checkpoint, read_checkpoint

COMING = "checkpoint.new.npz"  # until it is complete
LOCK = "run.lock"
EARLIER = "earlier"
REPORT = "report.html"
PICTURES = ("loss.png", "similarity.png", "captions.png", "attention.png")

RUN_FILES = (*PICTURES, REPORT, DESCRIPTION, BEST, METRICS, BAD_SAMPLES, PREVIOUS, CHECKPOINT)
"""What is moved aside. The checkpoint is last: with it, the rest is complete."""


def read_run(path: File, activation: str | None = None) -> Checkpoint:
    """The checkpoint of a run directory, or a checkpoint file, ready to be used.

    activation replaces the one that the checkpoint names.
    If the last checkpoint of a directory is damaged or missing, the one before is read,
    and a TrainingWarning names both. FileError if what it says of its training cannot
    be; otherwise as `read_checkpoint`.
    """
    return _read_last_or_previous(Path(path), activation)[0]


def _read_last_or_previous(path: Path, activation: str | None = None) -> tuple[Checkpoint, Path]:
    """A checkpoint, and the file that it was read from."""
    last = path / CHECKPOINT if path.is_dir() else path
    previous = path / PREVIOUS
    try:
        return _read(last, activation), last
    except (FileError, FileNotFoundError) as error:
        if not path.is_dir() or not previous.is_file():
            raise
        try:
            checkpoint = _read(previous, activation)
        except FileError:
            raise error from None
        warn(
            f"{error}. The checkpoint before it is taken instead: {previous}",
            TrainingWarning,
            stacklevel=3,
        )
        return checkpoint, previous


def _read(path: Path, activation: str | None) -> Checkpoint:
    checkpoint = read_checkpoint(path, activation)
    saved_training(checkpoint, path)
    return checkpoint


class RunDirectory:
    """The directory `path` and the files of one run in it.

    is_begun says whether the files in it are those of this run. A new run has none
    before its first checkpoint.
    """

    def __init__(self, path: File) -> None:
        self.path = Path(path)
        self.is_begun = False
        self.last_step: int | None = None  # of the last checkpoint
        self._is_locked = False
        self._last_is_sound = True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block, no other run can start here. LockedError if one is here.

        The directory is made if it is missing, and removed if it is then left empty.
        Blocks may be nested.
        """
        if self._is_locked:
            yield
            return
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        make_folder(self.path)
        try:
            with exclusive(self.path / LOCK, f"the run directory {self.path}"):
                self._is_locked = True
                for name in (COMING, BEST, METRICS, DESCRIPTION):
                    # Whoever writes these holds the lock. What is there, a kill left.
                    remove_stale(self.path / name, age=0.0)
                yield
        finally:
            self._is_locked = False
            with contextlib.suppress(OSError):  # it is not empty: there is a run in it
                for folder in made:
                    folder.rmdir()

    def read(self) -> Checkpoint:
        """The checkpoint to go on from: see `read_run`."""
        checkpoint, path = _read_last_or_previous(self.path)
        self._last_is_sound = path.name == CHECKPOINT
        return checkpoint

    def best_step(self) -> int | None:
        """The step of the state in best.npz; None if no such file can be read."""
        try:
            return saved_training(read_checkpoint(self.path / BEST), self.path / BEST).step
        except (FileError, FileNotFoundError):
            return None

    def write_checkpoint(self, write: Callable[[Path], None], step: int) -> Path | None:
        """Let `write` write the next checkpoint to a path.

        Returns the folder to which an earlier run was moved, if there was one. If
        `write` fails, all is as it was.
        """
        coming, last = self.path / COMING, self.path / CHECKPOINT
        write(coming)
        folder = None
        if not self.is_begun:
            folder = self._move_earlier_run()
        elif self._last_is_sound and last.exists():
            _keep_as(self.path / PREVIOUS, last)
        os.replace(coming, last)
        self.is_begun = True
        self._last_is_sound = True
        self.last_step = step
        return folder

    def keep_copy(self) -> Path:
        """Copy the run as it is into the first free numbered folder, and return that.

        The copy is a run directory, from which the run can go on another way.
        """
        folder = self._new_folder()
        for file in self._files():
            shutil.copy2(file, folder / file.name)
        return folder

    def _move_earlier_run(self) -> Path | None:
        """Move what is left of an earlier run into the first free numbered folder."""
        files = self._files()
        if not files:
            return None
        folder = self._new_folder()
        for file in files:
            os.replace(file, folder / file.name)
        return folder

    def _files(self) -> list[Path]:
        """The files of a run that are here."""
        return [self.path / name for name in RUN_FILES if os.path.lexists(self.path / name)]

    def _new_folder(self) -> Path:
        """Make the first free numbered folder."""
        number = 1
        while os.path.lexists(folder := self.path / f"{EARLIER}.{number}"):
            number += 1
        folder.mkdir()
        return folder


def _keep_as(kept: Path, file: Path) -> None:
    """Make `kept` a second name of `file`, or rename it where files have one name."""
    name = kept.with_name(f".{kept.name}.link")
    try:
        name.unlink(missing_ok=True)  # of a run that was killed right here
        os.link(file, name)
    except OSError:
        os.replace(file, kept)
    else:
        os.replace(name, kept)
        name.unlink(missing_ok=True)  # it stays if both were names of one file already
