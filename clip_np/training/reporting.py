"""What does a run write about a step?

Once in `log_every` steps, it writes an entry of the metrics: the loss, the pace, the
size of the gradients and so on. Once in `validate_every` steps, the entry also holds
what the validation measured. When the numbers are read, NaN and infinities are noticed,
and warnings are given.
"""

import math

from clip_np.data import BatchLoader, a_few
from clip_np.losses import Loss
from clip_np.training.best import LOSS, RECALL
from clip_np.training.health import fault_in, largest_values
from clip_np.training.log import Entry, Log, Stopwatch
from clip_np.training.replay import anomaly_in
from clip_np.training.spoiled import explained, problem_in, spoiled
from clip_np.training.state import RunState
from clip_np.training.validation import Validation
from clip_np.training.watch import Watch
from minigrad.backend import Array, array_module, move


class Reporter:
    """Makes the entries of a run, which go to its log, and warns of what they show.

    validation is None if no pairs are held out.
    """

    def __init__(
        self,
        state: RunState,
        loss: Loss,
        loader: BatchLoader,
        validation: Validation | None,
        log: Log,
    ) -> None:
        self.state = state
        self.loss = loss
        self.loader = loader
        self.validation = validation
        self.log = log
        self.started = Stopwatch()
        self.waited_at_start = self.waited = loader.wait_seconds
        self.watch = Watch(loss.guessing_formula)
        for entry in log.metrics.kept:
            self.watch.remember(entry)

    def measure(self, result: dict[str, Array], guessing: float) -> Entry:
        """The numbers of a step for the metrics. TrainingError for a loss like NaN.

        guessing is the loss of guessing in the batch of the step.
        """
        state = self.state
        sizes = largest_values(state.model, state.optimizer)
        values = [result["loss"], result["logit_scale"], result["grad_norm"], *sizes.values()]
        # A GPU has to be waited for when numbers are read: once here, not for each.
        numbers = array_module(values[0]).stack(values)  # (3 + number of sizes,)
        loss, logit_scale, norm, *read_sizes = move(numbers, "numpy").tolist()
        fault = fault_in(dict(zip(sizes, read_sizes)), state.model, state.optimizer)
        problem = problem_in(loss, norm) or fault
        if problem is not None:
            raise spoiled(state, problem)
        entry = {
            "step": state.step,
            "seconds": round(state.elapsed, 3),
            "loss": loss,
            "guessing": guessing,
            "temperature": math.exp(logit_scale),
            "grad_norm": norm,
            "learning_rate": state.optimizer.lr,
            "samples_per_second": round(self.log.samples_per_second(state.step), 1),
            "waited": round(self._waited_share(), 3),
        }
        self.watch.look(entry, waited=self.loader.wait_seconds)
        return entry

    def _waited_share(self) -> float:
        """The share of the time since the last entry in which steps had no batch."""
        before, self.waited = self.waited, self.loader.wait_seconds
        return (self.waited - before) / self.log.since_last.seconds()

    def waited_share_of_all(self) -> float:
        """The share of the time since the start in which steps had no batch."""
        return (self.loader.wait_seconds - self.waited_at_start) / self.started.seconds()

    def validate(self, entry: Entry, validation: Validation) -> Entry:
        """What the validation adds to an entry. TrainingError for a loss like NaN."""
        state = self.state
        measured = validation.measure(state.model, state.tokenizer, self.loss)
        for name in (LOSS, RECALL):
            value = measured.get(name, 0.0)
            if not math.isfinite(value):
                error = spoiled(state, f"the {name.replace('_', ' ')} is {value}")
                raise explained(error, self._cause_in(validation))
        self.watch.look_at_validation(entry | measured)
        return measured

    def _cause_in(self, validation: Validation) -> str:
        """Which held-out samples give a NaN, and in which operation."""
        model, tokenizer = self.state.model, self.state.tokenizer
        names = validation.odd_samples(model, tokenizer)
        samples = f"the held-out samples {a_few(names)} give it" if names else "no sample gives it"
        anomaly = anomaly_in(lambda: validation.measure(model, tokenizer, self.loss))
        return f"Encoded one by one, {samples}. The first operation: {anomaly}"


def load_validation(state: RunState, loader: BatchLoader) -> Validation | None:
    """The held-out pairs of a run, in batches like those of its training."""
    if state.task.validation is None:
        return None
    return Validation(
        pairs=state.task.validation,
        image_size=loader.size,
        batch_size=loader.batch_size,
        skip_bad=state.task.skip_bad,
        preprocess=state.start.preprocess,
    )
