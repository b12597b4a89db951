"""CLIP written out with one operation for each formula: a reference."""

import math

import numpy as np

import minigrad as mg


def plain_block(block, x, mask):
    """A block written out with one op for each formula: the reference."""
    batch_size, length, width = x.shape
    heads = block.attn.heads
    depth = width // heads

    def split(part):
        return part.reshape(batch_size, length, heads, depth).swapaxes(1, 2)  # (B, H, T, D)

    normed = mg.layer_norm(x, block.ln_1.weight, block.ln_1.bias)
    q, k, v = (split(p) for p in mg.split(block.attn.in_proj(normed), 3, axis=-1))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(depth)
    if mask:
        scores = scores + np.triu(np.full((length, length), -np.inf), 1)
    mixed = (mg.softmax(scores) @ v).swapaxes(1, 2).reshape(batch_size, length, width)
    x = x + block.attn.out_proj(mixed)
    normed = mg.layer_norm(x, block.ln_2.weight, block.ln_2.bias)
    hidden = block.mlp.c_fc(normed)
    return x + block.mlp.c_proj(hidden * mg.sigmoid(hidden * 1.702))


def plain_encode_image(model, images):
    visual, config = model.vision, model.config.vision
    size, grid = config.patch_size, config.image_size // config.patch_size
    rows = []
    for image in images:
        patches = [
            image[:, y * size : (y + 1) * size, x * size : (x + 1) * size].reshape(-1)
            for y in range(grid)
            for x in range(grid)
        ]
        rows.append(np.stack(patches))
    x = mg.tensor(np.stack(rows)) @ visual.conv1.weight.T
    first = mg.stack([visual.class_embedding] * len(images)).reshape(len(images), 1, -1)
    x = visual.ln_pre(mg.concatenate([first, x], 1) + visual.positional_embedding)
    for block in visual.transformer.resblocks:
        x = plain_block(block, x, mask=False)
    return visual.ln_post(x[:, 0]) @ visual.proj


def plain_encode_text(model, tokens):
    text = model.text
    x = text.token_embedding(tokens) + text.positional_embedding[: tokens.shape[1]]
    for block in text.transformer.resblocks:
        x = plain_block(block, x, mask=True)
    x = text.ln_final(x)
    return x[np.arange(len(tokens)), tokens.argmax(1)] @ text.text_projection
