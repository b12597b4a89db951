"""How does a model come to know something?

Take a batch, take a step, and again:

    for images, captions in batches:
        step(images, tokenizer(captions))

`Trainer.run` is this loop. Everything around it serves one of three ends, and has a
file of its own:

- to learn well: the learning rate rises and falls (schedule.py);
- to see what happens: metrics and a progress bar (log.py), the loss on pairs that are
  not trained on (validation.py), warnings (watch.py), and an end if the numbers of the
  model are spoiled (health.py);
- to lose nothing: a checkpoint after the first step, then at least every minute, at the
  end, on Ctrl-C and SIGTERM (interrupts.py), and when an error ends the run. Another
  one holds the weights with the highest recall in validation (best.py). Earlier runs
  and other programs in the same directory are respected (directory.py).

**When does a resumed run take the same steps as one that was never stopped?** A batch
is a function of the seed and the step. A checkpoint holds the weights, the running
statistics of batch norms, the optimizer's averages and the step, all of them exactly.
So if `steps` alone ends the run, the resumed run ends with the same weights to the last
bit, given the same data, options (`workers` and `shards` are among them), machine and
libraries. If `seconds` is set,
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
from collections.abc import Iterator
from pathlib import Path

from clip_np.data import Batch, BatchLoader, Pairs
from clip_np.losses import equal_captions, loss_for
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.best import Best
from clip_np.training.description import describe_run, write_description
from clip_np.training.directory import RunDirectory
from clip_np.training.health import fault_in, fault_of, largest_values
from clip_np.training.interrupts import Stop, stop_on_signals
from clip_np.training.log import METRICS, Entry, Log, Stopwatch
from clip_np.training.options import TrainingOptions
from clip_np.training.saved import SavedTraining
from clip_np.training.schedule import is_finished, learning_rate
from clip_np.training.starting import new_model
from clip_np.training.step import TrainingStep
from clip_np.training.tasks import Task
from clip_np.training.validation import Validation
from clip_np.training.watch import Watch, warn_of_small_data
from clip_np.weights import BEST, CHECKPOINT, Checkpoint, save_checkpoint
from minigrad.backend import Array, array_module, move
from minigrad.nn import count_parameters
from minigrad.optim import AdamW
from minigrad.threads import count_workers

SAVE_SECONDS = 60.0
"""Time between two checkpoints: the most that a crash can cost."""

FIRST_SAVE_SECONDS = 4.0
"""Time between the first checkpoint, after the first step, and the second one.

Each time is twice the one before, up to SAVE_SECONDS. So an early crash costs no more
than about half of what was done.
"""

ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6
"""As published for CLIP with a vision transformer: arXiv:2103.00020, table 18."""


class TrainingError(RuntimeError):
    """Training cannot go on: its numbers are spoiled. They are not saved."""


class Trainer:
    """A model, its optimizer and its data, and a directory that receives the results.

    step and elapsed are the steps taken so far and the seconds that they took, over all
    runs in the directory. interrupted says whether Ctrl-C or another signal ended the
    last run; its number is stopped_by. files is the directory: see `RunDirectory`.
    """

    def __init__(
        self,
        task: Task,
        options: TrainingOptions,
        directory: Path | RunDirectory,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Make a new model, or go on with the model of `checkpoint`.

        Raises ValueError if the task has no training pairs, or if the checkpoint holds
        no training to go on with.
        """
        if task.train is None:
            raise ValueError("this task has nothing to train on: it was opened for measuring")
        if options.patience is not None and task.validation is None:
            raise ValueError("`patience` counts validations, and no pairs are held out for them")
        self.task = task
        self.files = directory if isinstance(directory, RunDirectory) else RunDirectory(directory)
        self.directory = self.files.path
        self.step = 0
        self.elapsed = 0.0
        self.interrupted = False
        self.stopped_by: int | None = None
        self.guessing = math.nan  # the loss of guessing in the last batch
        self.best = Best(entries=(), kept_step=None)
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
        self.description = describe_run(self.options, task, count_parameters(self.model))
        self.is_described = False
        self.loader = self._make_loader(task.train)
        self.loss = loss_for(self.model, options.loss)
        self.take_step = TrainingStep(
            model=self.model,
            optimizer=self.optimizer,
            loss=self.loss,
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
            augmentation=self.options.augmentation,
            tag_probability=self.options.tag_probability,
            skip_bad=self.task.skip_bad,
        )

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        saved = SavedTraining.of(checkpoint.training)
        saved.require_all()
        self.optimizer.load_state_dict(checkpoint.optimizer_state)
        self.step = saved.step or 0
        self.elapsed = saved.elapsed or 0.0
        self.files.is_begun = True
        self.files.last_step = self.step

    def finished(self) -> bool:
        """Whether the steps, the seconds or the patience are used up."""
        return self.is_patience_over() or is_finished(self.options, self.step, self.elapsed)

    def is_patience_over(self) -> bool:
        """Whether the last `patience` validations had no better recall."""
        return self.options.patience is not None and self.best.stale >= self.options.patience

    def run(self) -> dict[str, float]:
        """Train until the end, or until Ctrl-C. Returns train_seconds and steps.

        The model is in `train` mode meanwhile, and in `eval` mode afterwards.

        Raises TrainingError if the loss, the gradients or the weights are not finite
        any more, DataError for an image that cannot be read (see `FilesTask`), and
        LockedError if another run is in the directory. After an error the run can go on
        from the step before it.
        """
        with self.files.locked():
            return self._run()

    def _run(self) -> dict[str, float]:
        self.model.train()
        if self.loader.pairs.repeats:  # a stream brings more than it starts with
            warn_of_small_data(self.loader.pairs.captions, self.options.batch_size)
        validation = self._load_validation()
        watch = Watch(self.loss.guessing_formula)
        log = Log(
            path=self.directory / METRICS,
            options=self.options,
            step=self.step,
            elapsed=self.elapsed,
            batch_size=self.loader.batch_size,
        )
        self.best = Best(log.metrics.kept, self.files.best_step() if self.step else None)
        for entry in log.metrics.kept:
            watch.remember(entry)
        last_step = self.options.steps or sys.maxsize  # without a number, the clock ends the run
        batches = self.loader.batches(start_step=self.step, stop_step=last_step)
        steps_before = self.optimizer.step_count - self.step
        with log, stop_on_signals() as stop, contextlib.closing(batches):
            try:
                self._take_steps(batches, stop, log, watch, validation)
            except TrainingError:
                raise
            except BaseException:
                # A second Ctrl-C ends the run at once. And a step that was cut short in
                # the update has moved some weights and not others: never saved.
                is_torn = self.optimizer.step_count - self.step != steps_before
                if not stop.is_set() and not is_torn:
                    self._save_after_error(log)
                raise
            if self.is_patience_over():
                log.say(f"ended early: no better recall in {self.best.stale} validations")
            self.interrupted = stop.is_set()
            self.stopped_by = stop.signal
            if self.files.is_begun or self.step > 0:
                self._save_and_say(log)
        self.model.eval()
        return {"train_seconds": round(self.elapsed, 2), "steps": self.step}

    def _take_steps(
        self,
        batches: Iterator[Batch],
        stop: Stop,
        log: Log,
        watch: Watch,
        validation: Validation | None,
    ) -> None:
        """Steps, reports and checkpoints, until the end or until `stop` is set."""
        clock = Stopwatch(self.elapsed)
        since_save = Stopwatch()
        pause = FIRST_SAVE_SECONDS
        while not self.finished() and not stop.is_set():
            batch = next(batches)
            result = self._train_on(batch, log)
            self.step += 1
            self.elapsed = clock.seconds()
            if not self.files.is_begun:  # before anything else is written
                self._save_and_say(log)
                since_save.restart()
            if self._is_due(self.options.log_every):
                self._report(result, log, watch, validation)
            if since_save.seconds() > min(pause, SAVE_SECONDS):
                self._save_and_say(log)
                since_save.restart()
                pause *= 2

    def _save_and_say(self, log: Log) -> None:
        """Save, and say where an earlier run went."""
        folder = self.save()
        if not self.is_described:
            self.is_described = True
            write_description(self.directory, self.description)
        if folder is not None:
            log.say(f"an earlier run was here; its files are now in {folder}")

    def _save_after_error(self, log: Log) -> None:
        """Save what was reached, and say how that went. The error itself goes on."""
        if not self.files.is_begun or self.files.last_step == self.step:
            return
        try:
            self.save()
        except (OSError, ValueError, TrainingError) as error:
            log.say(f"an error ends the run, and step {self.step} could not be saved: {error}")
        else:
            log.say(f"an error ends the run; it is saved as of step {self.step}")

    def _train_on(self, batch: Batch, log: Log) -> dict[str, Array]:
        """One step, at the learning rate of the schedule."""
        self.optimizer.lr = learning_rate(self.options, self.step, self.elapsed)
        tokens = self.tokenizer(batch.captions, truncate=True)
        positives = equal_captions(tokens)
        self.guessing = self.loss.guessing(len(tokens), positives)
        if positives is not None:
            twins = int((positives.sum(axis=1) > 1).sum())
            log.say_once(
                "equal captions",
                f"batches hold equal captions (here {twins} of {len(tokens)}): "
                "they are not taken for each other's wrong answers",
            )
        return self.take_step(batch.images, tokens, positives)

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
            entry |= validation.measure(self.model, self.tokenizer, self.loss)
            if not math.isfinite(entry["validation_loss"]):
                raise self._astray(f"the validation loss is {entry['validation_loss']}")
            watch.look_at_validation(entry)
            if self.best.look(entry):
                self.save(BEST)
        log.write(entry)

    def _entry(self, result: dict[str, Array], pace: float) -> Entry:
        """The numbers of a step for the metrics. TrainingError for a loss like NaN."""
        sizes = largest_values(self.model, self.optimizer)
        values = [result["loss"], result["logit_scale"], result["grad_norm"], *sizes.values()]
        # A GPU has to be waited for when numbers are read: once here, not for each.
        numbers = array_module(values[0]).stack(values)  # (3 + number of sizes,)
        loss, logit_scale, norm, *read_sizes = move(numbers, "numpy").tolist()
        fault = fault_in(dict(zip(sizes, read_sizes)), self.model, self.optimizer)
        if not math.isfinite(loss):
            raise self._astray(f"the loss is {loss}")
        if not math.isfinite(norm):
            raise self._astray(f"the length of the gradients is {norm}")
        if fault is not None:
            raise self._astray(fault)
        return {
            "step": self.step,
            "seconds": round(self.elapsed, 3),
            "loss": loss,
            "guessing": self.guessing,
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

    def _astray(self, problem: str) -> TrainingError:
        """The error that ends a run when its numbers are spoiled."""
        if self.files.last_step is None:
            kept = "no checkpoint of this run was written yet"
        else:
            path = self.directory / CHECKPOINT
            kept = f"the last checkpoint is kept: {path}, of step {self.files.last_step}"
        fault = fault_of(self.model, self.optimizer)
        more = "" if fault in (None, problem) else f"; {fault}"
        return TrainingError(
            f"{problem} at step {self.step}; {kept}. The learning rate was "
            f"{self.optimizer.lr:g}{more}. Usual cause: a `learning_rate` that is too high"
        )

    def save(self, name: str = CHECKPOINT) -> Path | None:
        """Write CHECKPOINT, from which a run goes on, or BEST, which is for use only.

        Returns the folder to which an earlier run in the directory was moved, if there
        was one. Raises TrainingError, and leaves the file as it was, if a weight or a
        moment is NaN, infinite or huge.
        """
        if (fault := fault_of(self.model, self.optimizer)) is not None:
            raise self._astray(fault)
        if name != CHECKPOINT:
            self._write(self.directory / name, with_optimizer=False)
            return None
        return self.files.write_checkpoint(
            lambda path: self._write(path, with_optimizer=True), self.step
        )

    def _write(self, path: Path, with_optimizer: bool) -> None:
        save_checkpoint(
            path=path,
            model=self.model,
            tokenizer=self.tokenizer,
            optimizer=self.optimizer if with_optimizer else None,
            training={
                "step": self.step,
                "elapsed": self.elapsed,
                "source": self.task.source,
                "options": dataclasses.asdict(self.options),
                "data": self.task.record,
            },
        )
