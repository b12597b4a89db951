"""The curve of a training's loss."""

import math
import warnings

import numpy as np
import pytest
from pictures import assert_tidy, draw_loss, lines_of, some_records, texts_of

from clip_np.evaluation import loss_curve

pytest.importorskip("matplotlib")


def test_loss_curve_shows_what_was_recorded(tmp_path, figures):
    draw_loss(tmp_path / "loss.png")
    (axes,) = figures[0].axes
    lines = lines_of(axes)
    np.testing.assert_allclose(
        lines["training"].get_ydata(), [record["loss"] for record in some_records(200)]
    )
    assert list(lines["validation"].get_xdata()) == [0, 50, 100, 150]
    level = lines["knows nothing: ln N = 5.55"]
    assert level.get_ydata()[0] == pytest.approx(math.log(256))
    assert level.get_linestyle() == "--"
    lowest = 5 * math.exp(-1.5) + 0.7
    assert f"lowest validation loss {lowest:.3f} at step 150" in " ".join(texts_of(figures[0]))


def test_nothing_of_the_loss_curve_is_cut_off_or_overlaps(tmp_path, figures):
    path = loss_curve(some_records(200), tmp_path / "loss.png", 32768)
    assert_tidy(figures[0], path)
    (axes,) = figures[0].axes
    assert axes.get_tightbbox().y1 < min(t.get_window_extent().y0 for t in figures[0].texts)


def test_smoothing_is_a_mean_over_a_centred_window(tmp_path, figures):
    rng = np.random.default_rng(0)
    losses = rng.random(500)
    records = [{"step": step, "loss": loss} for step, loss in enumerate(losses)]
    loss_curve(records, tmp_path / "loss.png", 8)
    smooth = lines_of(figures[0].axes[0])["training, smoothed"].get_ydata()
    assert smooth[100] == pytest.approx(losses[90:111].mean())
    assert smooth[0] == pytest.approx(losses[:11].mean())
    assert smooth[-1] == pytest.approx(losses[-11:].mean())


def test_a_step_that_was_repeated_after_a_restart_counts_once(tmp_path, figures):
    records = [{"step": step, "loss": loss} for step, loss in [(2, 3.0), (1, 4.0), (2, 2.0)]]
    loss_curve(records, tmp_path / "loss.png", 8)
    line = lines_of(figures[0].axes[0])["training"]
    assert line.get_xydata().tolist() == [[1, 4], [2, 2]]


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_incomplete_records(tmp_path, figures, count):
    loss_curve([{"step": n, "loss": 2.0} for n in range(count)], tmp_path / "loss.png", 8)
    assert len(lines_of(figures[0].axes[0])["training"].get_xdata()) == count


@pytest.mark.parametrize("records", [[], [{"step": 1, "temperature": 14.0}]])
def test_loss_curve_without_a_loss(tmp_path, records):
    with pytest.raises(ValueError, match=f"none of {len(records)} entries has a 'loss'"):
        loss_curve(records, tmp_path / "loss.png", 8)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_short_runs_have_a_readable_axis(tmp_path, figures, count):
    records = [{"step": step, "loss": 3.0 - step / 10} for step in range(1, count + 1)]
    path = loss_curve(records, tmp_path / "loss.png", 16)
    assert_tidy(figures[0], path)
    (axes,) = figures[0].axes
    first, last = axes.get_xlim()
    assert first < 1 and last > count
    ticks = [tick for tick in axes.get_xticks() if first <= tick <= last]
    assert all(tick == round(tick) for tick in ticks) and ticks
    assert len({f"{tick:.0f}" for tick in ticks}) == len(ticks)
    assert lines_of(axes)["training"].get_marker() == "."


def test_what_guessing_costs_in_a_smaller_validation_split(tmp_path, figures):
    records = [record | {"guessing": math.log(256)} for record in some_records(200)]
    records[50] |= {"validation_guessing": math.log(20), "validation_recall_at_1": 0.25}
    path = loss_curve(records, tmp_path / "loss.png", 256)
    lines = lines_of(figures[0].axes[0])
    assert lines["knows nothing: ln N = 5.55"].get_ydata()[0] == pytest.approx(math.log(256))
    assert lines["knows nothing, validation: 3.00"].get_ydata()[0] == pytest.approx(math.log(20))
    note = " ".join(texts_of(figures[0])).replace("\n", " ")
    assert "highest recall 0.250 at step 50" in note
    assert_tidy(figures[0], path)


def test_what_guessing_costs_where_captions_are_equal(tmp_path, figures):
    records = [record | {"guessing": 1.5} for record in some_records(20)]
    records[0]["validation_guessing"] = 1.5
    loss_curve(records, tmp_path / "loss.png", 256)
    levels = [name for name in lines_of(figures[0].axes[0]) if name.startswith("knows")]
    assert levels == ["knows nothing: 1.50"]


def test_losses_that_are_all_0(tmp_path, figures):
    """Those of batches of one pair."""
    records = [{"step": step, "loss": 0.0, "guessing": 0.0} for step in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_curve(records, tmp_path / "loss.png", 1)
    assert figures[0].axes[0].get_ylim() == (0, 1)
