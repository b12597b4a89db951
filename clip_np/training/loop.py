"""How does a model come to know something?

Take a batch, take a step, and again:

    for images, captions in batches:
        step(images, tokenizer(captions))

`Trainer.run` is this loop. Everything around it serves one of three ends, and has a
file of its own:

- to learn well: the learning rate rises and falls (schedule.py);
- to see what happens: metrics and a progress bar (log.py), the loss on pairs that are
  not trained on (validation.py), warnings (watch.py);
- to lose nothing: a checkpoint every minute, at the end, and on Ctrl-C (interrupts.py),
  and another one of the weights with the lowest validation loss.

**When does a resumed run take the same steps as one that was never stopped?** A batch
is a function of the seed and the step. A checkpoint holds the weights, the optimizer's
averages and the step, all of them exactly. So if `steps` alone ends the run, the
resumed run ends with the same weights to the last bit, given the same data, options
(`workers` and `shards` are among them), machine and libraries. If `seconds` is set,
with `steps` or without, the learning rate follows the clock, and no clock runs the same
way twice. Such a run goes on from the saved weights with the time that was left, but no
two such runs are equal, whether they were stopped or not. And a run that is resumed
with another number of steps, or another learning rate, is another run: its schedule is
a different one.
"""

import contextlib
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np

from clip_np.data import BatchLoader, Pairs
from clip_np.encoders import PRESETS
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer, TokenizerProtocol
from clip_np.training.interrupts import stop_on_ctrl_c
from clip_np.training.log import METRICS, Entry, Log, Stopwatch
from clip_np.training.options import TrainingOptions
from clip_np.training.schedule import is_finished, learning_rate
from clip_np.training.step import TrainingStep
from clip_np.training.tasks import Task
from clip_np.training.validation import Validation
from clip_np.training.vocabulary import train_tokenizer
from clip_np.training.watch import Watch
from clip_np.weights import BEST, CHECKPOINT, Checkpoint, save_checkpoint
from minigrad.backend import Array, array_module, move
from minigrad.optim import AdamW
from minigrad.threads import count_workers

SAVE_SECONDS = 60.0
"""Time between two checkpoints: the most that a crash can cost."""

ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6
"""As published for CLIP with a vision transformer: arXiv:2103.00020, table 18."""


class TrainingError(RuntimeError):
    """Training cannot go on. The last checkpoint is as it was."""


def new_model(pairs: Pairs, options: TrainingOptions) -> tuple[CLIP, Tokenizer]:
    """An untrained model of the preset, and the tokenizer that its captions need."""
    preset = PRESETS[options.preset]
    tokenizer = train_tokenizer(
        pairs=pairs, vocab_size=options.vocab_size, context_limit=preset.text.context_length
    )
    rng = np.random.default_rng(options.seed)
    return CLIP(preset.for_tokenizer(tokenizer), rng), tokenizer


class Trainer:
    """A model, its optimizer and its data, and a directory that receives the results.

    step and elapsed are the steps taken so far and the seconds that they took, over all
    runs in the directory. interrupted says whether Ctrl-C ended the last run.
    """

    def __init__(
        self,
        task: Task,
        options: TrainingOptions,
        directory: Path,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Make a new model, or go on with the model of `checkpoint`.

        Raises ValueError if the task has no training pairs, or if the checkpoint holds
        no training to go on with.
        """
        if task.train is None:
            raise ValueError("this task has nothing to train on: it was opened for measuring")
        self.task = task
        self.directory = directory
        self.step = 0
        self.elapsed = 0.0
        self.interrupted = False
        self.model: CLIP
        self.tokenizer: TokenizerProtocol
        if checkpoint is None:
            self.model, self.tokenizer = new_model(task.train, options)
        else:
            self.model, self.tokenizer = checkpoint.model, checkpoint.tokenizer
        self.model.to(options.backend)
        # Settled here and saved, so that a resumed run uses as many threads.
        workers = options.workers
        if workers is None:
            workers = count_workers(self.model.logit_scale.data, workers)
        self.options = dataclasses.replace(options, workers=workers)
        self.optimizer = AdamW(
            self.model.parameters(),
            lr=options.learning_rate,
            betas=ADAM_BETAS,
            eps=ADAM_EPS,
            weight_decay=options.weight_decay,
        )
        if checkpoint is not None:
            self._go_on_from(checkpoint)
        self.loader = self._make_loader(task.train)
        self.take_step = TrainingStep(
            model=self.model,
            optimizer=self.optimizer,
            shards=options.shards,
            workers=workers,
            max_norm=options.max_norm,
        )

    def _make_loader(self, pairs: Pairs) -> BatchLoader:
        """Batches of the training pairs, varied as the options say."""
        return BatchLoader(
            pairs=pairs,
            size=self.model.config.vision.image_size,
            batch_size=self.options.batch_size,
            seed=self.options.seed,
            shift=self.options.shift,
            zoom=self.options.zoom,
            tag_probability=self.options.tag_probability,
            skip_bad=self.task.skip_bad,
        )

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        if checkpoint.training is None:
            raise ValueError("this checkpoint holds no training to go on with")
        self.optimizer.load_state_dict(checkpoint.optimizer_state)
        self.step = checkpoint.training["step"]
        self.elapsed = checkpoint.training["elapsed"]

    def finished(self) -> bool:
        """Whether the steps or the seconds are used up."""
        return is_finished(self.options, self.step, self.elapsed)

    def run(self) -> dict[str, float]:
        """Train until the end, or until Ctrl-C. Returns train_seconds and steps.

        Raises TrainingError if the loss is not finite any more, and DataError for an
        image that cannot be read (see `FilesTask`).
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        validation = self._load_validation()
        watch = Watch(self.loader.batch_size)
        log = Log(
            path=self.directory / METRICS,
            options=self.options,
            step=self.step,
            elapsed=self.elapsed,
            batch_size=self.loader.batch_size,
        )
        last_step = self.options.steps or sys.maxsize  # without a number, the clock ends the run
        batches = self.loader.batches(start_step=self.step, stop_step=last_step)
        clock = Stopwatch(self.elapsed)
        since_save = Stopwatch()
        with log, stop_on_ctrl_c() as stop, contextlib.closing(batches):
            while not self.finished() and not stop.is_set():
                batch = next(batches)
                result = self._train_on(batch.images, batch.captions)
                self.step += 1
                self.elapsed = clock.seconds()
                if self._is_due(self.options.log_every):
                    self._report(result, log, watch, validation)
                if since_save.seconds() > SAVE_SECONDS:
                    self.save()
                    since_save.restart()
            self.interrupted = stop.is_set()
        self.save()
        return {"train_seconds": round(self.elapsed, 2), "steps": self.step}

    def _train_on(self, images: np.ndarray, captions: list[str]) -> dict[str, Array]:
        """One step, at the learning rate of the schedule."""
        self.optimizer.lr = learning_rate(self.options, self.step, self.elapsed)
        tokens = self.tokenizer(captions, truncate=True)
        return self.take_step(images, tokens)

    def _is_due(self, every: int) -> bool:
        """Whether it is time for what happens once in `every` steps and at the end."""
        return self.step % every == 0 or self.finished()

    def _report(
        self, result: dict[str, Array], log: Log, watch: Watch, validation: Validation | None
    ) -> None:
        """Write an entry of the metrics, with the validation if it is due."""
        entry = self._entry(result, pace=log.samples_per_second(self.step))
        watch.look(entry, waited=self.loader.wait_seconds)
        if validation is not None and self._is_due(self.options.validate_every):
            entry |= validation.measure(self.model, self.tokenizer)
            if entry["validation_loss"] < log.lowest_validation_loss:
                self.save(BEST)
        log.write(entry)

    def _entry(self, result: dict[str, Array], pace: float) -> Entry:
        """The numbers of a step for the metrics. TrainingError for a loss like NaN."""
        values = [result["loss"], result["logit_scale"], result["grad_norm"]]
        # A GPU has to be waited for when numbers are read: once here, not three times.
        numbers = array_module(values[0]).stack(values)  # (3,)
        loss, logit_scale, norm = move(numbers, "numpy").tolist()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.step}; the last checkpoint is kept. "
                "Usual cause: a `learning_rate` that is too high"
            )
        return {
            "step": self.step,
            "seconds": round(self.elapsed, 3),
            "loss": loss,
            "temperature": math.exp(logit_scale),
            "grad_norm": norm,
            "learning_rate": self.optimizer.lr,
            "samples_per_second": round(pace, 1),
        }

    def _load_validation(self) -> Validation | None:
        if self.task.validation is None:
            return None
        return Validation(
            pairs=self.task.validation,
            image_size=self.loader.size,
            batch_size=self.loader.batch_size,
            skip_bad=self.task.skip_bad,
        )

    def save(self, name: str = CHECKPOINT) -> None:
        """Write CHECKPOINT, from which a run goes on, or BEST, which is for use only.

        Raises ValueError, and leaves the file as it was, if a weight is NaN or
        infinite.
        """
        save_checkpoint(
            path=self.directory / name,
            model=self.model,
            tokenizer=self.tokenizer,
            optimizer=self.optimizer if name == CHECKPOINT else None,
            training={
                "step": self.step,
                "elapsed": self.elapsed,
                "source": self.task.source,
                "options": dataclasses.asdict(self.options),
            },
        )
