"""The ResNet: published sizes, its formulas in NumPy, training, use, attention maps."""

import dataclasses

import numpy as np
import pytest

import minigrad as mg
from clip_np import CLIP, PRESETS, ResNetConfig, training_step
from clip_np.encoders import ResNet, choose_encoders
from minigrad.nn import BatchNorm2d
from minigrad.optim import AdamW

CONFIG = ResNetConfig(image_size=16, width=4, layers=(2, 1), heads=2)


def small_resnet(dtype=np.float64) -> ResNet:
    """Every array off what it starts as, so that nothing hides behind a zero."""
    rng = np.random.default_rng(0)
    model = ResNet(CONFIG, 6, rng).astype(dtype)
    for parameter in model.parameters():
        parameter.data[...] += 0.3 * rng.standard_normal(parameter.shape)
    for path, buffer in model.named_buffers():
        if buffer.dtype.kind == "f":
            noise = rng.uniform(0.5, 1.5, buffer.shape)
            buffer.data[...] = noise if path.endswith("var") else noise - 1.0
    return model


def images(count: int = 3, dtype=np.float64) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, 3, 16, 16)).astype(dtype)


@pytest.mark.parametrize(
    "preset, parameters, vision, buffers",
    [
        ("RN50", 102_007_137, 38_316_896, 53_303),
        ("RN101", 119_688_033, 56_259_936, None),
        ("RN50x4", 178_300_601, 87_137_080, None),
    ],
)
def test_published_sizes(preset, parameters, vision, buffers):
    model = CLIP(PRESETS[preset], None)
    assert sum(parameter.size for parameter in model.parameters()) == parameters
    assert sum(parameter.size for parameter in model.vision.parameters()) == vision
    if buffers is not None:
        assert sum(buffer.size for _, buffer in model.named_buffers()) == buffers


# --- the formulas, in NumPy and one place at a time ---


def convolve(x, weight, stride=1):
    """Filters of 1 x 1 or 3 x 3, with the padding that keeps the size."""
    reach = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    side = (x.shape[2] - 1) // stride + 1
    y = np.zeros((len(x), len(weight), side, side))
    for row in range(side):
        for column in range(side):
            top, left = row * stride, column * stride
            patch = padded[:, :, top : top + 2 * reach + 1, left : left + 2 * reach + 1]
            y[:, :, row, column] = np.einsum("ncij,ocij->no", patch, weight)
    return y


def mean_of_four(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def normalise(x, bn: BatchNorm2d):
    mean, var = bn.running_mean.data, bn.running_var.data
    if bn.training:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))

    def column(array):
        return array[:, None, None]

    y = (x - column(mean)) / np.sqrt(column(var) + 1e-5)
    return y * column(bn.weight.data) + column(bn.bias.data)


def relu(x):
    return np.maximum(x, 0.0)


def plain_bottleneck(block, x):
    h = relu(normalise(convolve(x, block.conv1.weight.data), block.bn1))
    h = relu(normalise(convolve(h, block.conv2.weight.data), block.bn2))
    if block.stride == 2:
        h, x = mean_of_four(h), mean_of_four(x)
    h = normalise(convolve(h, block.conv3.weight.data), block.bn3)
    if block.downsample is not None:
        convolution, norm = block.downsample
        x = normalise(convolve(x, convolution.weight.data), norm)
    return relu(h + x)


def plain_pool(pool, x):
    """Features (B, E) and probabilities (B, H, T) of the mean token."""
    rows = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    tokens = np.concatenate([rows.mean(axis=1, keepdims=True), rows], axis=1)
    tokens = tokens + pool.positional_embedding.data

    def project(layer, rows):
        return rows @ layer.weight.data.T + layer.bias.data

    depth = tokens.shape[2] // pool.heads
    query = project(pool.q_proj, tokens[:, 0]).reshape(len(x), pool.heads, depth)
    keys = project(pool.k_proj, tokens).reshape(len(x), -1, pool.heads, depth)
    values = project(pool.v_proj, tokens).reshape(len(x), -1, pool.heads, depth)
    scores = np.einsum("bhd,bthd->bht", query, keys) / np.sqrt(depth)
    weights = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    mixture = np.einsum("bht,bthd->bhd", weights, values).reshape(len(x), -1)
    return project(pool.c_proj, mixture), weights


def plain_forward(model: ResNet, x):
    x = relu(normalise(convolve(x, model.conv1.weight.data, stride=2), model.bn1))
    x = relu(normalise(convolve(x, model.conv2.weight.data), model.bn2))
    x = relu(normalise(convolve(x, model.conv3.weight.data), model.bn3))
    x = mean_of_four(x)
    for block in [*model.layer1, *model.layer2]:
        x = plain_bottleneck(block, x)
    return plain_pool(model.attnpool, x)


@pytest.mark.parametrize("training", [True, False])
def test_the_formulas(training):
    model = small_resnet().train(training)
    with mg.no_grad():
        found = model(images()).data
    features, weights = plain_forward(model, images())
    np.testing.assert_allclose(found, features, rtol=1e-10, atol=1e-12)
    maps = model.attention_maps(images()).data
    assert maps.shape == (1, 3, 2, 1, 5)
    np.testing.assert_allclose(maps[0, :, :, 0], weights, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(maps.sum(axis=-1), 1.0)


def test_a_bottleneck_starts_as_no_change():
    """bn3 has weights of zero: the first block of a stage hands on its shortcut."""
    model = ResNet(CONFIG, 6, np.random.default_rng(0))
    block = model.layer1[1]
    x = np.random.default_rng(1).standard_normal((2, 16, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(block(mg.tensor(x)).data, relu(x))
    assert block.downsample is None
    assert model.layer1[0].downsample is not None


def test_initial_sizes_of_the_attention_pool():
    config = ResNetConfig(image_size=32, width=32)
    pool = ResNet(config, 64, np.random.default_rng(0)).attnpool
    for name in ("q_proj", "k_proj", "v_proj", "c_proj"):
        weight = getattr(pool, name).weight.numpy()
        assert weight.std() == pytest.approx(config.features_width**-0.5, rel=0.05), name


# --- training and use ---


def test_samples_meet_while_training_and_not_in_use():
    model = small_resnet()
    together, alone = images(4), images(4)[:1]
    assert model.mixes_samples()
    with mg.no_grad():
        assert np.abs(model(together).data[:1] - model(alone).data).max() > 1e-3
        model.eval()
        assert not model.mixes_samples()
        np.testing.assert_allclose(model(together).data[:1], model(alone).data, rtol=1e-12)


def test_all_cores_leave_a_batch_whole_while_training(monkeypatch):
    monkeypatch.setattr("minigrad.threads.available_cores", lambda: 2)
    config = dataclasses.replace(PRESETS["tiny"], vision=CONFIG)
    model = CLIP(config, np.random.default_rng(0))
    recorded = model.vision(images(4, np.float32)).data
    with mg.no_grad():
        np.testing.assert_array_equal(model.encode_image(images(4, np.float32)).data, recorded)


def test_only_training_moves_the_running_statistics():
    model = small_resnet()
    before = {path: buffer.data.copy() for path, buffer in model.named_buffers()}

    def moved() -> set[bool]:
        return {bool((b.data != before[path]).any()) for path, b in model.named_buffers()}

    model.attention_maps(images())
    with mg.no_grad():
        model(images())
    model.eval()
    model(images())
    assert moved() == {False}
    model.train()
    model(images())
    assert moved() == {True}


def test_every_parameter_learns():
    model = CLIP(choose_encoders("tiny", vision="resnet"), np.random.default_rng(0))
    before = model.state_dict()
    optimizer = AdamW(model.parameters(), lr=1e-2)
    tokens = np.array([[512, letter, 513] for letter in range(5)])
    pictures = np.random.default_rng(1).standard_normal((5, 3, 32, 32)).astype(np.float32)
    for _ in range(2):  # bn3 has weights of zero before the first step
        training_step(model, optimizer, pictures, tokens)
    same = [path for path, array in model.state_dict().items() if (array == before[path]).all()]
    assert same == []


def test_another_resolution_resizes_the_positions():
    model = small_resnet()
    before = model.attnpool.positional_embedding.numpy().copy()
    model.resize(32)
    assert model.config.image_size == 32
    assert model.attnpool.positional_embedding.shape == (1 + 16, 32)
    assert model(np.zeros((2, 3, 32, 32))).shape == (2, 6)
    np.testing.assert_array_equal(model.attnpool.positional_embedding.numpy()[0], before[0])
    with pytest.raises(ValueError, match="image_size 36 is not a multiple of 8"):
        model.resize(36)


# --- gradients ---


@pytest.mark.gradient
@pytest.mark.parametrize("training", [True, False])
def test_gradient_by_complex_step(training):
    """relu branches on the real part, so the step is taken without its kinks."""
    model = small_resnet().train(training)
    rng = np.random.default_rng(3)
    cotangent = rng.standard_normal((3, 6))
    x = mg.tensor(images(), requires_grad=True)
    leaves = [x, *model.parameters()]
    found = mg.grad(model(x), leaves, cotangent)
    directions = [rng.standard_normal(leaf.shape) for leaf in leaves]
    for leaf, direction in zip(leaves, directions):
        leaf.data = mg.tensor(leaf.numpy() + 1e-30j * direction).data
    for _, buffer in model.named_buffers():
        if buffer.dtype.kind == "f":
            buffer.data = mg.tensor(buffer.numpy().astype(np.complex128)).data
    with mg.no_grad():
        expected = (cotangent * model(x).data.imag).sum() / 1e-30
    products = [(g * d).sum() for g, d in zip(found, directions)]
    assert abs(sum(products) - expected) <= 1e-10 * sum(np.abs(products))


# --- what is refused ---


@pytest.mark.parametrize("shape", [(2, 3, 16, 8), (3, 16, 16), (2, 16, 16, 3)])
def test_wrong_images(shape):
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, 16, 16\), got"):
        small_resnet()(np.zeros(shape))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_size": 36}, "image_size 36 is not a multiple of 8, to which 2 stages reduce"),
        ({"layers": (1, 0)}, r"layers must be the numbers of bottlenecks .* got \(1, 0\)"),
        ({"layers": 3}, r"layers must be the numbers of bottlenecks .* got 3"),
        ({"layers": (1,) * 9}, "layers must name 1 to 8 stages, got 9"),
        ({"layers": ()}, "layers must name 1 to 8 stages, got 0"),
        ({"width": 3}, "width 3 must be even"),
        ({"heads": 5}, r"32 features \(width 4, 2 stages\) are not a multiple of 5 heads"),
        ({"heads": 0}, "heads must be a positive integer, got 0"),
    ],
)
def test_impossible_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_configurations_come_back_from_files():
    config = choose_encoders("tiny", vision="resnet")
    settings = config.to_dict()
    assert settings["vision"]["layers"] == [1, 1]
    assert type(config).from_dict(settings) == config
    assert config.with_activation("gelu").vision == config.vision
    assert config.with_activation("gelu").text.activation == "gelu"
    assert ResNetConfig(224, 64).heads == 32
