"""A CLIP of a few seconds, for the steps that look inside one.

`train` is the loop of examples/train_by_hand.py, for fewer steps.
"""

import numpy as np

import minigrad as mg
from clip_np import CLIP, PRESETS, Tokenizer
from clip_np.data import shapes, to_model_input
from clip_np.training import training_step

BATCH_SIZE = 64
PAIRS = 5000


def train(steps):
    """A tiny model of the shapes, and its tokenizer."""
    rng = np.random.default_rng(0)
    images, captions = shapes.training_pairs(PAIRS, rng)  # images: (PAIRS, 32, 32, 3)
    tokenizer = Tokenizer.train(captions, vocab_size=600)
    tokens = tokenizer(captions)  # (PAIRS, T)
    model = CLIP(PRESETS["tiny"].for_tokenizer(tokenizer), rng)
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = rng.choice(PAIRS, size=BATCH_SIZE, replace=False)
        training_step(model, optimizer, to_model_input(images[rows]), tokens[rows])
    return model, tokenizer
