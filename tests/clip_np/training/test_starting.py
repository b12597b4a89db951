"""Runs that begin with a BERT: with a vocabulary of their own, or with its weights."""

import numpy as np
import pytest
from bert_folders import encoder, write_folder
from small_runs import MICRO, numbers_of, trainer_of

from clip_np.encoders import presets
from clip_np.tokens import WordPieceTokenizer
from clip_np.training import TrainingOptions, read_run

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def bert_preset(monkeypatch):
    micro = presets.as_bert(MICRO.text)
    monkeypatch.setitem(presets.OTHER_TEXT_ENCODERS["bert"], "micro", micro)


@pytest.fixture
def bert_folder(tmp_path):
    return write_folder(tmp_path / "bert")


@pytest.mark.usefixtures("bert_preset")
def test_a_run_with_a_bert_stops_and_goes_on(task, tmp_path):
    whole = trainer_of(task, tmp_path / "whole", text="bert")
    assert isinstance(whole.tokenizer, WordPieceTokenizer)
    assert whole.model.config.text.kind == "bert"
    assert whole.tokenizer.vocab_size == whole.model.config.text.vocab_size <= 560
    whole.run()
    half = trainer_of(task, tmp_path / "half", text="bert", steps=12)
    half.run()
    resumed = trainer_of(task, tmp_path / "half", resume=True, text="bert")
    assert (resumed.step, resumed.tokenizer.pieces) == (12, whole.tokenizer.pieces)
    resumed.run()
    assert numbers_of(tmp_path / "half").keys() == numbers_of(tmp_path / "whole").keys()
    assert read_run(tmp_path / "half").model.config == whole.model.config


def test_a_run_begins_with_published_weights(task, tmp_path, bert_folder):
    trainer = trainer_of(task, tmp_path / "run", text_weights=str(bert_folder))
    text = trainer.model.text
    assert (text.config.kind, text.config.width, text.config.layers) == ("bert", 8, 2)
    assert text.text_projection.shape == (8, MICRO.embed_dim)
    expected = encoder().state_dict()
    for path, array in expected.items():
        np.testing.assert_array_equal(dict(text.named_parameters())[path].data, array)
    assert trainer.tokenizer.pieces[-3] == "red"
    assert trainer.tokenizer.context_length <= text.config.context_length == 12
    trainer.run()
    again = read_run(tmp_path / "run")
    assert again.model.config == trainer.model.config
    moved = dict(again.model.text.named_parameters())["positional_embedding"].data
    assert not np.array_equal(moved, expected["positional_embedding"])
    (bert_folder / "model.safetensors").unlink()  # is not needed to go on
    trainer_of(task, tmp_path / "run", resume=True, text_weights=str(bert_folder))


def test_weights_and_a_kind_that_contradict_each_other(bert_folder):
    with pytest.raises(ValueError, match="`text_weights` are a BERT's, but `text` is 'gpt'"):
        TrainingOptions(text="gpt", text_weights=str(bert_folder))
    # The weights bring the sizes along, so the preset needs no BERT of its own.
    TrainingOptions(preset="tutorial", text="bert", text_weights=str(bert_folder))
