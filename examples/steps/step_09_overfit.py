"""Can the model learn anything at all?

    python examples/steps/step_09_overfit.py

The first thing to try with a new model: let it learn four pairs by heart. If it cannot
do that, then something is broken, and no larger data set will mend it. If it can, every
part works together: tokenizer, both encoders, loss, gradients, optimizer.

Before training, each image gives each of the four captions about the same probability,
1/4, so the loss is about ln 4 = 1.386. Afterwards the diagonal is nearly 1. This says
nothing about images that the model has not seen: it has learned a list.
"""

import numpy as np

import minigrad as mg
from clip_np import CLIP, PRESETS, Tokenizer
from clip_np.data import shapes, to_model_input
from clip_np.losses import contrastive_loss

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)
images, captions = shapes.training_pairs(4, rng)
tokenizer = Tokenizer.train(captions, vocab_size=520)
tokens = tokenizer(captions)  # (4, T)
model = CLIP(PRESETS["tiny"].for_tokenizer(tokenizer), rng)
optimizer = mg.optim.AdamW(model.parameters(), lr=1e-3)


def show(title):
    """Print which caption each image would choose."""
    with mg.no_grad():
        logits_per_image, _ = model(to_model_input(images), tokens)
    print(title)
    for caption, row in zip(captions, mg.softmax(logits_per_image, axis=-1).numpy()):
        print("   ", row, caption)


show("before: what each image believes of the four captions")
for step in range(61):
    image_features = model.encode_image(to_model_input(images))
    text_features = model.encode_text(tokens)
    loss = contrastive_loss(image_features, text_features, model.logit_scale)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 20 == 0:
        print(f"step {step:3}   loss {loss.item():.4f}")
show("after")
