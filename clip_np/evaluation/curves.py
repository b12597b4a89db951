"""Has the training learned anything, and does it still?

The loss over the steps says so, when one knows what to compare it with. A model that
has learned nothing gives each of the N captions of a batch the probability 1/N, so its
loss is

    -ln(1/N) = ln N

The sigmoid loss has another level (clip_np/losses/sigmoid.py). It is drawn as a line.
The training loss is a new batch's at every step, and jumps. So the curve is drawn
twice: as it is, and as a mean over neighbouring values. The loss of pairs that are held
out, the validation loss, rises again when a model learns its pairs by heart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clip_np.evaluation.drawing import BLUE, BODY_SIZE, GREY, INK, ORANGE, new_figure, save
from clip_np.files import File
from clip_np.losses import LOSSES

SMOOTHING = 50  # a mean reaches a 50th of the curve to each side
CHART_WIDTH = 7.1  # inches
CHART_HEIGHT = 3.6  # inches
LABELS_WIDTH = 0.5  # inches to the left of the chart, for the numbers and their name
LEGEND_HEIGHT = 0.2  # inches above the chart
SEEN_LOSSES = 0.99  # the share of training losses that the chart has to show
FEW_LOSSES = 20  # so many are drawn as points
SIDE_ROOM = 0.05  # of the steps, to the left and right of the values
HEADROOM = 1.06  # how far the chart reaches above the highest value


def loss_curve(
    entries: Sequence[Mapping[str, float]], path: File, batch_size: int, loss: str = "clip"
) -> Path:
    """Draw the loss of a training run in batches of `batch_size`, and return the path.

    loss is the name of the loss, one of `clip_np.losses.LOSSES`.

    entries: as `read_metrics` gives them, with "step", "loss" and perhaps
    "validation_loss". If a step comes twice, because a run was resumed, the last entry
    counts. ValueError without a loss.
    """
    steps, losses = _column(entries, "loss")
    if len(steps) == 0:
        raise ValueError(f"loss_curve: none of {len(entries)} entries has a 'loss'")
    validation_steps, validation_losses = _column(entries, "validation_loss")
    smooth = _smoothed(losses)
    guessing = LOSSES[loss].guessing(batch_size)
    top = HEADROOM * max(guessing, *smooth, *validation_losses, np.quantile(losses, SEEN_LOSSES))

    figure = new_figure()
    axes = figure.add_axes((0, 0, CHART_WIDTH, CHART_HEIGHT))
    # The values of a short run are points, and of a single one there is no line.
    marker = "." if len(steps) <= FEW_LOSSES else ""
    axes.plot(steps, losses, color=BLUE, label="training", linewidth=0.6, alpha=0.4, marker=marker)
    axes.plot(steps, smooth, color=BLUE, label="training, smoothed")
    axes.plot(
        validation_steps, validation_losses, "o-", color=ORANGE, markersize=4, label="validation"
    )
    guessing_label = f"knows nothing: {LOSSES[loss].guessing_formula} = {guessing:.2f}"
    axes.axhline(guessing, color=GREY, linestyle="--", linewidth=1, label=guessing_label)
    axes.set_ylim(0, top)
    axes.set_ylabel("loss (nats)", size=BODY_SIZE)
    axes.set_xlabel("step", size=BODY_SIZE)
    axes.set_xlim(step_range(steps, validation_steps))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(labelsize=BODY_SIZE, colors=INK)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    # The legend lies above the chart, at its right end.
    axes.legend(
        ncols=4, frameon=False, fontsize=BODY_SIZE, loc="lower right", bbox_to_anchor=(1, 1)
    )

    note = f"batches of N = {batch_size:,} pairs"
    if len(validation_steps):
        lowest = validation_losses.argmin()
        note += (
            f"; lowest validation loss {validation_losses[lowest]:.3f} "
            f"at step {validation_steps[lowest]:,.0f}"
        )
    return save(
        figure, path, "Training", note, left=-LABELS_WIDTH, top=CHART_HEIGHT + LEGEND_HEIGHT
    )


def step_range(steps: np.ndarray, validation_steps: np.ndarray) -> tuple[float, float]:
    """The first and the last step that a chart shows, a little apart from its values.

    >>> step_range(np.array([10.0, 20.0]), np.array([]))
    (9.5, 20.5)
    >>> step_range(np.array([3.0]), np.array([]))
    (2.0, 4.0)
    """
    shown = np.concatenate([steps, validation_steps])
    first, last = float(shown.min()), float(shown.max())
    margin = SIDE_ROOM * (last - first) or 1.0
    return first - margin, last + margin


def _column(entries: Sequence[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps (n,) with a value for `key`, in order, and the values (n,)."""
    value_at = {entry["step"]: entry[key] for entry in entries if entry.get(key) is not None}
    steps = sorted(value_at)
    values = [value_at[step] for step in steps]
    return np.array(steps, np.float64), np.array(values, np.float64)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of the values around each one, (n,); near the ends of fewer values."""
    reach = len(values) // SMOOTHING
    window = np.ones(2 * reach + 1)
    sums = np.convolve(values, window, "same")
    counts = np.convolve(np.ones_like(values), window, "same")
    return sums / counts
