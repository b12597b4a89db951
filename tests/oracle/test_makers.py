"""Published models against their makers' code: features, logits, loss, gradients.

The weights are random; the files are written by transformers, open_clip, openai-clip
and PyTorch. Two arrays agree where they differ by at most tolerance * the largest entry
+ floor: the floor is for gradients that are zero in theory, such as a key's bias, and
rounding noise in practice.

`python tests/oracle/test_makers.py` writes tests/expected/*.npz anew: small models with
what their makers' code computes from them, for the tests that have no PyTorch.
"""

import json
import pathlib

import numpy as np
import pytest
import theirs
from paths import EXPECTED
from theirs import image_batch, token_batch, torch

import clip_np
from clip_np.losses import contrastive_loss
from clip_np.weights import convert, export_arrays

TOLERANCE = {"float32": (2e-5, 1e-7), "float64": (1e-9, 1e-15)}
VISION = {"hidden_size": 48, "intermediate_size": 60, "num_hidden_layers": 3}
VISION |= {"num_attention_heads": 3, "image_size": 32, "patch_size": 8}
TEXT = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
TEXT |= {"num_attention_heads": 4, "max_position_embeddings": 12, "bos_token_id": 97}
precisions = pytest.mark.parametrize("dtype", TOLERANCE)


def assert_agree(ours: np.ndarray, wanted: np.ndarray, dtype: str, what: str) -> None:
    tolerance, floor = TOLERANCE[dtype]
    assert ours.shape == wanted.shape, what
    error = np.abs(ours.astype(np.float64) - wanted).max(initial=0.0)
    assert error <= tolerance * np.abs(wanted).max(initial=0.0) + floor, f"{what}: off by {error}"


def their_results(model: torch.nn.Module, images: np.ndarray, tokens: np.ndarray) -> dict:
    """Features, logits, loss and gradients, by name, of any maker's model."""
    precision = next(model.parameters()).dtype
    images, tokens = torch.tensor(images, dtype=precision), torch.tensor(tokens)
    model.zero_grad()
    if hasattr(model, "vision_model"):
        out = model(input_ids=tokens, pixel_values=images)
        image_features = model.visual_projection(model.vision_model(images).pooler_output)
        text_features = model.text_projection(model.text_model(tokens).pooler_output)
        logits = out.logits_per_image
    else:
        image_features, text_features = model.encode_image(images), model.encode_text(tokens)
        unit = [f / f.norm(dim=-1, keepdim=True) for f in (image_features, text_features)]
        logits = model.logit_scale.exp() * unit[0] @ unit[1].T
    labels = torch.arange(len(images))
    rows, columns = (torch.nn.functional.cross_entropy(x, labels) for x in (logits, logits.T))
    loss = (rows + columns) / 2
    loss.backward()
    results = {"image_features": image_features, "text_features": text_features}
    results |= {"logits": logits, "loss": loss}
    results |= {f"grad {name}": p.grad for name, p in model.named_parameters()}
    return {name: value.detach().numpy() for name, value in results.items()}


def our_results(path: pathlib.Path, images: np.ndarray, tokens: np.ndarray, **how) -> dict:
    """The same from the file, by our own code."""
    layout = how.pop("layout")
    model, _, _ = clip_np.load(path, **how)
    images = images.astype(model.logit_scale.dtype)
    features = model.encode_image(images), model.encode_text(tokens)
    loss = contrastive_loss(*features, model.logit_scale)
    loss.backward()
    results = {"image_features": features[0].numpy(), "text_features": features[1].numpy()}
    results |= {"logits": model(images, tokens)[0].numpy(), "loss": loss.numpy()}
    return results | {
        f"grad {name}": gradient
        for name, gradient in export_arrays(model, layout, grad=True).items()
    }


def assert_same_results(
    path: pathlib.Path, model: torch.nn.Module, dtype: str, tokens: np.ndarray, **how
):
    """Read `path`, which holds `model`, and find the same numbers."""
    how = {"layout": "openai", "size": 32, **how}
    images = image_batch(len(tokens), how.pop("size"))
    theirs = their_results(model.double() if dtype == "float64" else model.float(), images, tokens)
    ours = our_results(path, images, tokens, dtype=dtype, **how)
    names = {name.replace("grad text.", "grad ") for name in theirs}
    assert names == ours.keys()
    for name, wanted in theirs.items():
        name = name.replace("grad text.", "grad ")  # of open_clip's CustomTextCLIP
        assert_agree(ours[name], wanted.reshape(ours[name].shape), dtype, name)


@precisions
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("end, said", [(98, 2), (98, 98), (50, 50)])
@pytest.mark.parametrize("form", ["safetensors", "shards", "bin"])
def test_hugging_face(tmp_path, dtype, activation, end, said, form):
    both = {"hidden_act": activation}
    model = theirs.hugging_face(TEXT | both | {"eos_token_id": said}, VISION | both, 20)
    if form == "bin":
        model.config.save_pretrained(tmp_path)
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    else:
        model.save_pretrained(tmp_path, max_shard_size="100KB" if form == "shards" else "1GB")
        assert (form == "shards") == (tmp_path / "model.safetensors.index.json").exists()
    tokens = token_batch(5, 12, 99, end)
    assert_same_results(tmp_path, model, dtype, tokens, layout="hf")


@precisions
def test_hugging_face_with_the_published_vocabulary(tmp_path, dtype):
    text = TEXT | {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    model = theirs.hugging_face(text | {"max_position_embeddings": 77}, VISION, 20)
    model.save_pretrained(tmp_path)
    assert_same_results(tmp_path, model, dtype, token_batch(4, 77, 49408, 49407), layout="hf")


def openai_model(half: bool = False) -> torch.nn.Module:
    module = theirs.openai_clip()
    model = module.CLIP(
        embed_dim=24,
        image_resolution=32,
        vision_layers=2,
        vision_width=128,
        vision_patch_size=8,
        context_length=12,
        vocab_size=99,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=2,
    )
    theirs.randomise(model)
    if half:
        module.convert_weights(model)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
@precisions
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("form", ["state.pt", "script.pt", "model.safetensors"])
def test_openai(tmp_path, dtype, half, form):
    model, path = openai_model(half), tmp_path / form
    if form == "script.pt":
        torch.jit.save(torch.jit.script(Attributes(model)), path)
    elif form == "state.pt":
        torch.save(model.state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(model.state_dict(), path)
    assert_same_results(path, model, dtype, token_batch(5, 12, 99, 98))


class Attributes(torch.nn.Module):
    """What OpenAI's archives hold: modules with their parameters, and three sizes."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        for name, value in (*model.named_children(), *model.named_parameters(recurse=False)):
            setattr(self, name, hollow(value) if isinstance(value, torch.nn.Module) else value)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def hollow(module: torch.nn.Module) -> torch.nn.Module:
    """The tree of a module without its code, which TorchScript could not compile."""
    tree = torch.nn.Module()
    for name, parameter in module.named_parameters(recurse=False):
        setattr(tree, name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        tree.register_buffer(name, buffer)
    for name, child in module.named_children():
        setattr(tree, name, hollow(child))
    return tree


@precisions
@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("custom_text", [False, True])
def test_open_clip(tmp_path, dtype, quick_gelu, custom_text):
    module = theirs.open_clip()
    vision = {"image_size": 32, "patch_size": 8, "width": 96, "layers": 2, "head_width": 32}
    vision["mlp_ratio"] = 2.5
    text = {"context_length": 12, "vocab_size": 99, "width": 64, "heads": 4, "layers": 2}
    make = module.CustomTextCLIP if custom_text else module.CLIP
    model = theirs.randomise(make(24, dict(vision), dict(text), quick_gelu=quick_gelu))
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}
    theirs.write_json(tmp_path / "open_clip_config.json", {"model_cfg": config})
    tokens = token_batch(5, 12, 99, 98)
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    assert_same_results(tmp_path, model, dtype, tokens)


def test_open_clip_checkpoint(tmp_path):
    """As its training writes it: wrapped, "module." in front, with the optimizer."""
    model = theirs.randomise(
        theirs.open_clip().CLIP(
            24,
            {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1},
            {"context_length": 12, "vocab_size": 99, "width": 64, "heads": 1, "layers": 1},
            quick_gelu=True,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = token_batch(5, 12, 99, 98)
    their_results(model, image_batch(5, 32), tokens)
    optimizer.step()
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    state["module.logit_scale"] = state["module.logit_scale"].reshape(1)
    whole = {"epoch": 3, "name": "a run", "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(whole, tmp_path / "epoch_3.pt")
    assert_same_results(tmp_path / "epoch_3.pt", model, "float32", tokens)


def test_vit_b_32_in_full_size(tmp_path):
    model = theirs.hugging_face({"eos_token_id": 2}, {}, 512)
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313
    model.save_pretrained(tmp_path, max_shard_size="2GB")
    tokens = token_batch(2, 77, 49408, 49407)
    assert_same_results(tmp_path, model, "float32", tokens, layout="hf", size=224)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_made_here_opened_there(tmp_path, library):
    """A model of ours, saved, is opened by others and gives equal logits."""
    tokenizer = clip_np.Tokenizer.train(["a red circle", "a blue star"] * 3, 530, 20)
    config = clip_np.PRESETS["tiny"].for_tokenizer(tokenizer)
    model = clip_np.CLIP(config, np.random.default_rng(0))
    clip_np.weights.save_checkpoint(tmp_path / "run.npz", model, tokenizer)
    tokens = tokenizer(["a red circle", "a blue star", "a blue circle", "star"])
    images = image_batch(4, 32).astype(np.float32)
    if library == "transformers":
        transformers = theirs.transformers()
        convert(tmp_path / "run.npz", tmp_path / "hf")
        model_there = transformers.CLIPModel.from_pretrained(tmp_path / "hf")
        words = transformers.CLIPTokenizer.from_pretrained(tmp_path / "hf")
        ids = words("a red circle", padding="max_length")["input_ids"]  # pads with end tokens
        assert ids[:5] == tokenizer("a red circle")[0, :5].tolist()
    else:
        convert(tmp_path / "run.npz", tmp_path / "model.safetensors", "openai")
        vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3, "head_width": 16}
        text = {"context_length": 20, "vocab_size": config.text.vocab_size, "width": 64}
        text |= {"heads": 4, "layers": 3}
        model_there = theirs.open_clip().CLIP(64, vision, text, quick_gelu=True)
        load_file = pytest.importorskip("safetensors.torch").load_file
        model_there.load_state_dict(load_file(tmp_path / "model.safetensors"))
    found = their_results(model_there.eval(), images, tokens)["logits"]
    assert_agree(model(images, tokens)[0].numpy(), found, "float32", "logits")


def write_expectations() -> None:
    """Small models and what their makers' code makes of them."""
    EXPECTED.mkdir(exist_ok=True)
    tokens, both = token_batch(4, 12, 99, 98), {"num_hidden_layers": 1}
    vision = VISION | both | {"hidden_size": 24, "intermediate_size": 40}
    text = TEXT | both | {"eos_token_id": 98, "intermediate_size": 48}
    models = {
        "hf": theirs.hugging_face(
            text | {"hidden_act": "gelu"}, vision | {"hidden_act": "gelu"}, 20
        ),
        "openai": openai_model(half=True),
    }
    for name, model in models.items():
        state = {
            f"weights/{key}": value.numpy().copy() for key, value in model.state_dict().items()
        }
        images = image_batch(4, 32).astype(np.float32)
        results = their_results(model.float(), images, tokens)
        if name == "openai":  # its gradients would make the file large
            results = {key: value for key, value in results.items() if "resblocks" not in key}
        config = {} if name == "openai" else model.config.to_dict()
        content = {"images": images, "tokens": tokens, "config": np.array(json.dumps(config))}
        np.savez_compressed(EXPECTED / f"{name}.npz", **content, **state, **results)


if __name__ == "__main__":
    write_expectations()
