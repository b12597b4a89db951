"""The encoders and the loss: exactness of the shortcuts, published sizes, clear errors."""

import dataclasses
import math

import numpy as np
import pytest
from small_models import SMALL, batch, small_model

import minigrad as mg
from clip_np import CLIP, PRESETS, CLIPConfig, contrastive_loss
from clip_np.losses import MAX_LOGIT_SCALE, loss_for


def plain_block(block, x, mask):
    """A block written out with one op for each formula, the reference for the fused ones."""
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


def gradients(model, loss):
    return dict(
        zip([name for name, _ in model.named_parameters()], mg.grad(loss, model.parameters()))
    )


def test_pooling_and_trimming_change_nothing():
    model, (images, tokens) = small_model(), batch()
    fast = contrastive_loss(
        model.encode_image(images), model.encode_text(tokens), model.logit_scale
    )
    plain = contrastive_loss(
        plain_encode_image(model, images), plain_encode_text(model, tokens), model.logit_scale
    )
    assert fast.item() == pytest.approx(plain.item(), rel=1e-13)
    expected = gradients(model, plain)
    for name, found in gradients(model, fast).items():
        scale = max(np.abs(expected[name]).max(), 1e-12)
        assert np.abs(found - expected[name]).max() <= 1e-11 * scale + 1e-15, name


def test_whole_loss_by_complex_step():
    model, (images, tokens) = small_model(), batch()

    def loss():
        return contrastive_loss(
            model.encode_image(images), model.encode_text(tokens), model.logit_scale
        )

    rng = np.random.default_rng(3)
    directions = [rng.standard_normal(p.shape) for p in model.parameters()]
    found = sum((g * d).sum() for g, d in zip(mg.grad(loss(), model.parameters()), directions))
    for parameter, direction in zip(model.parameters(), directions):
        parameter.data = parameter.data + 1e-30j * direction
    with mg.no_grad():
        expected = loss().data.imag / 1e-30
    assert found == pytest.approx(expected, rel=1e-9)


def test_loss_gradient_is_the_difference_of_softmaxes_and_identity():
    rng = np.random.default_rng(0)
    logits = mg.tensor(rng.standard_normal((5, 5)), requires_grad=True)
    labels = np.arange(5)
    loss = (mg.cross_entropy(logits, labels) + mg.cross_entropy(logits.T, labels)) * 0.5
    rows = mg.softmax(logits.detach(), axis=1).data
    columns = mg.softmax(logits.detach(), axis=0).data
    (found,) = mg.grad(loss, [logits])
    np.testing.assert_allclose(found, (rows + columns - 2 * np.eye(5)) / 10, atol=1e-15)


def test_loss_of_a_model_that_knows_nothing_is_ln_n():
    same = mg.tensor(np.ones((8, 4)))
    assert contrastive_loss(same, same, mg.tensor(np.zeros(()))).item() == pytest.approx(np.log(8))


def test_positives_are_left_out_of_the_comparison():
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((2, 3, 4))
    texts[1] = texts[0]
    same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    scale = mg.tensor(np.zeros(()))
    found = contrastive_loss(mg.tensor(images), mg.tensor(texts), scale, same).item()
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
    logits = np.where(same & ~np.eye(3, dtype=bool), -np.inf, unit[0] @ unit[1].T)
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(0)) - np.diag(logits)
    assert found == pytest.approx((rows.mean() + columns.mean()) / 2)
    with pytest.raises(ValueError, match=r"positives \(2, 2\) must be \(3, 3\)"):
        contrastive_loss(mg.tensor(images), mg.tensor(texts), scale, same[:2, :2])


def test_captions_see_only_what_stands_before():
    model, (_, tokens) = small_model(), batch()
    longer = tokens.copy()
    longer[:, 6] = 3  # behind every end token, which stands at position 5 at the latest
    first, second = model.encode_text(tokens), model.encode_text(longer)
    np.testing.assert_array_equal(first.data, second.data)


def test_eos_token_id_finds_the_first_end():
    by_rule, by_id = small_model(), small_model(eos_token_id=19)
    _, tokens = batch()
    twice = tokens.copy()
    twice[:, 6] = 19
    np.testing.assert_array_equal(by_rule.encode_text(tokens).data, by_id.encode_text(twice).data)
    with pytest.raises(ValueError, match="row 1 has no end token"):
        by_id.encode_text(np.array([[3, 19], [3, 4]]))


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 3, 8, 4), np.float32), r"expected images of shape \(B, 3, 8, 8\)"),
        (np.zeros((3, 8, 8), np.float32), r"got \(3, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.float32), r"got \(2, 8, 8, 3\)"),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(ValueError, match=message):
        small_model(np.float32).encode_image(images)


def test_wrong_tokens():
    model = small_model(np.float32)
    with pytest.raises(ValueError, match=r"T at most 7, got int64 \(1, 8\)"):
        model.encode_text(np.zeros((1, 8), np.int64))
    with pytest.raises(ValueError, match="expected integer tokens"):
        model.encode_text(np.zeros((1, 7), np.float32))
    with pytest.raises(IndexError, match="index 20 is out of range; expected 0 to 19"):
        model.encode_text(np.array([[1, 20]]))
    with pytest.raises(ValueError, match="must have one shape"):
        contrastive_loss(mg.tensor(np.ones((2, 3))), mg.tensor(np.ones((3, 3))), model.logit_scale)


def test_wrong_dtype_names_the_op():
    with pytest.raises(TypeError, match="linear: inputs have dtypes float64, float32"):
        small_model(np.float32).encode_image(np.zeros((1, 3, 8, 8)))


def test_temperature_is_clamped():
    model = small_model()
    loss = loss_for(model, "clip")
    model.logit_scale.data[...] = 9.0
    loss.clamp()
    assert model.logit_scale.item() == MAX_LOGIT_SCALE == math.log(100)
    model.logit_scale.data[...] = -1.0
    loss.clamp()
    assert model.logit_scale.item() == 0.0


def test_model_returns_logits_both_ways():
    model, (images, tokens) = small_model(), batch()
    per_image, per_text = model(images, tokens)
    np.testing.assert_array_equal(per_image.data.T, per_text.data)
    assert per_image.shape == (3, 3)
    assert np.abs(per_image.data).max() <= np.exp(model.logit_scale.item()) * (1 + 1e-12)


def test_attention_maps_are_probabilities():
    model, (images, _) = small_model(), batch()
    maps = model.attention_maps(images).data
    assert maps.shape == (2, 3, 2, 5, 5)
    np.testing.assert_allclose(maps.sum(-1), 1.0)


def test_attention_maps_are_those_of_the_forward_pass():
    model, (images, _) = small_model(), batch()
    block = model.vision.transformer.resblocks[0]
    x = block.ln_1(model.vision.tokens(images))
    values = block.attn.in_proj(x).data[..., 16:].reshape(3, 5, 2, 4).transpose(0, 2, 1, 3)
    mixed = model.attention_maps(images).data[0] @ values  # (B, H, T, D)
    merged = mg.tensor(mixed.transpose(0, 2, 1, 3).reshape(3, 5, 8))  # (B, T, W)
    found = block.attn.out_proj(merged).data
    np.testing.assert_allclose(found, block.attn(x, None).data, rtol=1e-12, atol=1e-14)


def test_published_sizes():
    class Counter:
        """Stands in for a random generator; the sizes are wanted, not 150 million numbers."""

        def standard_normal(self, shape):
            return np.broadcast_to(np.float32(0), shape)

    model = CLIP.__new__(CLIP)
    CLIP.__init__(model, PRESETS["ViT-B/32"], Counter())
    sizes = {name: parameter.size for name, parameter in model.named_parameters()}
    assert sum(sizes.values()) == 151_277_313
    assert len(sizes) == 302
    assert sum(n for name, n in sizes.items() if name.startswith("vision.")) == 87_849_216


def test_initial_loss_is_near_ln_n():
    config = PRESETS["tiny"]
    model = CLIP(config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    tokens = np.concatenate([rng.integers(1, 500, (32, 9)), np.full((32, 1), 513)], axis=1)
    images = rng.standard_normal((32, 3, 32, 32)).astype(np.float32)
    loss = contrastive_loss(
        model.encode_image(images), model.encode_text(tokens), model.logit_scale
    )
    assert abs(loss.item() - np.log(32)) < 1.0
    assert loss.dtype == np.float32


def test_images_can_be_differentiated():
    model, (images, _) = small_model(), batch(2)
    mg.gradcheck(lambda x: model.encode_image(x), [images[:1]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 9}, "width 9 is no multiple of 2 heads"),
        ({"layers": 0}, "layers must be a positive integer, got 0"),
        ({"activation": "relu"}, "activation 'relu' is none of"),
        ({"patch_size": 3}, "image_size 8 is no multiple of patch_size 3"),
        ({"heads": 2.0}, "heads must be a positive integer"),
    ],
)
def test_impossible_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL.vision, **change)


def test_configuration_round_trip_and_damage():
    assert CLIPConfig.from_dict(SMALL.to_dict()) == SMALL
    record = SMALL.to_dict()
    del record["text"]["width"]
    with pytest.raises(ValueError, match=r"not a model configuration: .*width"):
        CLIPConfig.from_dict(record)
    with pytest.raises(ValueError, match=r"not a model configuration: .*colour"):
        CLIPConfig.from_dict({**SMALL.to_dict(), "vision": {"colour": 3}})
