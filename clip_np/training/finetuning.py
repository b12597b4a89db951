"""How does a run begin with a model that others have trained?

    init            any model that `load` opens: a run, a folder of Hugging Face's, a
                    file of weights, a name on the hub
    freeze          "image" or "text": this encoder keeps its weights
    text            a new text encoder of this kind, with the sizes of the old one,
                    takes its place
    text_weights    a published BERT takes its place

The model comes with all that belongs to it: its sizes, its tokenizer with the context
length, and the mean, deviation and form of its images. The run feeds it what it was
trained with, and saves all of it. A frozen encoder is used as in evaluation: the
running statistics of a ResNet's batch norms stay as they are, too.

*Locked-image tuning* is `freeze="image"` together with `text` or `text_weights`. The
image encoder knows images already, and a text encoder learns to name what it sees.
Nothing of the old text encoder is left, so the temperature is new, too.

*How fast?* A learning rate for new models destroys in a few steps what a trained one
knows. The larger the model, the smaller the steps have to be:

    rate = 1e-5 (768 / W)^2           W: the width of the wider encoder

For ViT-B/32 that is the usual 1e-5 of CLIP's fine-tuning, and for the preset `small`
3.6e-4. Between the two it is a rule of thumb. `learning_rate` replaces it.

*Which model was it?* `run.json` and the checkpoint name the source and a fingerprint of
its weights. To go on with the run, the source is not needed: the checkpoint holds all
weights, the frozen ones too.

Zhai et al. 2022, "LiT: Zero-Shot Transfer with Locked-image text Tuning",
arXiv:2111.07991; Dong et al. 2022, arXiv:2212.06138 (fine-tuning rates).
"""

import dataclasses
import hashlib
import os
from typing import Any

import numpy as np

from clip_np.data import Pairs
from clip_np.encoders import BertEncoder, CLIPConfig, TextConfig
from clip_np.losses import LOSSES
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer, TokenizerProtocol
from clip_np.training.options import TrainingOptions
from clip_np.training.vocabulary import fit_context, train_tokenizer
from clip_np.training.watch import warn_of_truncation
from clip_np.weights import Loaded, load, load_bert
from minigrad.backend import array_module, move
from minigrad.nn import Module, Parameter

BASE_RATE = 1e-5
"""The highest learning rate for an encoder of BASE_WIDTH."""

BASE_WIDTH = 768
"""The width of ViT-B, in numbers of a token."""

ENCODER_OF = {"image": "vision", "text": "text"}
"""What users call an encoder -> its name in the model."""


def fine_tuning_rate(config: CLIPConfig) -> float:
    """The highest learning rate for a model of these sizes, if nobody chooses one.

    >>> from clip_np.encoders import PRESETS
    >>> fine_tuning_rate(PRESETS["ViT-B/32"])
    1e-05
    >>> round(fine_tuning_rate(PRESETS["small"]), 6)
    0.00036
    """
    width = max(config.vision.width, config.text.width)
    return BASE_RATE * (BASE_WIDTH / width) ** 2


def settled_options(options: TrainingOptions, config: CLIPConfig) -> TrainingOptions:
    """The options with the rate for a model of these sizes, if nobody chose one."""
    if options.learning_rate is not None:
        return options
    return dataclasses.replace(options, learning_rate=fine_tuning_rate(config))


def open_init(options: TrainingOptions) -> tuple[Loaded, dict[str, Any]]:
    """The model that `init` names, in arrays of its own, and where it came from.

    Arrays that are parts of a mapped file are copied: the file may change while the run
    goes on. The second result has "source" and "fingerprint".
    """
    assert options.init is not None
    loaded = load(options.init)
    for tensor in [*loaded.model.parameters(), *dict(loaded.model.named_buffers()).values()]:
        tensor.data = array_module(tensor.data).array(tensor.data)
    is_on_disk = os.path.exists(options.init)  # if not, it is a name on a hub
    source = os.path.abspath(options.init) if is_on_disk else options.init
    return loaded, {"source": source, "fingerprint": fingerprint(loaded.model)}


def fingerprint(model: Module) -> str:
    """SHA-256 of all weights with their names: equal for equal models.

    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> before = fingerprint(model)
    >>> model.logit_scale.data += 0.1
    >>> before == fingerprint(model), len(before)
    (False, 64)
    """
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(f"{name} {tensor.shape} {tensor.dtype}\n".encode())
        digest.update(move(tensor.data, "numpy").tobytes())
    return digest.hexdigest()


def model_from_init(
    loaded: Loaded, pairs: Pairs, options: TrainingOptions
) -> tuple[CLIP, TokenizerProtocol]:
    """The model that a run begins with, and its tokenizer.

    FileNotFoundError if the model came without the vocabulary that it needs.
    """
    if options.text is None and options.text_weights is None:
        model, tokenizer = loaded.model, loaded.tokenizer
        if isinstance(tokenizer, MissingTokenizer):
            raise FileNotFoundError(tokenizer.message)
        lengths = tokenizer.lengths(list(pairs.captions))  # (N,)
        warn_of_truncation(lengths, tokenizer.context_length)
    else:
        model, tokenizer = _with_new_text(loaded.model, pairs, options)
    _add_bias(model, options.loss)
    return model, tokenizer


def _with_new_text(
    old: CLIP, pairs: Pairs, options: TrainingOptions
) -> tuple[CLIP, TokenizerProtocol]:
    """The image encoder of a model beside a text encoder that is not its own."""
    bert: BertEncoder | None = None
    tokenizer: TokenizerProtocol
    if options.text_weights is not None:
        sentences, tokenizer = load_bert(options.text_weights)
        fit_context(tokenizer, pairs, tokenizer.context_length)
        bert = sentences.encoder
        config = dataclasses.replace(old.config, text=bert.config, logit_bias=None)
    else:
        assert options.text is not None
        text = text_of_kind(old.config.text, options.text)
        tokenizer = train_tokenizer(
            pairs=pairs,
            vocab_size=options.vocab_size,
            context_limit=text.context_length,
            kind=text.kind,
        )
        config = dataclasses.replace(old.config, text=text, logit_bias=None)
        config = config.for_tokenizer(tokenizer)
    model = CLIP(config, np.random.default_rng(options.seed))
    model.vision = old.vision
    if bert is not None:
        copy_bert(bert, model)
    return model, tokenizer


def copy_bert(bert: BertEncoder, model: CLIP) -> None:
    """Give the text encoder of a model the weights of a BERT with the same sizes.

    A BERT alone has no projection to the space of images; that of the model stays.
    """
    projection = {"text_projection": model.text.text_projection.data}
    model.text.load_state_dict(bert.state_dict() | projection)


def text_of_kind(text: TextConfig, kind: str) -> TextConfig:
    """A text encoder of a kind, new, with the sizes of another one.

    >>> from clip_np.encoders import PRESETS
    >>> new = text_of_kind(PRESETS["tiny"].text, "bert")
    >>> new.kind, new.width, new.activation
    ('bert', 64, 'gelu')
    """
    return TextConfig(
        kind=kind,
        vocab_size=text.vocab_size,
        context_length=text.context_length,
        width=text.width,
        layers=text.layers,
        heads=text.heads,
        mlp_width=text.mlp_width,
    )


def _add_bias(model: CLIP, loss: str) -> None:
    """Give the model the bias that its loss needs, if it has none."""
    bias = LOSSES[loss].initial_logit_bias
    if bias is not None and model.config.logit_bias is None:
        model.config = dataclasses.replace(model.config, logit_bias=bias)
        model.logit_bias = Parameter(np.asarray(bias, np.float32))
