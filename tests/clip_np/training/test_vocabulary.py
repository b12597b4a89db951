"""The tokenizer of a run fits its captions."""

import dataclasses

import pytest
from small_runs import MICRO, trainer_of, write_pairs

from clip_np.encoders import PRESETS
from clip_np.training import FilesTask, TrainingWarning, train_tokenizer

pytestmark = pytest.mark.usefixtures("small")


def test_captions_are_cut_at_the_context_of_the_preset(tmp_path, monkeypatch):
    text = dataclasses.replace(MICRO.text, context_length=6)
    monkeypatch.setitem(PRESETS, "micro", dataclasses.replace(MICRO, text=text))
    task = FilesTask(write_pairs(tmp_path / "data", ["train"] * 20))
    with pytest.warns(TrainingWarning, match="100% of the captions are longer than 6 tokens"):
        trainer = trainer_of(task, tmp_path, vocab_size=514)
    assert trainer.tokenizer.context_length == trainer.model.config.text.context_length == 6


def test_tags_leave_room_for_themselves(tmp_path):
    folder = write_pairs(tmp_path / "data", ["train"] * 20)
    plain = train_tokenizer(FilesTask(folder).train, 600, 77)
    table = (folder / "captions.csv").read_text(encoding="utf-8").splitlines()
    tagged = [table[0] + ",tags", *(line + ',"zebra, quagga"' for line in table[1:])]
    (folder / "captions.csv").write_text("\n".join(tagged), encoding="utf-8")
    task = FilesTask(folder)
    tokenizer = train_tokenizer(task.train, 600, 77)
    assert tokenizer.context_length == plain.context_length + 8
    assert len(tokenizer.encode("zebra")) == 1
    assert task.settings["tag_probability"] > 0
    plain = FilesTask(write_pairs(tmp_path / "plain", ["train"] * 9))
    assert "tag_probability" not in plain.settings
