"""Tasks: what is trained on, what is held out, what is looked at only at the end."""

import pathlib

import pytest
from small_runs import trainer_of, write_pairs

from clip_np.data import DataError, shapes
from clip_np.training import FilesTask, ShapesTask, open_task
from clip_np.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("small")


class Untouchable(dict):
    """Stands for the test split: whoever looks at it during training is caught."""

    def __getitem__(self, kind):
        raise AssertionError("the test split was used")


def test_shapes_are_trained_on_without_validation_and_test(tmp_path, monkeypatch):
    task = ShapesTask(0)
    trained = {task.train.open_image(row).tobytes() for row in range(len(task.train))}
    held = {task.validation.open_image(row).tobytes() for row in range(len(task.validation))}
    assert len(trained) == 256
    assert len(held) == 64
    assert not trained & held
    assert not any(
        f"{colour} {shape}" in caption
        for caption in task.train.captions + task.validation.captions
        for colour, shape in shapes.HELD_OUT
    )
    task.splits = Untouchable()
    trainer = trainer_of(task, tmp_path, validate_every=10)
    seen = set()
    get = trainer.loader.kept.get  # asked for each image before it is decoded
    monkeypatch.setattr(trainer.loader.kept, "get", lambda name: (seen.add(name), get(name))[1])
    trainer.run()
    assert trainer.loader.pairs is task.train
    assert seen <= set(task.train.names)
    assert len(seen) > 200
    with pytest.raises(AssertionError, match="the test split was used"):
        task.report(trainer.model, trainer.tokenizer)


def test_another_seed_draws_other_shapes_but_the_same_test():
    one, two = ShapesTask(0), ShapesTask(1)
    assert one.train.captions != two.train.captions
    assert (one.splits["all"].images == two.splits["all"].images).all()
    only_test = ShapesTask(0, training=False)
    assert only_test.train is only_test.validation is None
    assert (only_test.splits["all"].images == one.splits["all"].images).all()


def test_files_are_trained_on_without_validation_and_test(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 24 + ["validation"] * 6 + ["test"] * 7)
    task = FilesTask(folder)
    for row in range(30, 37):
        (folder / f"{row}.png").unlink()  # reading a test image would be an error now
    trainer = trainer_of(task, tmp_path / "run", batch_size=8, validate_every=10)
    trainer.run()
    assert [len(pairs) for pairs in (task.train, task.validation, task.test)] == [24, 6, 7]
    assert task.measured_on == "the test split, 7 pairs"
    with pytest.raises(DataError, match=r"3\d\.png"):
        task.report(trainer.model, trainer.tokenizer)


def test_some_pairs_are_held_out_where_none_are_marked(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 40)
    task = FilesTask(folder, seed=3)
    assert (len(task.train), len(task.validation)) == (38, 2)
    assert not set(task.train.names) & set(task.validation.names)
    assert task.test is task.validation
    assert task.measured_on == "the validation split, 2 pairs"
    again = open_task(task.source)
    assert again.validation.names == task.validation.names
    assert again.train.captions == task.train.captions


def test_too_few_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="too few pairs to hold any out"):
        FilesTask(write_pairs(tmp_path / "data", ["train"]))


def test_unreadable_images_are_counted_when_they_may_be_skipped(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 20 + ["validation"] * 5, bad=(3, 11))
    trainer = trainer_of(FilesTask(folder), tmp_path / "run", steps=10)
    with pytest.raises(DataError, match=r"(3|11)\.png"):
        trainer.run()
    trainer = trainer_of(FilesTask(folder, skip_bad=True), tmp_path / "run", steps=10)
    assert trainer.run()["steps"] == 10
    assert sorted(pathlib.Path(name).name for name in trainer.loader.skipped) == ["11.png", "3.png"]
    resumed = read_checkpoint(tmp_path / "run").training["source"]
    assert resumed["skip_bad"] is True


def test_images_that_are_left_out_count_in_no_figure_and_in_no_chance(tmp_path):
    splits = ["train"] * 20 + ["validation"] * 5 + ["test"] * 4
    folder = write_pairs(tmp_path / "data", splits, bad=(25, 26))
    task = FilesTask(folder, skip_bad=True)
    trainer = trainer_of(task, tmp_path / "run")
    measured = task.measure(trainer.model, trainer.tokenizer)
    assert measured.figures["pairs"] == 2
    assert measured.chance["recall_at_1"] == 0.5
    assert measured.chance.keys() == measured.figures.keys() - {"pairs", "distinct_captions"}
    assert measured.intervals.keys() <= measured.chance.keys()
