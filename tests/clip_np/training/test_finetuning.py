"""Runs that begin with a trained model: what they keep, freeze, replace and save."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from bert_folders import write_folder
from small_runs import MICRO, numbers_of

from clip_np import CLIP, Tokenizer, load
from clip_np.data import Preprocess, to_model_input
from clip_np.encoders import PRESETS
from clip_np.training import Trainer, TrainingOptions, read_run
from clip_np.training.finetuning import fingerprint
from clip_np.training.reporting import load_validation
from clip_np.weights import convert, read_checkpoint, save_pretrained

pytestmark = pytest.mark.usefixtures("small")

HALF = (0.5, 0.5, 0.5)
WHOLE = Preprocess(size=32, mean=HALF, std=HALF, squash=True)


@pytest.fixture
def published(tmp_path, task):
    """A folder as transformers writes it: with a vocabulary and colours of its own."""
    tokenizer = Tokenizer.train(list(task.train.captions), 560)
    tokenizer.context_length = 30
    model = CLIP(MICRO.for_tokenizer(tokenizer), np.random.default_rng(5))
    folder = tmp_path / "published"
    save_pretrained(model, folder, tokenizer=tokenizer, preprocess=WHOLE)
    return folder


def begin(task, directory, resume=False, **choices) -> Trainer:
    settings = {"steps": 8, "batch_size": 16, "workers": 2, **choices}
    options = TrainingOptions.of({"preset": "micro", "learning_rate": 9.0}, **settings)
    checkpoint = read_checkpoint(directory) if resume else None
    return Trainer(task, options, directory, checkpoint=checkpoint)


def weights(model) -> dict[str, np.ndarray]:
    return model.state_dict()


def changed(before, after) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_a_run_keeps_all_that_belongs_to_the_model(task, tmp_path, published):
    trainer = begin(task, tmp_path / "run", init=str(published))
    before = load(published)
    assert trainer.model.config == before.model.config
    assert trainer.tokenizer.context_length == 30
    assert changed(weights(before.model), weights(trainer.model)) == set()
    batch = next(trainer.loader.batches(0, 1))
    pixels = np.round((batch.images * 0.5 + 0.5) * 255)
    np.testing.assert_allclose(batch.images, (pixels / 255 - 0.5) / 0.5, atol=1e-5)
    trainer.run()
    assert changed(weights(before.model), weights(trainer.model)) == set(weights(before.model))
    after = load(tmp_path / "run")
    assert after.preprocess == dataclasses.replace(WHOLE, convert_first=True)
    assert after.tokenizer.to_json() == before.tokenizer.to_json()


def test_the_model_is_measured_with_its_own_colours(task, tmp_path, published):
    trainer = begin(task, tmp_path / "run", init=str(published))
    validation = load_validation(trainer, trainer.loader)
    figures = validation.measure(trainer.model, trainer.tokenizer, trainer.loss)
    validation.preprocess = None
    others = validation.measure(trainer.model, trainer.tokenizer, trainer.loss)
    assert figures["validation_loss"] != others["validation_loss"]
    np.testing.assert_array_equal(
        WHOLE.normalise(validation.images), to_model_input(validation.images, HALF, HALF)
    )


def test_the_run_says_with_which_model_it_began(task, tmp_path, published):
    trainer = begin(task, tmp_path / "run", init=str(published))
    trainer.run()
    expected = {"source": str(published), "fingerprint": fingerprint(load(published).model)}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["init"] == expected
    assert read_run(tmp_path / "run").training["init"] == expected


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"freeze": "image"},
        {"freeze": "text", "loss": "sigmoid"},
        {"freeze": "image", "text": "gpt", "vocab_size": 540},
        {"freeze": "image", "text": "bert", "vocab_size": 540},
        {"layer_decay": 0.5},
        {"freeze": "image", "layer_decay": 0.5, "frozen_dtype": "float16"},
        {"freeze": "text", "shards": 4, "frozen_dtype": "float16"},
    ],
    ids=str,
)
def test_a_stopped_run_goes_on_bit_for_bit_without_the_model(task, tmp_path, published, choices):
    begin(task, tmp_path / "whole", init=str(published), **choices).run()
    half = begin(task, tmp_path / "half", init=str(published), **choices)
    take_step = half.take_step
    calls = []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return take_step(*arguments)

    half.take_step = stopping
    with pytest.raises(KeyboardInterrupt):
        half.run()
    shutil.rmtree(published)  # the checkpoint holds all weights
    resumed = begin(task, tmp_path / "half", resume=True, init=str(published), **choices)
    assert resumed.step == 4
    resumed.run()
    assert numbers_of(tmp_path / "half") == numbers_of(tmp_path / "whole")


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("freeze, encoder", [("image", "vision."), ("text", "text.")])
def test_what_is_frozen_stays_as_it_is(task, tmp_path, published, freeze, encoder, shards):
    trainer = begin(task, tmp_path / "run", init=str(published), freeze=freeze, shards=shards)
    before = weights(trainer.model)
    trainer.run()
    moved = changed(before, weights(trainer.model))
    assert moved == {name for name in before if not name.startswith(encoder)}
    saved = read_run(tmp_path / "run")
    assert saved.optimizer_state["group0.moment0"].size < sum(
        parameter.size for parameter in trainer.model.parameters()
    )


def test_a_locked_image_encoder_gets_a_new_text_encoder(task, tmp_path, published):
    choices = {"freeze": "image", "text": "gpt", "vocab_size": 530}
    trainer = begin(task, tmp_path / "run", init=str(published), **choices)
    old = load(published).model
    assert trainer.tokenizer.vocab_size == trainer.model.config.text.vocab_size <= 530
    for path, parameter in trainer.model.vision.named_parameters():
        np.testing.assert_array_equal(parameter.data, old.vision.state_dict()[path])
    new = trainer.model.text.state_dict()["text_projection"]
    assert not np.array_equal(new, old.text.state_dict()["text_projection"])
    assert trainer.model.config.text.width == old.config.text.width
    trainer.run()


def test_a_locked_image_encoder_beside_a_published_bert(task, tmp_path, published):
    folder = write_folder(tmp_path / "bert")
    choices = {"freeze": "image", "text_weights": str(folder)}
    trainer = begin(task, tmp_path / "run", init=str(published), **choices)
    assert trainer.model.config.text.kind == "bert"
    trainer.run()


def test_layers_learn_at_rates_that_rise_with_their_depth(task, tmp_path, published):
    choices = {"layer_decay": 0.5, "learning_rate": 1e-3, "weight_decay": 0.0, "steps": 1}
    trainer = begin(task, tmp_path / "run", init=str(published), **choices)
    before = weights(trainer.model)
    trainer.run()
    after = weights(trainer.model)
    # In AdamW's first step every number with a gradient moves by its rate.
    moves = {name: np.abs(after[name] - before[name]).max() for name in before}
    block = "text.transformer.resblocks.0.mlp.c_fc.weight"
    ratios = [moves[name] / moves["text.text_projection"] for name in (block,)]
    np.testing.assert_allclose(ratios, 0.5, rtol=0.02)
    ratio = moves["vision.conv1.weight"] / moves["vision.proj"]
    np.testing.assert_allclose(ratio, 0.25, rtol=0.02)


def test_a_model_for_one_loss_is_trained_with_the_other(task, tmp_path, published):
    trainer = begin(task, tmp_path / "run", init=str(published), loss="sigmoid")
    assert trainer.model.config.logit_bias == trainer.model.logit_bias.item()
    trainer.run()
    again = begin(task, tmp_path / "again", init=str(tmp_path / "run"), loss="clip")
    assert again.model.config == trainer.model.config
    again.run()


@pytest.mark.parametrize("layout", ["hf", "openai"])
def test_a_fine_tuned_model_goes_back_in_the_form_it_came(task, tmp_path, published, layout):
    begin(task, tmp_path / "run", init=str(published)).run()
    target = tmp_path / ("back" if layout == "hf" else "back.safetensors")
    convert(tmp_path / "run", target, layout=layout)
    before, after, run = load(published), load(target), load(tmp_path / "run")
    assert after.model.config == before.model.config
    assert changed(weights(run.model), weights(after.model)) == set()
    assert (after.preprocess.mean, after.preprocess.squash) == (HALF, True)
    if layout == "hf":
        for name in ("config.json", "vocab.json", "merges.txt"):
            assert (target / name).read_bytes() == (published / name).read_bytes()


def test_the_learning_rate_suits_the_size_of_the_model(task, tmp_path, published):
    trainer = begin(task, tmp_path / "run", init=str(published))
    assert trainer.options.learning_rate == pytest.approx(1e-5 * (768 / 16) ** 2)
    chosen = begin(task, tmp_path / "run", init=str(published), learning_rate=1e-4)
    assert chosen.options.learning_rate == 1e-4


def test_a_model_without_its_vocabulary_is_refused(task, tmp_path, published):
    (published / "vocab.json").unlink()
    for name in ("merges.txt", "tokenizer.json"):
        (published / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="the texts of this model need a vocabulary"):
        begin(task, tmp_path / "run", init=str(published))
    assert not (tmp_path / "run").exists()
    # A new text encoder brings a vocabulary of its own.
    begin(task, tmp_path / "run", init=str(published), freeze="image", text="gpt")


@pytest.mark.parametrize(
    "choices, message",
    [
        ({"preset": "tiny"}, "`init` brings its sizes: leave `preset` out"),
        ({"vision": "vit"}, "`init` brings its image encoder: leave `vision` out"),
        ({"freeze": "both"}, "`freeze` must be image or text, got 'both'"),
        ({"freeze": "text", "text": "gpt"}, "a new text encoder has to learn"),
        ({"init": None, "freeze": "text"}, "`freeze` and `layer_decay` are for weights that were"),
        ({"init": None, "layer_decay": 0.7}, "pass `init`"),
        ({"layer_decay": 0.0}, "`layer_decay` must be positive"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"frozen_dtype": "float16"}, "`frozen_dtype` is for weights that stay as they are"),
        ({"freeze": "text", "frozen_dtype": "bfloat16"}, "`frozen_dtype` must be one of float32"),
        ({"text": "rnn"}, "`text` must be one of gpt, bert, got 'rnn'"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(choices, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions.of({}, **{"init": "somewhere", **choices})


def test_options_of_a_saved_run_are_accepted_again():
    options = TrainingOptions.of({"preset": "small", "text": "bert"}, init="somewhere")
    assert (options.preset, options.text, options.learning_rate) == ("tiny", None, None)
    assert TrainingOptions.of(dataclasses.asdict(options)) == options
    assert "tiny" in PRESETS
