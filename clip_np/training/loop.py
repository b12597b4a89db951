"""How does a model come to know something?

Take a batch, take a step, and again:

    for images, captions in batches:
        step(images, tokenizer(captions))

`Trainer.run` is this loop. Everything around it serves one of three ends, and has a
file of its own:

- to learn well: the learning rate rises and falls (schedule.py);
- to see what happens: metrics (reporting.py) in a file and a progress bar (log.py), the
  loss on pairs that are not trained on (validation.py), warnings (watch.py), and an end
  if the numbers of the model are spoiled (health.py, spoiled.py);
- to lose nothing: checkpoints (saving.py), also on Ctrl-C and SIGTERM (interrupts.py)
  and when an error ends the run. Another one holds the weights with the highest recall
  in validation (best.py). Earlier runs and other programs in the same directory are
  respected (directory.py).

What the loop changes, step by step, is a `RunState` (state.py).

**When does a resumed run take the same steps as one that was never stopped?** A batch
is a function of the seed and the step. A checkpoint holds the weights, the running
statistics of batch norms, the optimizer's averages and the step, all of them exactly.
So if `steps` alone ends the run, the resumed run ends with the same weights to the last
bit. The data, the options (`workers` and `shards` among them), the machine and the
libraries have to be the same.

If `seconds` is set, with `steps` or without, the learning rate follows the clock, and
no clock runs the same way twice. Such a run goes on from the saved weights with the
time that was left, but no two such runs are equal, whether they were stopped or not.

A run that is resumed with another number of steps, or another learning rate, has
another schedule. So it differs from the run that was not stopped.
"""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from clip_np.data import Batch
from clip_np.losses import equal_captions, loss_for
from clip_np.training.bad_samples import BAD_SAMPLES, BadSamples
from clip_np.training.best import Best
from clip_np.training.communicator import Communicator, OneProcess
from clip_np.training.directory import RunDirectory
from clip_np.training.interrupts import Stop, stop_on_signals
from clip_np.training.loading import make_loader
from clip_np.training.log import METRICS, Log, Stopwatch
from clip_np.training.mpi_team import MpiTeam
from clip_np.training.options import TrainingOptions
from clip_np.training.process_team import ProcessTeam
from clip_np.training.replay import find_cause
from clip_np.training.reporting import Reporter, load_validation
from clip_np.training.saving import Saver, write_best, write_checkpoint
from clip_np.training.schedule import is_finished, learning_rate
from clip_np.training.spoiled import TrainingError, explained, problem_in, spoiled
from clip_np.training.state import RunState, make_step
from clip_np.training.step import TrainingStep
from clip_np.training.tasks import Task
from clip_np.training.watch import warn_of_small_data
from clip_np.weights import CHECKPOINT, Checkpoint
from minigrad.backend import Array
from minigrad.threads import available_cores


def options_of_rank(options: TrainingOptions, comm: Communicator) -> TrainingOptions:
    """The options with the number of ranks, and the threads of each."""
    workers = options.workers or max(1, available_cores() // comm.ranks_here)
    return dataclasses.replace(options, workers=workers, processes=comm.size)


class Trainer(RunState):
    """The loop over the state of a run: see `RunState` for what it holds.

    interrupted says whether Ctrl-C or another signal ended the last run; its number is
    stopped_by.
    """

    def __init__(
        self,
        task: Task,
        options: TrainingOptions,
        directory: Path | RunDirectory,
        checkpoint: Checkpoint | None = None,
        comm: Communicator | None = None,
    ) -> None:
        """Make a new model, or go on with the model of `checkpoint`.

        comm connects rank 0 of an MPI launch, where this is, with the ranks that follow
        it (mpi_team.py). Raises ValueError as `RunState` does.
        """
        self.comm = comm or OneProcess()
        if self.comm.size > 1:
            options = options_of_rank(options, self.comm)
        super().__init__(task, options, directory, checkpoint)
        self.interrupted = False
        self.stopped_by: int | None = None
        self.guessing = math.nan  # the loss of guessing in the last batch
        self.best = Best(entries=(), kept_step=None)
        assert task.train is not None  # a state of a run has pairs to train on
        self.loader = make_loader(
            pairs=task.train,
            options=self.options,
            size=self.model.config.vision.image_size,
            skip_bad=task.skip_bad,
            preprocess=self.start.preprocess,
            rank=self.comm.rank,
            ranks=self.comm.size,
        )
        self.bad_samples = BadSamples(self.directory / BAD_SAMPLES)
        self.batch: Batch | None = None  # the last one
        # A GPU would have to be waited for at every step, so there the reports look.
        is_read_at_once = options.backend == "numpy"
        step = make_step(self, check=self._require_finite if is_read_at_once else None)
        self.loss = loss_for(self.model, self.options.loss)  # as held-out pairs are measured
        self.take_step: TrainingStep | ProcessTeam | MpiTeam = step

    def finished(self) -> bool:
        """Whether the steps, the seconds or the patience are used up."""
        return self.is_patience_over() or is_finished(self.options, self.step, self.elapsed)

    def is_patience_over(self) -> bool:
        """Whether the last `patience` validations had no better recall."""
        return self.options.patience is not None and self.best.stale >= self.options.patience

    def run(self) -> dict[str, float]:
        """Train until the end, or until Ctrl-C.

        Returns train_seconds and steps, and as `waited` the share of the time in which
        the steps waited for their images. The model is in `train` mode meanwhile, and
        in `eval` mode afterwards.

        Raises TrainingError if the loss, the gradients or the weights are not finite
        any more, DataError for an image that cannot be read (see `FilesTask`), and
        LockedError if another run is in the directory. After an error the run can go on
        from the step before it. If the options name several `processes`, they start and
        end here, and RankError says that one of them has failed.
        """
        with self.files.locked(), self._followers():
            return self._run()

    @contextlib.contextmanager
    def _followers(self) -> Iterator[None]:
        """Within the block, steps are taken by as many processes as the options say."""
        processes = self.options.processes or 1
        if processes == 1:
            yield
            return
        if self.comm.size == 1:
            self._refuse_idle(processes)
        alone = self.take_step
        assert isinstance(alone, TrainingStep)  # no other run goes on
        self.model.train()  # before the followers get a copy
        try:
            if self.comm.size > 1:
                self.take_step = self._mpi_team(alone)
                yield
                self.take_step.close()  # after an error, the launcher ends all ranks
            else:
                with ProcessTeam(alone, processes, self.options.deadline) as self.take_step:
                    yield
        finally:
            self.take_step = alone

    def _refuse_idle(self, processes: int) -> None:
        """ValueError for more processes than a batch has pairs."""
        batch_size = self.loader.batch_size
        if batch_size < processes:
            raise ValueError(
                f"{processes} `processes` are too many for batches of {batch_size} pairs: each "
                f"needs a row of its own. Use at most {batch_size}, or a larger `batch_size`"
            )

    def _mpi_team(self, step: TrainingStep) -> MpiTeam:
        """The ranks of this launch, told to take the steps of this run."""
        return MpiTeam(
            step=step,
            comm=self.comm,
            tokenizer=self.tokenizer,
            options=self.options,
            task=self.task,
            preprocess=self.start.preprocess,
            steps=(self.step, self.options.steps or sys.maxsize),
        )

    def _run(self) -> dict[str, float]:
        self.model.train()
        if self.loader.pairs.repeats:  # a stream brings more than it starts with
            warn_of_small_data(self.loader.pairs.captions, self.options.batch_size)
        validation = load_validation(self, self.loader)
        log = Log(
            path=self.directory / METRICS,
            options=self.options,
            step=self.step,
            elapsed=self.elapsed,
            batch_size=self.loader.batch_size,
        )
        self.best = Best(log.metrics.kept, self.files.best_step() if self.step else None)
        reporter = Reporter(self, self.loss, self.loader, validation, log)
        saver = Saver(self, log)
        last_step = self.options.steps or sys.maxsize  # without a number, the clock ends the run
        batches = self.loader.batches(start_step=self.step, stop_step=last_step)
        with log, stop_on_signals() as stop, contextlib.closing(batches):
            try:
                self._take_steps_or_save(batches, stop, reporter, saver)
                if self.is_patience_over():
                    log.say(f"ended early: no better recall in {self.best.stale} validations")
                self.interrupted = stop.is_set()
                self.stopped_by = stop.signal
                if self.files.is_begun or self.step > 0:
                    saver.save()
                    self._list_bad_samples()
            except TrainingError as error:
                batches.close()  # the search reads them again
                raise self._explained(error, log, stop) from None
        self.model.eval()
        return {
            "train_seconds": round(self.elapsed, 2),
            "steps": self.step,
            "waited": round(reporter.waited_share_of_all(), 3),
        }

    def _explained(self, error: TrainingError, log: Log, stop: Stop) -> TrainingError:
        """The error with its cause, unless it has one, or there is no time to look."""
        if error.is_explained or self.batch is None or stop.is_set():
            return error
        try:
            cause = find_cause(self, self.batch, self.loader, log, stop)
        except (OSError, ValueError, MemoryError) as problem:  # a damaged checkpoint, lost data
            cause = f"The cause could not be looked for: {problem}"
        return explained(error, cause)

    def _take_steps_or_save(
        self, batches: Iterator[Batch], stop: Stop, reporter: Reporter, saver: Saver
    ) -> None:
        """Take the steps. After an error that spoils nothing, save what was reached."""
        steps_before = self.optimizer.step_count - self.step
        try:
            self._take_steps(batches, stop, reporter, saver)
        except TrainingError:
            raise
        except BaseException as error:
            # A second Ctrl-C ends the run at once. And a step that was cut short in
            # the update has moved some weights and not others: never saved.
            is_second_ctrl_c = stop.is_set() and isinstance(error, KeyboardInterrupt)
            is_torn = self.optimizer.step_count - self.step != steps_before
            if not is_second_ctrl_c and not is_torn:
                saver.save_after_error()
            raise

    def _take_steps(
        self, batches: Iterator[Batch], stop: Stop, reporter: Reporter, saver: Saver
    ) -> None:
        """Steps, reports and checkpoints, until the end or until `stop` is set."""
        clock = Stopwatch(self.elapsed)
        while not self.finished() and not stop.is_set():
            self.batch = next(batches)
            result = self._train_on(self.batch, reporter.log)
            self.step += 1
            self.elapsed = clock.seconds()
            saver.save_first()  # before anything else is written
            if self._is_due(self.options.log_every):
                self._report(result, reporter)
            saver.save_in_time()

    def _train_on(self, batch: Batch, log: Log) -> dict[str, Array]:
        """One step, at the learning rate of the schedule."""
        self.optimizer.lr = learning_rate(self.options, self.step, self.elapsed)
        tokens = self.tokenizer(batch.captions, truncate=True)
        everybodys = tokens
        if isinstance(self.take_step, MpiTeam):
            everybodys = self.take_step.gather_tokens(tokens)
        positives = equal_captions(everybodys)
        self.guessing = self.loss.guessing(len(everybodys), positives)
        if positives is not None:
            twins = int((positives.sum(axis=1) > 1).sum())
            log.say_once(
                "equal captions",
                f"batches hold equal captions (here {twins} of {len(everybodys)}): "
                "they are not taken for each other's wrong answers",
            )
        return self.take_step(batch.images, tokens, positives)

    def _require_finite(self, loss: Array, norm: Array) -> None:
        """TrainingError for a step that would spoil the weights, before its update."""
        problem = problem_in(float(loss), float(norm))
        if problem is not None:
            raise spoiled(self, problem, self.step + 1)

    def _is_due(self, every: int) -> bool:
        """Whether it is time for what happens once in `every` steps and at the end."""
        return self.step % every == 0 or self.finished()

    def _report(self, result: dict[str, Array], reporter: Reporter) -> None:
        """Write an entry of the metrics, with the validation if it is due."""
        self._list_bad_samples()
        entry = reporter.measure(result, self.guessing)
        if reporter.validation is not None and self._is_due(self.options.validate_every):
            entry |= reporter.validate(entry, reporter.validation)
            if self.best.look(entry):
                write_best(self)
        reporter.log.write(entry)

    def _list_bad_samples(self) -> None:
        """List what could not be used so far, in a file next to the metrics."""
        self.bad_samples.write([*self.task.skipped_rows, *self.loader.skipped.values()])

    def save(self, name: str = CHECKPOINT) -> Path | None:
        """Write CHECKPOINT, from which a run goes on, or BEST, which is for use only.

        Returns and raises what `write_checkpoint` does.
        """
        if name == CHECKPOINT:
            return write_checkpoint(self)
        write_best(self)
        return None
