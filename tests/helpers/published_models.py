"""Small models of other makers, as the files that people have."""

import json
import pathlib

import numpy as np
from paths import EXPECTED

from clip_np import CLIP, PRESETS
from clip_np.files import write_safetensors

TINY = PRESETS["tiny"]


def write_json(path: pathlib.Path, content) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def expected(layout: str) -> tuple[dict, dict, dict]:
    """Weights, configuration and results of a model that its makers' code made."""
    with np.load(EXPECTED / f"{layout}.npz") as file:
        content = dict(file)
    weights = {
        k.removeprefix("weights/"): a for k, a in content.items() if k.startswith("weights/")
    }
    return weights, json.loads(str(content["config"])), content


def published(folder: pathlib.Path, layout: str) -> pathlib.Path:
    """The model of `expected` as the files that people have."""
    weights, config, _ = expected(layout)
    write_safetensors(folder / "model.safetensors", weights)
    if config:
        write_json(folder / "config.json", config)
    return folder / "model.safetensors"


def tiny_model(seed: int = 0) -> CLIP:
    """A model of ours with random weights."""
    return CLIP(TINY, np.random.default_rng(seed))
