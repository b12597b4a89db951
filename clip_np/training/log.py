"""How can one see what a training run does?

A run keeps a file, metrics.jsonl. Each line is an *entry*, one JSON object:

    {"step": 10, "seconds": 1.3, "loss": 5.0, "temperature": 14.2, "learning_rate": ...}

Lines are only ever added, so a program may read the file while the run goes on. The
last line may be cut short if the power goes. Other lines that are no entries are left
out too, with a warning: the checkpoint is what a run goes on from, and no line of its
diary stops it. For people there is a progress bar too.

The same file tells a resumed run what happened before: entries later than its
checkpoint are dropped, and the others say how good the best state so far was.
"""

import json
import math
import sys
import time
from pathlib import Path
from warnings import warn

from clip_np.files import replace_file
from clip_np.training.checks import LARGEST_NUMBER
from clip_np.training.options import TrainingOptions
from clip_np.training.watch import TrainingWarning

METRICS = "metrics.jsonl"
SHOWN_WAIT = 0.05  # the share of the time from which waiting is shown in the bar

Entry = dict[str, float]


def read_metrics(path: Path) -> list[Entry]:
    """The entries of a metrics.jsonl. A last line that was cut short is left out.

    So are lines that hold no entry, and a TrainingWarning counts them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "metrics.jsonl")
    ...     size = path.write_text('{"step": 10}\\n{"step": 20}\\n{"ste')
    ...     read_metrics(path)
    [{'step': 10}, {'step': 20}]
    """
    entries: list[Entry] = []
    odd: list[int] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            entry = _parse_entry(line)
            if entry is not None:
                entries.append(entry)
            elif line.endswith(b"\n"):
                odd.append(number)
    if odd:
        warn(
            f"{path}: {len(odd)} lines are no entries and are left out, the first is line {odd[0]}",
            TrainingWarning,
            stacklevel=2,
        )
    return entries


def _parse_entry(line: bytes) -> Entry | None:
    """The entry in a line: an object of finite numbers with a step. Otherwise None."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # a line of 100,000 brackets nests too deep
        return None
    is_entry = isinstance(entry, dict) and "step" in entry and all(map(_is_number, entry.values()))
    return entry if is_entry and entry["step"] >= 0 else None


def _is_number(value: object) -> bool:
    """Whether a value is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST_NUMBER  # false for NaN


class Stopwatch:
    """Seconds since it was started, and the seconds that were on it at the start.

    >>> stopwatch = Stopwatch(seconds=60.0)
    >>> 60.0 <= stopwatch.seconds() < 70.0
    True
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.started = time.perf_counter() - seconds

    def seconds(self) -> float:
        """What it shows."""
        return time.perf_counter() - self.started

    def restart(self) -> None:
        """Back to zero."""
        self.started = time.perf_counter()


class MetricsFile:
    """The metrics of one run in its directory.

    A run that starts at `step` keeps the entries up to this step. A new run, which
    starts at step 0, keeps none. The file is not touched before the first entry is
    added.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        entries = read_metrics(path) if step > 0 and path.exists() else []
        self.kept = [entry for entry in entries if entry["step"] <= step]
        self.is_begun = False

    def append(self, entry: Entry) -> None:
        """Add a line."""
        if not self.is_begun:
            with replace_file(self.path) as kept:
                kept.writelines((json.dumps(entry) + "\n").encode("utf-8") for entry in self.kept)
            self.is_begun = True
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class ProgressBar:
    """The bar on stderr: steps, or seconds if only the clock ends the run."""

    def __init__(self, options: TrainingOptions, step: int, elapsed: float) -> None:
        from tqdm import tqdm  # here, since it takes 20 ms

        self.validation = ""
        self.counts_steps = options.steps is not None
        total = options.steps or math.ceil(options.seconds or 0)
        unit = "step" if self.counts_steps else "s"
        self.bar = tqdm(total=total, initial=self._position(step, elapsed), unit=unit)

    def say(self, text: str) -> None:
        """Print a line for people, above the bar."""
        self.bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        self.bar.close()

    def show(self, entry: Entry) -> None:
        """Move on to an entry of the metrics, and show it."""
        self.bar.n = self._position(int(entry["step"]), entry["seconds"])
        shown = (
            f"loss={entry['loss']:.3f}, temperature={entry['temperature']:.1f}, "
            f"{entry['samples_per_second']:.0f} samples/s"
        )
        if entry.get("waited", 0.0) >= SHOWN_WAIT:
            shown += f", waiting for images {entry['waited']:.0%}"
        if not self.counts_steps:
            shown = f"step {entry['step']}, {shown}"
        if "validation_recall_at_1" in entry:
            self.validation = f", validation recall {entry['validation_recall_at_1']:.3f}"
        shown += self.validation  # it stays until the next one
        self.bar.set_postfix_str(shown)

    def _position(self, step: int, elapsed: float) -> int:
        return step if self.counts_steps else round(elapsed)


def describe_validation(entry: Entry) -> str:
    """A validation in words: each figure beside that of a model that knows nothing.

    >>> entry = {"step": 100, "validation_recall_at_1": 0.12, "validation_loss": 2.5}
    >>> entry |= {"validation_chance": 0.002, "validation_guessing": 5.0752}
    >>> print(describe_validation(entry | {"validation_pairs": 500})[10:])
    validation recall at 1 0.120 (chance 0.002, 500 pairs), loss 2.500 (guessing 5.075)
    """
    pairs = count_of_pairs(entry["validation_pairs"])
    if entry["validation_chance"] >= 1:
        return f"step {entry['step']}: validation, {pairs} measured: says nothing"
    return (
        f"step {entry['step']}: validation recall at 1 {entry['validation_recall_at_1']:.3f} "
        f"(chance {entry['validation_chance']:.3g}, {pairs}), "
        f"loss {entry['validation_loss']:.3f} (guessing {entry['validation_guessing']:.3f})"
    )


def count_of_pairs(count: float) -> str:
    """A number of pairs in words.

    >>> count_of_pairs(1), count_of_pairs(1200)
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} pair" + ("" if count == 1 else "s")


class Log:
    """The metrics file and the bar of a run that starts at `step`."""

    def __init__(
        self, path: Path, options: TrainingOptions, step: int, elapsed: float, batch_size: int
    ) -> None:
        self.metrics = MetricsFile(path, step)
        self.bar = ProgressBar(options, step, elapsed)
        self.batch_size = batch_size
        self.last_step = step  # of the last entry
        self.since_last = Stopwatch()
        self.said: set[str] = set()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def samples_per_second(self, step: int) -> float:
        """The pace of the steps since the last entry."""
        return (step - self.last_step) * self.batch_size / self.since_last.seconds()

    def say(self, text: str) -> None:
        """Print a line for people, above the bar."""
        self.bar.say(text)

    def say_once(self, topic: str, text: str) -> None:
        """Say a line about a topic, unless one about it was said before."""
        if topic not in self.said:
            self.said.add(topic)
            self.say(text)

    def write(self, entry: Entry) -> None:
        """Add an entry to the file, and show it."""
        self.metrics.append(entry)
        self.bar.show(entry)
        if "validation_chance" in entry and not sys.stderr.isatty():
            self.say(describe_validation(entry))
        self.last_step = int(entry["step"])
        self.since_last.restart()
