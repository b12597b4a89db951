"""What does a training loop do? CLIP learns drawings of shapes, each step in sight.

    python examples/train_by_hand.py

The loss falls from 5.3 (guessing is ln 128 = 4.9) to 0.8, and the recall at the end is
about 0.75 (guessing is 0.01). It takes a minute on two cores. `clip-np train` does it
with more care: it shares work, varies the learning rate, validates, saves and draws.
"""

import numpy as np

import minigrad as mg
from clip_np import CLIP, PRESETS, Tokenizer
from clip_np.data import shapes, to_model_input
from clip_np.evaluation import embed_images, embed_texts, retrieval_metrics
from clip_np.losses import MAX_LOGIT_SCALE, contrastive_loss

BATCH_SIZE = 128
PAIRS = 20_000


def train(steps, pairs=PAIRS, seed=0):
    """Train for `steps` steps and return the model and its tokenizer."""
    rng = np.random.default_rng(seed)
    images, captions = shapes.training_pairs(pairs, rng)  # images: (pairs, 32, 32, 3)
    tokenizer = Tokenizer.train(captions, vocab_size=600)
    tokens = tokenizer(captions)  # (pairs, T)
    config = PRESETS["tiny"].for_tokenizer(tokenizer)
    model = CLIP(config, rng)
    optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)

    for step in range(steps):
        rows = rng.choice(pairs, size=BATCH_SIZE, replace=False)
        image_features = model.encode_image(to_model_input(images[rows]))  # (B, E)
        text_features = model.encode_text(tokens[rows])  # (B, E)
        loss = contrastive_loss(image_features, text_features, model.logit_scale)

        loss.backward()
        mg.optim.clip_grad_norm(model.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        scale = model.logit_scale.data  # the logarithm of the factor
        np.clip(scale, 0.0, MAX_LOGIT_SCALE, out=scale)
        if step % 50 == 0:
            print(f"step {step:4}   loss {loss.item():.3f}")
    return model, tokenizer


def recall(model, tokenizer, count=100):
    """The share of new images whose own caption ranks first among `count` captions."""
    split = shapes.test_split(seed=1)["all"]
    images, captions = split.images[:count], split.captions[:count]
    image_features = embed_images(model, images)  # (count, E)
    text_features = embed_texts(model, tokenizer, captions)  # (count, E)
    return retrieval_metrics(image_features, text_features, captions)["recall_at_1"]


if __name__ == "__main__":
    model, tokenizer = train(steps=300)
    print(f"recall at 1 among 100 captions: {recall(model, tokenizer):.2f}")
