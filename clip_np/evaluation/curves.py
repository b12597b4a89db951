"""Has the training learned anything, and does it still?

The loss over the steps says so, when one knows what to compare it with. A model that
has learned nothing gives each of the N captions of a batch the probability 1/N, so its
loss is

    -ln(1/N) = ln N

The sigmoid loss has another level (clip_np/losses/sigmoid.py). It is drawn as a line.
Where the validation has fewer pairs than a batch, its level is drawn, too.
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
LEGEND_HEIGHT = 0.2  # inches above the chart, for a row
SAME_LEVEL = 0.01  # nats; levels of guessing this close are one line
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
    steps, losses = entry_column(entries, "loss")
    if len(steps) == 0:
        raise ValueError(f"loss_curve: none of {len(entries)} entries has a 'loss'")
    validation_steps, validation_losses = entry_column(entries, "validation_loss")
    smooth = _smoothed(losses)
    levels = _levels_of_guessing(entries, batch_size, loss)
    top = HEADROOM * max(
        *levels.values(), *smooth, *validation_losses, np.quantile(losses, SEEN_LOSSES)
    )

    figure = new_figure()
    axes = figure.add_axes((0, 0, CHART_WIDTH, CHART_HEIGHT))
    # The values of a short run are points, and of a single one there is no line.
    marker = "." if len(steps) <= FEW_LOSSES else ""
    axes.plot(steps, losses, color=BLUE, label="training", linewidth=0.6, alpha=0.4, marker=marker)
    axes.plot(steps, smooth, color=BLUE, label="training, smoothed")
    axes.plot(
        validation_steps, validation_losses, "o-", color=ORANGE, markersize=4, label="validation"
    )
    for colour, (label, level) in zip((GREY, ORANGE), levels.items()):
        axes.axhline(level, color=colour, linestyle="--", linewidth=1, label=label)
    axes.set_ylim(0, top or 1.0)  # batches of one pair have no loss but 0
    axes.set_ylabel("loss (nats)", size=BODY_SIZE)
    axes.set_xlabel("step", size=BODY_SIZE)
    axes.set_xlim(step_range(steps, validation_steps))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(labelsize=BODY_SIZE, colors=INK)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    # The legend lies above the chart, at its right end.
    rows = len(levels)
    axes.legend(
        ncols=4 if rows == 1 else 3,
        frameon=False,
        fontsize=BODY_SIZE,
        loc="lower right",
        bbox_to_anchor=(1, 1),
    )

    top_of_legend = CHART_HEIGHT + rows * LEGEND_HEIGHT
    note = _note(entries, batch_size)
    return save(figure, path, "Training", note, left=-LABELS_WIDTH, top=top_of_legend)


def _note(entries: Sequence[Mapping[str, float]], batch_size: int) -> str:
    """Which batches, and where the validation was best, by loss and by recall."""
    note = f"batches of N = {batch_size:,} pairs"
    steps, losses = entry_column(entries, "validation_loss")
    if len(steps):
        lowest = losses.argmin()
        note += f"; lowest validation loss {losses[lowest]:.3f} at step {steps[lowest]:,.0f}"
    steps, recalls = entry_column(entries, "validation_recall_at_1")
    if len(steps):
        highest = recalls.argmax()
        note += f", highest recall {recalls[highest]:.3f} at step {steps[highest]:,.0f}"
    return note


def _levels_of_guessing(
    entries: Sequence[Mapping[str, float]], batch_size: int, loss: str
) -> dict[str, float]:
    """The losses of a model that knows nothing, by what the legend calls them.

    Validation has a level of its own if it is another one: its batches may be smaller,
    or hold equal captions. Entries of early runs do not know it.
    """
    formula = LOSSES[loss].guessing(batch_size)
    _, training = entry_column(entries, "guessing")
    _, validation = entry_column(entries, "validation_guessing")
    level = float(training.mean()) if len(training) else formula
    name = ""
    if abs(level - formula) < SAME_LEVEL:  # few captions are equal, or none
        level = formula
        name = f"{LOSSES[loss].guessing_formula} = "
    levels = {f"knows nothing: {name}{level:.2f}": level}
    if len(validation) and abs(validation[-1] - level) >= SAME_LEVEL:
        levels[f"knows nothing, validation: {validation[-1]:.2f}"] = float(validation[-1])
    return levels


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


def entry_column(entries: Sequence[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
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
