"""With which weights does a run begin?

There are four ways:

    a new model     random weights, of the sizes that `preset` names, and a vocabulary
                    that is learned from the captions (vocabulary.py)
    text_weights    a new model, whose text encoder is a published BERT
    init            a model that was trained before (finetuning.py)
    a checkpoint    a run goes on

A published BERT has read far more text than any set of captions holds. Its sizes and
its vocabulary come with it, and only the projection to the shared space is random. All
weights learn, unless `freeze` names an encoder that keeps its own.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from clip_np.data import Pairs, Preprocess
from clip_np.encoders import CLIPConfig, choose_encoders
from clip_np.losses import LOSSES
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.finetuning import (
    ENCODER_OF,
    copy_bert,
    model_from_init,
    open_init,
    settled_options,
)
from clip_np.training.options import TrainingOptions
from clip_np.training.parameter_groups import parameter_groups
from clip_np.training.saved import SavedTraining
from clip_np.training.vocabulary import fit_context, train_tokenizer
from clip_np.weights import Checkpoint, load_bert
from minigrad.half import store_in_half
from minigrad.optim import AdamW

ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6
"""As published for CLIP with a vision transformer: arXiv:2103.00020, table 18."""


class Start(NamedTuple):
    """What a run begins with, or goes on with.

    preprocess None means that of models that are new. origin says which model was
    `init`, see `SavedTraining`. options are settled. rounding is what frozen weights
    lost when they were stored as float16, see `store_in_half`.
    """

    model: CLIP
    tokenizer: TokenizerProtocol
    preprocess: Preprocess | None
    origin: dict[str, Any] | None
    options: TrainingOptions
    rounding: float


def make_start(pairs: Pairs, options: TrainingOptions, checkpoint: Checkpoint | None) -> Start:
    """What a run begins with: one of the four ways above.

    The encoder that `freeze` names is frozen.
    """
    preprocess, origin = None, None
    if checkpoint is not None:
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        preprocess = checkpoint.preprocess
        origin = SavedTraining.of(checkpoint.training).init
    elif options.init is not None:
        loaded, origin = open_init(options)
        model, tokenizer = model_from_init(loaded, pairs, options)
        preprocess = dataclasses.replace(loaded.preprocess, convert_first=True)
    else:
        model, tokenizer = new_model(pairs, options)
    rounding = 0.0
    if options.freeze is not None:
        encoder = ENCODER_OF[options.freeze]
        model.freeze(encoder)
        if options.frozen_dtype == "float16":
            rounding = store_in_half(getattr(model, encoder))
    return Start(
        model=model,
        tokenizer=tokenizer,
        preprocess=preprocess,
        origin=origin,
        options=settled_options(options, model.config),
        rounding=rounding,
    )


def new_optimizer(model: CLIP, options: TrainingOptions) -> AdamW:
    """The optimizer of a run, for those parameters that learn."""
    new_encoders = ("text",) if options.text is not None else ()
    return AdamW(
        parameter_groups(model, options.layer_decay, new_encoders),
        lr=options.highest_rate,
        betas=ADAM_BETAS,
        eps=ADAM_EPS,
        weight_decay=options.weight_decay,
    )


def new_model(pairs: Pairs, options: TrainingOptions) -> tuple[CLIP, TokenizerProtocol]:
    """An untrained model of the preset, and the tokenizer that its captions need."""
    if options.text_weights is not None:
        return _model_with_bert(pairs, options, options.text_weights)
    config = _chosen_sizes(options, text=options.text)
    tokenizer = train_tokenizer(
        pairs=pairs,
        vocab_size=options.vocab_size,
        context_limit=config.text.context_length,
        kind=config.text.kind,
    )
    rng = np.random.default_rng(options.seed)
    return CLIP(config.for_tokenizer(tokenizer), rng), tokenizer


def _chosen_sizes(options: TrainingOptions, text: str | None) -> CLIPConfig:
    """The preset with the chosen encoders, and with the bias that the loss needs."""
    config = choose_encoders(options.preset, vision=options.vision, text=text)
    return dataclasses.replace(config, logit_bias=LOSSES[options.loss].initial_logit_bias)


def _model_with_bert(
    pairs: Pairs, options: TrainingOptions, folder: str
) -> tuple[CLIP, TokenizerProtocol]:
    """A model whose text encoder is the BERT in a folder, and its tokenizer."""
    sentences, tokenizer = load_bert(folder)
    fit_context(tokenizer, pairs, tokenizer.context_length)
    bert = sentences.encoder
    config = _chosen_sizes(options, text=None)
    config = dataclasses.replace(config, text=bert.config)
    model = CLIP(config, np.random.default_rng(options.seed))
    copy_bert(bert, model)
    return model, tokenizer
