"""What a run cannot use is listed once, whatever interrupts it; waiting is measured."""

import json

import pytest
from small_runs import numbers_of, trainer_of, write_pairs

from clip_np.training import METRICS, FilesTask, read_metrics
from clip_np.training.bad_samples import BAD_SAMPLES, BadSamples

pytestmark = pytest.mark.usefixtures("small")


def test_bad_samples_are_listed_once_also_by_a_resumed_run(tmp_path):
    folder = write_pairs(tmp_path / "pairs", ["train"] * 24 + ["validation"] * 4, bad=(3, 8))
    task = FilesTask(folder, skip_bad=True)
    directory = tmp_path / "run"
    trainer = trainer_of(task, directory, steps=10, data_workers=0)
    result = trainer.run()
    lines = (directory / BAD_SAMPLES).read_text().splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == sorted(trainer.loader.skipped)
    assert len(lines) == 2 and all("cannot be read" in line for line in lines)
    assert 0 <= result["waited"] <= 1
    assert all(0 <= entry["waited"] <= 1 for entry in read_metrics(directory / METRICS))
    trainer_of(task, tmp_path / "same", steps=10, data_workers=1).run()
    assert numbers_of(directory) == numbers_of(tmp_path / "same")
    resumed = trainer_of(task, directory, resume=True, steps=20, data_workers=0)
    resumed.run()
    assert (directory / BAD_SAMPLES).read_text().splitlines() == lines
    # A new run in the directory moves the list aside, with the rest.
    trainer_of(FilesTask(folder, skip_bad=True), directory, steps=1).run()
    assert (directory / "earlier.1" / BAD_SAMPLES).read_text().splitlines() == lines


def test_odd_names_and_a_line_that_was_cut_short(tmp_path):
    path = tmp_path / BAD_SAMPLES
    samples = BadSamples(path)
    samples.write([])
    assert not path.exists()
    odd = ["a\nb.png: bad", "\udcff.png: bad", "größe.png: bad", "größe.png: bad"]
    samples.write(odd)
    lines = ["a\\x0ab.png: bad", "\\udcff.png: bad", "größe.png: bad"]
    assert path.read_text(encoding="utf-8").splitlines() == lines
    with open(path, "ab") as file:
        file.write(b"c.png: ba")  # killed in the middle of it
    BadSamples(path).write([*odd, "c.png: bad"])
    assert path.read_text(encoding="utf-8").splitlines() == [*lines, "c.png: bad"]


def test_metrics_say_how_long_steps_waited(tmp_path, task):
    trainer = trainer_of(task, tmp_path, steps=20)
    batches = trainer.loader.batches

    def slowly(*steps, **named):
        for batch in batches(*steps, **named):
            trainer.loader.wait_seconds += 1000.0
            yield batch

    trainer.loader.batches = slowly
    trainer.run()
    entries = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert all(entry["waited"] > 100 for entry in entries)
