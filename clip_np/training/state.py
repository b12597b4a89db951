"""What does a run hold in memory?

    what it was started with      the task and the options
    what changes at each step     the model, the optimizer's averages, the step
    where it goes                 the run directory

The loop changes it (loop.py), reports look at it (reporting.py), and a checkpoint holds
all of it (saving.py). It begins with a new model, or with what a checkpoint holds.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from clip_np.losses import ContrastiveLoss, Loss, loss_for
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.description import describe_run
from clip_np.training.directory import RunDirectory
from clip_np.training.options import TrainingOptions
from clip_np.training.saved import SavedTraining
from clip_np.training.starting import make_start, new_optimizer
from clip_np.training.step import TrainingStep
from clip_np.training.tasks import Task
from clip_np.weights import Checkpoint
from minigrad.backend import Array
from minigrad.nn import count_parameters
from minigrad.threads import count_workers


class RunState:
    """A model, its optimizer and its data, and a directory that receives the results.

    step and elapsed are the steps taken so far and the seconds that they took, over all
    runs in the directory. files is the directory: see `RunDirectory`. description is
    what run.json says of the run: see `describe_run`. start is what the run began with.
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
        self.model: CLIP
        self.tokenizer: TokenizerProtocol
        self.start = make_start(task.train, options, checkpoint)
        self.model, self.tokenizer = self.start.model, self.start.tokenizer
        self.model.to(options.backend)
        # Both numbers are settled here and saved, so that a resumed run has the same.
        processes = options.processes or 1
        workers = options.workers
        if workers is None:
            cores = count_workers(self.model.logit_scale.data, workers)
            workers = max(1, cores // processes)
        chosen = self.start.options
        self.options = dataclasses.replace(chosen, workers=workers, processes=processes)
        self.optimizer = new_optimizer(self.model, self.options)
        if checkpoint is not None:
            self._go_on_from(checkpoint)
        self.description = describe_run(
            self.options, task, count_parameters(self.model), self.start.origin
        )

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        """Take over the optimizer's averages, the step and the seconds."""
        saved = SavedTraining.of(checkpoint.training)
        saved.require_all()
        self.optimizer.load_state_dict(checkpoint.optimizer_state)
        self.step = saved.step or 0
        self.elapsed = saved.elapsed or 0.0
        self.files.is_begun = True
        self.files.last_step = self.step


def training_loss(model: CLIP, options: TrainingOptions) -> Loss:
    """The loss that the steps of a run make small, with its label smoothing.

    The held-out pairs are measured without smoothing (`loss_for`), so that runs can be
    compared.

    >>> import numpy as np
    >>> from clip_np import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> training_loss(model, TrainingOptions(label_smoothing=0.1)).label_smoothing
    0.1
    """
    if options.label_smoothing:
        return ContrastiveLoss(
            logit_scale=model.logit_scale, label_smoothing=options.label_smoothing
        )
    return loss_for(model, options.loss)


def make_step(state: RunState, check: Callable[[Array, Array], None] | None) -> TrainingStep:
    """The object that takes the steps of a run, as its options say.

    check: see `TrainingStep`.
    """
    return TrainingStep(
        model=state.model,
        optimizer=state.optimizer,
        loss=training_loss(state.model, state.options),
        shards=state.options.shards,
        workers=state.options.workers,
        max_norm=state.options.max_norm,
        check=check,
        precision=state.options.precision,
    )
