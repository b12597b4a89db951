"""With which weights does a run begin?

With random ones, of the sizes that a preset names, and with a vocabulary that is
learned from the captions (vocabulary.py). Or the text encoder begins with those of a
published BERT, which has read far more text than any set of captions holds. Then its
sizes and its vocabulary are the published ones, and only the projection to the shared
space is random:

    text_weights    a folder that `load_bert` opens

Training goes on with all weights, those of the text encoder too.
"""

import dataclasses

import numpy as np

from clip_np.data import Pairs
from clip_np.encoders import CLIPConfig, choose_encoders
from clip_np.losses import LOSSES
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.options import TrainingOptions
from clip_np.training.vocabulary import fit_context, train_tokenizer
from clip_np.weights import load_bert


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
    projection = {"text_projection": model.text.text_projection.data}
    model.text.load_state_dict(bert.state_dict() | projection)
    return model, tokenizer
