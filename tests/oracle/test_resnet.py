"""The ResNet against its makers' code: openai-clip and open_clip, random weights.

Arrays agree where they differ by at most tolerance * the largest entry + floor, as in
test_makers.py. Cotangents are small, so that the gradient of the key's bias, which is
zero in theory, stays below the floor.
"""

import copy

import numpy as np
import pytest
import theirs
from theirs import image_batch, token_batch, torch

import clip_np
import minigrad as mg
from clip_np import CLIP, ResNetConfig
from clip_np.encoders import PRESETS, ResNet
from clip_np.losses import contrastive_loss
from clip_np.weights import convert, export_arrays, load, save_checkpoint

TOLERANCE = {"float32": (5e-5, 1e-7), "float64": (1e-9, 1e-15)}
SIZES = {"layers": (1, 2, 1, 2), "width": 8}
OUTPUT = 12
COTANGENT = 0.03  # the size of gradients that come back from the features

precisions = pytest.mark.parametrize("dtype", TOLERANCE)
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
makers = pytest.mark.parametrize("maker", ["openai", "open_clip"])


def their_resnet(maker: str, layers, width: int, size: int = 64, output: int = OUTPUT, heads=4):
    """Their ModifiedResNet as it starts."""
    torch.manual_seed(0)
    if maker == "openai":
        model = theirs.openai_clip().ModifiedResNet(layers, output, heads, size, width)
    else:
        module = theirs.open_clip().modified_resnet
        model = module.ModifiedResNet(layers, output, heads, image_size=size, width=width)
    return model


def spread(model: torch.nn.Module) -> torch.nn.Module:
    """Gains and biases off 1 and 0, running statistics as after some training."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        elif "_proj" in name:
            parameter.data.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
    for name, buffer in model.named_buffers():
        if "running_mean" in name:
            buffer.normal_(0.0, 0.1, generator=generator)
        elif "running_var" in name:
            buffer.uniform_(0.5, 1.5, generator=generator)
    return model


def our_resnet(model: torch.nn.Module, layers, width: int, size: int = 64, heads: int = 4):
    """Ours with the same arrays and the same type of numbers."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    output = len(state["attnpool.c_proj.bias"])
    config = ResNetConfig(size, width=width, layers=layers, heads=heads)
    ours = ResNet(config, output, None)
    ours.load_state_dict(state, assign=True)
    return copy.deepcopy(ours)  # the arrays are PyTorch's


def assert_agree(ours: np.ndarray, wanted: np.ndarray, dtype: str, what: str) -> None:
    tolerance, floor = TOLERANCE[dtype]
    assert ours.shape == wanted.shape, what
    assert ours.dtype == wanted.dtype, what
    error = np.abs(ours - wanted).max(initial=0.0)
    assert error <= tolerance * np.abs(wanted).max(initial=0.0) + floor, f"{what}: off by {error}"


def assert_same(there: torch.nn.Module, here: ResNet, size: int, dtype: str, count: int) -> None:
    """Features, every gradient, and the running statistics after one pass."""
    images = image_batch(count, size).astype(dtype)
    features, wanted = here(images), there(torch.tensor(images))
    rng = np.random.default_rng(3)
    cotangent = (COTANGENT * rng.standard_normal(features.shape)).astype(dtype)
    wanted.backward(torch.tensor(cotangent))
    features.backward(cotangent)
    assert_agree(features.data, wanted.detach().numpy(), dtype, "features")
    parameters = dict(here.named_parameters())
    assert parameters.keys() == dict(there.named_parameters()).keys()
    for name, parameter in there.named_parameters():
        assert_agree(parameters[name].grad, parameter.grad.numpy(), dtype, name)
    assert_same_buffers(there, here, dtype)


def assert_same_buffers(there: torch.nn.Module, here: ResNet, dtype: str) -> None:
    buffers = dict(here.named_buffers())
    assert buffers.keys() == dict(there.named_buffers()).keys()
    for name, buffer in there.named_buffers():
        assert_agree(buffers[name].data, buffer.numpy(), dtype, name)


@makers
@modes
@precisions
def test_features_gradients_and_statistics(maker, training, dtype):
    there = spread(their_resnet(maker, **SIZES)).to(getattr(torch, dtype)).train(training)
    here = our_resnet(there, **SIZES).train(training)
    assert_same(there, here, size=64, dtype=dtype, count=4)


@makers
@pytest.mark.parametrize("dtype, steps", [("float64", 10), ("float32", 3)])
def test_some_steps(maker, dtype, steps):
    """Gradient descent: parameters and running statistics stay together.

    In float32, rounding sooner or later moves a number across relu's kink. From there
    on the gradients differ, by more with each step.
    """
    there = spread(their_resnet(maker, **SIZES)).to(getattr(torch, dtype)).train()
    here = our_resnet(there, **SIZES).train()
    our_optimizer = mg.optim.SGD(here.parameters(), lr=1e-4)
    their_optimizer = torch.optim.SGD(there.parameters(), lr=1e-4)
    for step in range(steps):
        # Off 0: a mean of 0 would be the rounding errors of a sum.
        images = (image_batch(4, 64, seed=step) + 0.5).astype(dtype)
        their_optimizer.zero_grad()
        there(torch.tensor(images)).square().mean().backward()
        their_optimizer.step()
        here.zero_grad()
        (here(images) ** 2).mean().backward()
        our_optimizer.step()
    assert int(there.bn1.num_batches_tracked) == steps
    assert_same_buffers(there, here, dtype)
    parameters = dict(here.named_parameters())
    for name, parameter in there.named_parameters():
        assert_agree(parameters[name].data, parameter.detach().numpy(), dtype, name)


@makers
@pytest.mark.parametrize("training, dtype", [(True, "float64"), (False, "float32")])
def test_rn50_in_full_size(maker, training, dtype):
    """In float32 as it starts, and in use: rounding moves numbers across relu's kink.

    While training, two images make batch norms of so few numbers that PyTorch's own
    gradients in float32 differ from those in float64 by a tenth of their size.
    """
    sizes = {"layers": (3, 4, 6, 3), "width": 64, "size": 224, "heads": 32}
    there = their_resnet(maker, output=1024, **sizes).to(getattr(torch, dtype)).train(training)
    if dtype == "float64":
        spread(there)
    assert sum(parameter.numel() for parameter in there.parameters()) == 38_316_896
    here = our_resnet(there, **sizes).train(training)
    assert_same(there, here, size=224, dtype=dtype, count=2)


# --- files
# ---------------------------------------------------------------------------------

VISION = {"image_size": 64, "layers": [1, 1, 2, 1], "width": 8, "head_width": 32}
TEXT = {"context_length": 12, "vocab_size": 99, "width": 64, "heads": 1, "layers": 2}


def openai_model(half: bool) -> torch.nn.Module:
    module = theirs.openai_clip()
    model = module.CLIP(
        embed_dim=24,
        image_resolution=64,
        vision_layers=(1, 1, 2, 1),
        vision_width=8,
        vision_patch_size=None,
        context_length=12,
        vocab_size=99,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=2,
    )
    theirs.randomise(model)
    spread(model.visual)
    if half:
        module.convert_weights(model)
    return model.eval()


def assert_file_is_same(path, model: torch.nn.Module, dtype: str, activation: str | None = None):
    """A file of `model` gives its features, and the gradients of the loss."""
    tokens, images = token_batch(5, 12, 99, 98), image_batch(5, 64).astype(dtype)
    model = model.to(getattr(torch, dtype)).eval()
    images_there = torch.tensor(images)
    f, g = model.encode_image(images_there), model.encode_text(torch.tensor(tokens))
    f, g = f / f.norm(dim=1, keepdim=True), g / g.norm(dim=1, keepdim=True)
    logits, labels = model.logit_scale.exp() * f @ g.T, torch.arange(5)
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    wanted.backward()
    here, preprocess, _ = load(path, activation=activation, dtype=dtype)
    assert preprocess.size == 64
    loss = contrastive_loss(here.encode_image(images), here.encode_text(tokens), here.logit_scale)
    loss.backward()
    assert_agree(loss.data, wanted.detach().numpy(), dtype, "loss")
    gradients = export_arrays(here, "openai", grad=True)
    for name, parameter in model.named_parameters():
        assert_agree(gradients[name], parameter.grad.numpy(), dtype, name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("form", ["state.pt", "script.pt", "model.safetensors"])
def test_openai_files(tmp_path, half, form):
    from test_makers import Attributes

    model, path = openai_model(half), tmp_path / form
    if form == "script.pt":
        torch.jit.save(torch.jit.script(Attributes(model)), path)
    elif form == "state.pt":
        torch.save(model.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(model.state_dict(), path)
    model = model.float()
    loaded = load(path, activation="quick_gelu").model
    assert loaded.config.vision == ResNetConfig(64, 8, (1, 1, 2, 1), heads=4)
    assert_file_is_same(path, model, "float64", activation="quick_gelu")


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_files(tmp_path, quick_gelu):
    model = theirs.open_clip().CLIP(24, dict(VISION), dict(TEXT), quick_gelu=quick_gelu)
    theirs.randomise(model)
    spread(model.visual)
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": quick_gelu}
    theirs.write_json(tmp_path / "open_clip_config.json", {"model_cfg": config})
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    assert load(tmp_path).model.config.vision == ResNetConfig(64, 8, (1, 1, 2, 1), heads=8)
    assert_file_is_same(tmp_path, model, "float64")


def test_made_here_opened_by_open_clip(tmp_path):
    tokenizer = clip_np.Tokenizer.train(["a red circle", "a blue star"] * 3, 530, 20)
    vision = ResNetConfig(64, 8, (1, 1, 2, 1))
    config = clip_np.CLIPConfig(24, vision, PRESETS["tiny"].text).for_tokenizer(tokenizer)
    model = CLIP(config, np.random.default_rng(0))
    model(image_batch(4, 64).astype(np.float32), tokenizer(["a"] * 4))  # moves the statistics
    save_checkpoint(tmp_path / "run.npz", model, tokenizer)
    convert(tmp_path / "run.npz", tmp_path / "model.safetensors", "openai")
    text = {"context_length": 20, "vocab_size": config.text.vocab_size, "width": 64}
    text |= {"heads": 4, "layers": 3}
    sizes = {"image_size": 64, "layers": [1, 1, 2, 1], "width": 8}
    there = theirs.open_clip().CLIP(24, sizes, text, quick_gelu=True)
    load_file = pytest.importorskip("safetensors.torch").load_file
    there.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images = image_batch(4, 64).astype(np.float32)
    wanted = there.eval().encode_image(torch.tensor(images)).detach().numpy()
    assert_agree(model.eval().encode_image(images).data, wanted, "float32", "features")
