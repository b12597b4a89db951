"""What is one training step?

The gradient says in which direction the loss grows, so a step goes the other way:

    1. take the loss of a batch and its gradient          batch_gradient.py
    2. shorten the gradient if its norm is too large      update.py
    3. move the parameters                                minigrad/optim/
    4. keep the temperature within its bounds             clip_np/losses/

Between steps the memory of the first stage is kept and used again.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, section 2.5.
"""

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import minigrad as mg
from clip_np.losses import Loss, loss_for
from clip_np.model import CLIP
from clip_np.training.batch_gradient import loss_and_gradients, threads_of_rank, trained_parameters
from clip_np.training.communicator import Communicator, OneProcess
from clip_np.training.update import move_parameters
from minigrad.backend import Array
from minigrad.memory import Arena
from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.precision import precision
from minigrad.threads import blas_threads

PARAMETERS_PER_THREAD = 2**20
"""Parameters that one thread updates before a second one is worth its start.

At 361,025 parameters a second thread costs more than it saves: one thread needs 0.9 ms,
two need 2.0 ms. 2^20 is a round number above that.
"""


class StepParts(NamedTuple):
    """What a rank needs to take the steps of another one. It can be sent (pickled)."""

    model: CLIP
    optimizer: Optimizer
    loss: Loss
    shards: int
    workers: int | None
    max_norm: float | None
    precision: str

    def step(self, comm: Communicator) -> "TrainingStep":
        """The training step, as the rank of `comm`."""
        return TrainingStep(
            model=self.model,
            optimizer=self.optimizer,
            loss=self.loss,
            shards=self.shards,
            workers=self.workers,
            max_norm=self.max_norm,
            comm=comm,
            precision=self.precision,
        )


class TrainingStep:
    """One whole step, called once for each batch: step(images, tokens).

    It takes the gradients, clips their norm, updates the parameters, clamps the loss's
    parameters (the temperature), and forgets the gradients. Between steps it keeps
    `arenas`, the memory that the worker threads compute in, so that the next step need
    not ask the system for new pages.

    loss is "clip", "sigmoid" (for a model with a logit_bias) or a
    `clip_np.losses.Loss`. If such a module has parameters of its
    own, they receive gradients too; hand them to the optimizer. For shards and workers
    see `loss_and_gradients`. max_norm=None leaves the gradients as they are. comm
    connects this process with others that take the same step: see communicator/. All of
    them call the step at the same time, each with its model and optimizer.
    check(loss, grad_norm) is called before the update; if it raises, the update is not
    made. precision is one of `minigrad.precision.PRECISIONS`.

    >>> import numpy as np
    >>> import clip_np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    >>> step = TrainingStep(model, optimizer, shards=2)
    >>> rng = np.random.default_rng(1)
    >>> images = rng.standard_normal((4, 3, 32, 32), dtype=np.float32)
    >>> tokens = np.array([[512, letter, 513] for letter in (72, 73, 74, 75)])
    >>> losses = [step(images, tokens)["loss"].item() for _ in range(3)]
    >>> losses[0] > losses[1] > losses[2]
    True
    """

    def __init__(
        self,
        model: CLIP,
        optimizer: Optimizer,
        loss: str | Loss = "clip",
        shards: int = 1,
        workers: int | None = None,
        comm: Communicator | None = None,
        max_norm: float | None = 1.0,
        check: Callable[[Array, Array], None] | None = None,
        precision: str = "float32",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss_for(model, loss)
        self.shards = shards
        self.workers = workers
        self.comm = comm or OneProcess()
        self.max_norm = max_norm
        self.check = check
        self.precision = precision
        self.arenas: list[Arena] = []

    @property
    def parts(self) -> StepParts:
        """What other ranks need to take the same step."""
        return StepParts(
            model=self.model,
            optimizer=self.optimizer,
            loss=self.loss,
            shards=self.shards,
            workers=self.workers,
            max_norm=self.max_norm,
            precision=self.precision,
        )

    def __call__(
        self, images: Array | mg.Tensor, tokens: Array | mg.Tensor, positives: Array | None = None
    ) -> dict[str, Array]:
        """Take a step on images (B, 3, S, S) and tokens (B, T).

        positives (B, B), boolean, marks pairs that must not count as wrong answers.
        Returns 0-d arrays: "loss", "logit_scale" (a logarithm, after the step) and
        "grad_norm" (before it was clipped).
        """
        parameters = trained_parameters(self.model, self.loss)
        with blas_threads(1), precision(self.precision, like=self.model.logit_scale.data):
            loss = loss_and_gradients(
                model=self.model,
                images=images,
                tokens=tokens,
                shards=self.shards,
                workers=self.workers,
                positives=positives,
                loss=self.loss,
                arenas=self.arenas,
                comm=self.comm,
                parameters=parameters,
            )
            threads = self._update_threads(parameters)
            norm = move_parameters(
                optimizer=self.optimizer,
                parameters=parameters,
                max_norm=self.max_norm,
                threads=threads,
                comm=self.comm,
                check=None if self.check is None else partial(self.check, loss),
            )
        self.loss.clamp()
        for parameter in parameters:
            parameter.zero_grad()
        return {"loss": loss, "logit_scale": self.model.logit_scale.data.copy(), "grad_norm": norm}

    def _update_threads(self, parameters: Sequence[Parameter]) -> int:
        """How many threads clip and update the parameters."""
        size = sum(parameter.size for parameter in parameters)
        workers = threads_of_rank(self.model.logit_scale.data, self.workers, self.comm)
        return min(1 + size // PARAMETERS_PER_THREAD, workers)


_arenas_of: weakref.WeakKeyDictionary[Optimizer, list[Arena]] = weakref.WeakKeyDictionary()
"""Memory that `training_step` uses again in the next call with the same optimizer.

A loop that calls the function has no other object that lives from step to step. The
dictionary does not keep an optimizer alive: when the optimizer goes, its arenas go too.
"""


def training_step(
    model: CLIP,
    optimizer: Optimizer,
    images: Array | mg.Tensor,
    tokens: Array | mg.Tensor,
    shards: int = 1,
    workers: int | None = None,
    comm: Communicator | None = None,
    loss: str | Loss = "clip",
    max_norm: float | None = 1.0,
    positives: Array | None = None,
) -> dict[str, Array]:
    """`TrainingStep` as a function: one whole step, for a loop written by hand.

    >>> import numpy as np
    >>> import clip_np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    >>> images = np.zeros((4, 3, 32, 32), np.float32)
    >>> tokens = np.array([[512, letter, 513] for letter in (72, 73, 74, 75)])
    >>> result = training_step(model, optimizer, images, tokens)
    >>> sorted(result), optimizer.step_count
    (['grad_norm', 'logit_scale', 'loss'], 1)
    """
    step = TrainingStep(
        model=model,
        optimizer=optimizer,
        loss=loss,
        shards=shards,
        workers=workers,
        comm=comm,
        max_norm=max_norm,
    )
    step.arenas = _arenas_of.setdefault(optimizer, step.arenas)
    return step(images, tokens, positives)
