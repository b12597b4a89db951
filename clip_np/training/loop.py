"""Chapter 28: how does a model come to know something?

Take a batch, take a step, repeat. Everything around these two lines serves one of three ends:

- to learn well: the learning rate rises while the optimizer's averages warm up and falls along
  a cosine, so that the last steps settle;
- to see what happens: a progress bar, and in metrics.jsonl the loss, also on held-out pairs;
- to lose nothing: a checkpoint every minute, at the end, and when Ctrl-C asks to stop, and
  another of the weights with the lowest validation loss. A batch is a function of the seed and
  the step alone, so a resumed run takes the same steps as one that was never stopped, to the
  last bit.

Under a time limit the number of steps is not known beforehand; the schedule then follows the
share of time that has passed.
"""

import contextlib
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clip_np.data import BatchLoader, load_images
from clip_np.encoders import PRESETS
from clip_np.evaluation import embed_images, embed_texts, retrieval_metrics
from clip_np.files import replace_file
from clip_np.losses import contrastive_loss
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer
from clip_np.training.step import training_step
from clip_np.training.tasks import Task
from clip_np.training.watch import Watch, warn_of_truncation
from clip_np.weights import BEST, CHECKPOINT, Checkpoint, save_checkpoint
from minigrad import tensor
from minigrad.backend import array_module, move
from minigrad.optim import AdamW, warmup_cosine
from minigrad.threads import available_cores

METRICS = "metrics.jsonl"
SAVE_SECONDS = 60.0
POSITIVE = ("steps", "seconds", "batch_size", "learning_rate", "workers", "shards", "log_every")
# Presets that are trained in a way of their own, whatever the data.
RECIPES: dict[str, dict[str, Any]] = {
    "tutorial": {"steps": 5000, "seconds": None, "batch_size": 32, "learning_rate": 1e-4}
    | {"weight_decay": 0.1, "warmup": 0.1, "final_ratio": 0.0}
}


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is as it was."""


def option(default: Any, value: str, meaning: str) -> Any:
    """A field of TrainingOptions that is an option of the command line too (see clip_np/cli.py)."""
    return dataclasses.field(default=default, metadata={"value": value, "meaning": meaning})


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. steps or seconds, or the first to be reached of both, ends the run."""

    preset: str = option("tiny", "NAME", "size of the model: " + ", ".join(PRESETS))
    steps: int | None = option(1200, "N", "steps to take (shapes 1200, preset tutorial 5000)")
    seconds: float | None = option(None, "S", "time limit (for other data than shapes 240)")
    batch_size: int = option(128, "N", "pairs in a step")
    learning_rate: float = option(2e-3, "X", "highest learning rate")
    final_ratio: float = 0.02  # the share of it that the last step has
    warmup: float = option(100, "X", "steps of rising rate, below 1 their share; at most a tenth")
    weight_decay: float = option(0.1, "X", "AdamW's weight decay (0.1)")
    max_norm: float = 1.0
    vocab_size: int = option(4000, "N", "most tokens to learn (4000)")
    shift: int = option(0, "PIXELS", "move training images by up to this")
    zoom: float = option(0.0, "X", "stretch training images by up to exp(X), each way")
    tag_probability: float = 0.0  # of further words in a training caption
    seed: int = option(0, "N", "for all random numbers; same seed, same run (0)")
    backend: str = option("numpy", "NAME", "numpy (the default), or cupy or cupy:1 for a GPU")
    workers: int | None = option(None, "N", "threads (default: the cores, or one beside a GPU)")
    shards: int = option(1, "N", "cut each batch into N pieces: less memory (1)")
    log_every: int = 10
    validate_every: int = 100

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is none of {', '.join(PRESETS)}")
        if self.steps is None and self.seconds is None:
            raise ValueError("training needs an end: steps, seconds or both")
        for name, value in vars(self).items():
            positive = name in (*POSITIVE, "validate_every")
            if isinstance(value, int | float) and not (value > 0 if positive else value >= 0):
                wanted = "be positive" if positive else "not be negative"
                raise ValueError(f"{name} must {wanted}, got {value}")  # NaN is neither

    @classmethod
    def of(cls, settings: Mapping[str, Any], **given: Any) -> "TrainingOptions":
        """The `settings` of a task, then those of a given preset, then what else is given; one of
        steps and seconds replaces both."""
        recipe = RECIPES.get(given.get("preset", ""), {})
        ends = {"steps": None, "seconds": None} if given.keys() & {"steps", "seconds"} else {}
        return cls(**{**settings, **recipe, **ends, **given})


def train_tokenizer(task: Task, vocab_size: int, context_limit: int) -> Tokenizer:
    """A tokenizer for the training captions; it fits the longest, and some words more where
    the data has extra words to add, up to `context_limit` tokens."""
    captions, tags = list(task.train.captions), list(task.train.tags or [])
    plain = Tokenizer.train(captions + tags, vocab_size)
    lengths = plain.lengths(captions)
    context_length = min(int(lengths.max()) + (8 if tags else 0), context_limit)
    warn_of_truncation(lengths, context_length)
    return Tokenizer(plain.merges, context_length=context_length)


class Trainer:
    """A model, its optimizer and its data, with a directory that receives what they become."""

    def __init__(
        self, task: Task, options: TrainingOptions, directory: Path, found: Checkpoint | None = None
    ) -> None:
        """`found`: the checkpoint of a run to go on with."""
        cores = available_cores() if options.backend == "numpy" else 1
        self.task, self.directory = task, directory
        self.options = dataclasses.replace(options, workers=options.workers or cores)
        if found is None:
            preset = PRESETS[options.preset]
            self.tokenizer = train_tokenizer(task, options.vocab_size, preset.text.context_length)
            rng = np.random.default_rng(options.seed)
            self.model = CLIP(preset.for_tokenizer(self.tokenizer), rng)
        else:
            self.tokenizer, self.model = found.tokenizer, found.model
        self.model.to(options.backend)
        rates = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        self.optimizer = AdamW(self.model.parameters(), betas=(0.9, 0.98), eps=1e-6, **rates)
        self.step, self.elapsed, self.interrupted = 0, 0.0, False
        if found is not None:
            self.optimizer.load_state_dict(found.optimizer_state)
            self.step, self.elapsed = found.training["step"], found.training["elapsed"]
        how = options.batch_size, options.seed, options.shift, options.zoom, options.tag_probability
        size, skip_bad = self.model.config.vision.image_size, task.source.get("skip_bad", False)
        self.loader = BatchLoader(task.train, size, *how, skip_bad)

    def learning_rate(self) -> float:
        """The learning rate of the coming step."""
        options = self.options
        total = options.steps or 1000  # of a run that a clock ends, at its start
        if options.seconds is not None and self.elapsed > 0:
            by_clock = round(self.step * options.seconds / self.elapsed)
            total = min(options.steps or by_clock, by_clock)
        total = max(total, self.step + 1)
        share = options.warmup if options.warmup >= 1 else round(options.warmup * total)
        warmup, base = max(1, min(share, total // 10)), options.learning_rate
        return warmup_cosine(self.step, total, warmup, base, base * options.final_ratio)

    def finished(self) -> bool:
        """Whether the steps or the seconds are used up."""
        steps, seconds = self.options.steps or math.inf, self.options.seconds or math.inf
        return self.step >= steps or self.elapsed >= seconds

    def run(self) -> dict[str, float]:
        """Train until the end, or until Ctrl-C. Returns train_seconds and steps."""
        self.directory.mkdir(parents=True, exist_ok=True)
        validation, watch = self._validation_set(), Watch(self.loader.batch_size)
        best, options = self._drop_later_metrics(), self.options
        saved = logged = time.perf_counter()
        started, logged_step = logged - self.elapsed, self.step
        how = {name: getattr(options, name) for name in ("shards", "workers", "max_norm")}
        batches = self.loader.batches(self.step, options.steps or 1 << 62)
        total, unit = options.steps or math.ceil(options.seconds), "step" if options.steps else "s"
        bar = tqdm(total=total, initial=self._progress(), unit=unit)
        with bar, _stop_on_ctrl_c() as stop, contextlib.closing(batches):
            while not self.finished() and not stop.is_set():
                batch = next(batches)
                rate = self.optimizer.lr = self.learning_rate()
                tokens = self.tokenizer(batch.captions, truncate=True)
                inputs = self.model, self.optimizer, batch.images, tokens
                result = training_step(*inputs, **how)
                self.step += 1
                now = time.perf_counter()
                self.elapsed = now - started
                if self.step % options.log_every == 0 or self.finished():
                    pace = (self.step - logged_step) * self.loader.batch_size / (now - logged)
                    record = self._record(result, rate, pace)
                    watch.look(record, self.loader.wait_seconds)
                    due = self.step % options.validate_every == 0 or self.finished()
                    if due and validation is not None:
                        record |= self._validate(*validation)
                        if record["validation_loss"] < best:
                            best = record["validation_loss"]
                            self.save(BEST)
                    self._log(record, bar)
                    logged, logged_step = time.perf_counter(), self.step
                if time.perf_counter() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.perf_counter()
            self.interrupted = stop.is_set()
        self.save()
        return {"train_seconds": round(self.elapsed, 2), "steps": self.step}

    def save(self, name: str = CHECKPOINT) -> None:
        """Write the checkpoint, with what a resumed run needs; the best one is not resumed."""
        training = {"step": self.step, "elapsed": self.elapsed, "source": self.task.source}
        training["options"] = dataclasses.asdict(self.options)
        optimizer = self.optimizer if name == CHECKPOINT else None
        save_checkpoint(self.directory / name, self.model, self.tokenizer, optimizer, training)

    def _validation_set(self) -> tuple[np.ndarray, list[str]] | None:
        if self.task.validation is None:
            return None
        some = self.task.validation.select(range(min(len(self.task.validation), 512)))
        images, pairs = load_images(some, self.loader.size, self.loader.skip_bad)
        return images, pairs.captions

    def _validate(self, images: np.ndarray, captions: list[str]) -> dict[str, float]:
        """Loss (mean over batches of the training batch's size) and recall on held-out pairs."""
        model, size = self.model, min(self.loader.batch_size, len(images))
        features = embed_images(model, images), embed_texts(model, self.tokenizer, captions)
        scale = tensor(model.logit_scale.item())
        losses = [
            contrastive_loss(*(tensor(each[low : low + size]) for each in features), scale).item()
            for low in range(0, len(images) - size + 1, size)
        ]
        recall = retrieval_metrics(*features, captions)["recall_at_1"]
        return {"validation_loss": float(np.mean(losses)), "validation_recall_at_1": recall}

    def _record(self, result: dict[str, Any], rate: float, pace: float) -> dict[str, float]:
        """One line of metrics; TrainingError where the loss is no number any more."""
        values = [result[key] for key in ("loss", "logit_scale", "grad_norm")]
        # A GPU has to be waited for when numbers are read: once, not three times.
        loss, log_scale, norm = move(array_module(values[0]).stack(values), "numpy").tolist()
        if not math.isfinite(loss):
            found = f"the loss is {loss} at step {self.step}; the last checkpoint is kept"
            raise TrainingError(f"{found}. Usual cause: a learning rate that is too high")
        record = {"step": self.step, "seconds": round(self.elapsed, 3), "loss": loss}
        record |= {"temperature": math.exp(log_scale), "grad_norm": norm, "learning_rate": rate}
        return record | {"samples_per_second": round(pace, 1)}

    def _log(self, record: dict[str, float], bar: tqdm) -> None:
        with open(self.directory / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        bar.n = self._progress()
        shown = "loss={loss:.3f}, temperature={temperature:.1f}, {samples_per_second:.0f} samples/s"
        bar.set_postfix_str(f"step {self.step}, " * (bar.unit == "s") + shown.format(**record))

    def _progress(self) -> int:
        return self.step if self.options.steps else round(self.elapsed)

    def _drop_later_metrics(self) -> float:
        """Keep the lines up to the step that a resumed run starts from, none for a new run; returns
        the lowest validation loss in them."""
        path = self.directory / METRICS
        kept = [r for r in read_metrics(path) if r["step"] <= self.step] if path.exists() else []
        with replace_file(path) as file:
            file.writelines((json.dumps(record) + "\n").encode("utf-8") for record in kept)
        return min((record.get("validation_loss", math.inf) for record in kept), default=math.inf)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The records of a metrics.jsonl; a last line that was cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


@contextlib.contextmanager
def _stop_on_ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step is never torn apart; a second one interrupts.
    Signals reach the main thread only; elsewhere Ctrl-C is the caller's business."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
