"""CLIP models of random weights, made by the code of others for the comparisons.

transformers, open_clip and openai-clip are imported here only, each in the way that it
can be without a GPU and without a network.
"""

import importlib.util
import json
import math
import pathlib
import re
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
torch.set_num_threads(1)  # the models are small, and waiting threads keep other cores busy


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every weight a little off what it starts as: gains, biases and embeddings too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _name, parameter in sorted(model.named_parameters()):
            scale = 0.1 / math.sqrt(parameter.shape[-1]) if parameter.ndim > 1 else 0.1
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            parameter.add_(noise, alpha=scale)
        model.logit_scale.fill_(1.5)  # gradients of about 1, so that rounding noise is small
    return model.eval()


def transformers() -> types.ModuleType:
    library = pytest.importorskip("transformers", reason="pip install transformers")
    if importlib.util.find_spec("torchvision"):
        torchvision()  # which it imports
    library.logging.set_verbosity_error()
    return library


def hugging_face(text: dict, vision: dict, projection_dim: int) -> torch.nn.Module:
    library = transformers()
    config = library.CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=projection_dim
    )
    torch.manual_seed(0)
    return randomise(library.CLIPModel(config))


def openai_clip() -> types.ModuleType:
    """clip/model.py alone: the package imports pkg_resources, which may be missing."""
    found = importlib.util.find_spec("clip")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the comparison needs openai-clip: pip install --no-deps openai-clip")
    path = pathlib.Path(next(iter(found.submodule_search_locations))) / "model.py"
    spec = importlib.util.spec_from_file_location("openai_clip_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.LayerNorm.forward = torch.nn.LayerNorm.forward  # theirs computes in float32, always
    return module


def torchvision() -> types.ModuleType:
    """torchvision, even if it was built for another PyTorch.

    Its own operators, which no comparison needs, are declared, so that it can be
    imported without them.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None:
        pytest.skip("the comparison needs torchvision: pip install --no-deps torchvision")
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        source = (pathlib.Path(found.origin).parent / "_meta_registrations.py").read_text()
        pattern = r'register_(?:fake|meta)\("(?:torchvision::)?(\w+)"'
        library = torch.library.Library("torchvision", "DEF")
        for name in sorted(set(re.findall(pattern, source))):
            library.define(f"{name}(Tensor x) -> Tensor")
        import torchvision
    import torchvision.transforms

    return torchvision


def open_clip() -> types.ModuleType:
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("the comparison needs open_clip: pip install --no-deps open_clip_torch")
    torchvision()
    import open_clip

    return open_clip


def image_batch(count: int, size: int, seed: int = 0) -> np.ndarray:
    """(count, 3, size, size), normal numbers."""
    return np.random.default_rng(seed).standard_normal((count, 3, size, size))


def token_batch(count: int, length: int, vocab_size: int, end: int, seed: int = 0) -> np.ndarray:
    """(count, length): ids below the end token, the end token once, and zeros."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, min(end, vocab_size - 1), (count, length))
    for row, at in zip(tokens, rng.integers(1, length, count)):
        row[at], row[at + 1 :] = end, 0
    return tokens


def write_json(path: pathlib.Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
