"""What a training prints at its end is true of what it has just done."""

import json
import pathlib
import signal

import pytest
from command_line import SHORT, report_of, run

from clip_np.cli import main, runs
from clip_np.training import METRICS, read_metrics
from clip_np.weights import BEST

QUICK = [option for option in SHORT if option != "--json"]


def test_a_run_that_is_at_its_end_says_that_it_took_no_step(capsys, few_test_shapes, no_pictures):
    output, _ = run(capsys, "train", "--out", "here", *QUICK)
    assert "10 steps in " in output and "% of it waiting for images" in output
    again, _ = run(capsys, "train", "--resume", "here")
    assert "none of them now: --steps, --seconds or --patience moves its end" in again
    assert "waiting" not in again
    longer, _ = run(capsys, "train", "--resume", "here", "--steps", 14)
    assert "14 steps in " in longer and "the last 4, taken now, waited for images" in longer


def hold_out(photos: pathlib.Path) -> None:
    """Make six of the test pairs pairs to validate on."""
    table = photos / "captions.csv"
    text = table.read_text(encoding="utf-8").replace(",test", ",validation", 6)
    table.write_text(text, encoding="utf-8")


def test_a_better_state_than_the_last_is_named(capsys, photos, no_pictures):
    hold_out(photos)
    output, _ = run(capsys, "train", "--data", photos, "--out", "a run", *QUICK)
    assert "did better" not in output  # the last state is the best one
    line = json.loads(pathlib.Path("a run", METRICS).read_text(encoding="utf-8").splitlines()[-1])
    line |= {"validation_recall_at_1": 1.0, "validation_loss": 0.0}
    pathlib.Path("a run", METRICS).write_text(json.dumps(line) + "\n", encoding="utf-8")
    output, _ = run(capsys, "train", "--resume", "a run", "--steps", 12)
    best = pathlib.Path("a run", BEST)
    assert (
        "these are the figures of step 12. In validation, step 10 did better: "
        f"clip-np evaluate '{best}'"
    ) in output
    assert [entry["step"] for entry in read_metrics(pathlib.Path("a run", METRICS))] == [10, 12]


def test_of_equal_recalls_all_name_the_step_of_the_best_file(capsys, photos, no_pictures):
    hold_out(photos)
    run(capsys, "train", "--data", photos, "--out", "here", *QUICK)
    metrics = pathlib.Path("here", METRICS)
    (entry,) = read_metrics(metrics)
    entries = [entry | {"step": step, "validation_loss": 5.0 - step} for step in (1, 2, 3)]
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    run(capsys, "plot", "here", status=1)
    assert " at step 3 (chance" in pathlib.Path("here", "report.html").read_text(encoding="utf-8")
    output, _ = run(capsys, "plot", "here", "here", "--json", status=1)
    assert [result["at_step"] for result in report_of(output)["runs"]] == [3, 3]


def test_other_data_than_a_runs_own_are_measured_whole(capsys, photos, no_pictures, tmp_path):
    table = photos / "captions.csv"
    text = table.read_text(encoding="utf-8").replace(",test", ",train")
    table.write_text(text, encoding="utf-8")  # so that the run holds some out itself
    run(capsys, "train", "--data", photos, "--out", "here", *QUICK)
    held_out = "on the validation split, 2 pairs"
    for data in (photos, table):
        assert held_out in run(capsys, "evaluate", "here", "--data", data)[0]
    moved = photos.rename(tmp_path / "moved")
    assert held_out in run(capsys, "evaluate", "here", "--data", moved)[0]
    header, *rows = text.splitlines()
    for count in (1, 5):
        other = tmp_path / f"other {count}"
        other.mkdir()
        for row in rows[:count]:
            name = row.partition(",")[0]
            (other / f"new {name}").write_bytes((moved / name).read_bytes())
        listed = [header, *(f"new {row}" for row in rows[:count])]
        (other / "captions.csv").write_text("\n".join(listed) + "\n", encoding="utf-8")
        output, _ = run(capsys, "evaluate", "here", "--data", other)
        plural = "" if count == 1 else "s"
        assert f"on all of {other}, {count} pair{plural}:" in output


def test_one_pair_is_one_pair(capsys, photos, no_pictures):
    table = photos / "captions.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    test = [row for row in rows if row.endswith(",test")][:1]
    train = [row for row in rows if row.endswith(",train")][:1]
    table.write_text("\n".join([header, *train, *test]) + "\n", encoding="utf-8")
    output, _ = run(capsys, "train", "--data", photos, "--out", "here", *QUICK)
    assert "weights, 1 pair;" in output
    assert "1 pair measured: says nothing" in output
    assert "too few pairs to judge by" not in output


@pytest.mark.parametrize(("moment", "is_left"), [("_announce", False), ("write_report", True)])
def test_sigterm_outside_of_the_steps_is_as_gentle_as_ctrl_c(
    capsys, photos, no_pictures, monkeypatch, moment, is_left
):
    def end(*arguments):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(runs, moment, end)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", str(photos), "--out", "here", *QUICK])
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert pathlib.Path("here").exists() == is_left  # nothing, or a whole run
    assert not pathlib.Path("here", "run.lock").exists()
