"""A path finds its file: a file, a folder, weights in parts, a name on the hub."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest
from paths import ROOT
from published_models import TINY, expected, published, write_json

from clip_np import CLIP, Tokenizer
from clip_np.data import training_preprocess
from clip_np.files import FileError, write_safetensors
from clip_np.weights import load, locate, save_checkpoint


def test_shards(tmp_path):
    weights, config, _ = expected("hf")
    names = sorted(weights)
    parts = {"model-1.safetensors": names[:20], "model-2.safetensors": names[20:]}
    for file, some in parts.items():
        write_safetensors(tmp_path / file, {name: weights[name] for name in some})
    index = {name: file for file, some in parts.items() for name in some}
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": index})
    write_json(tmp_path / "config.json", config)
    model, _, _ = load(tmp_path)
    assert model.config.embed_dim == 20
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors"):
        load(tmp_path)
    for elsewhere in ("../model-1.safetensors", "/etc/passwd", "a/b.bin", "x.index.json"):
        write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": elsewhere}})
        with pytest.raises(FileError, match="is not the name of a file of weights next to it"):
            load(tmp_path)


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"holds no model; looked for checkpoint\.npz, model"
    ):
        load(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    with pytest.raises(FileError, match=r"weights are read from \.safetensors, \.pt"):
        load(tmp_path / "cat.png")
    with pytest.raises(ValueError, match="`activation` must be one of"):
        load(tmp_path, activation="relu")
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        load(tmp_path, dtype="float16")


class NotFoundError(OSError):
    """As the library's error for a repository that does not exist."""


def stand_in(snapshot_download, failure: Exception | None = None) -> types.SimpleNamespace:
    """A huggingface_hub that fails when it is asked for a model, or finds it."""

    class HfApi:
        def model_info(self, name: str, timeout: float) -> None:
            assert timeout <= 5
            if failure is not None:
                raise failure

    errors = types.SimpleNamespace(RepositoryNotFoundError=NotFoundError)
    return types.SimpleNamespace(snapshot_download=snapshot_download, HfApi=HfApi, errors=errors)


def test_a_mistyped_path_is_asked_for_once(tmp_path, monkeypatch):
    published(tmp_path, "hf")
    asked = []

    def nothing_cached(name: str, local_files_only: bool) -> str:
        asked.append(name)
        raise FileNotFoundError("not in the cache")

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", stand_in(nothing_cached, NotFoundError("404"))
    )
    with pytest.raises(FileNotFoundError, match=r"^runs/nope is not here, and the hub has no mod"):
        load("runs/nope")
    assert asked == []
    monkeypatch.setitem(
        sys.modules, "huggingface_hub", stand_in(nothing_cached, RuntimeError("no network"))
    )
    with pytest.raises(
        FileNotFoundError,
        match=r"^runs/nope is not here, and the hub did not answer \(RuntimeError: no network\)\. "
        r".*download the files of huggingface\.co/runs/nope: config\.json",
    ):
        load("runs/nope")
    assert asked == ["runs/nope"]

    def cached(name: str, local_files_only: bool) -> str:
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in(cached, OSError("offline")))
    assert load("openai/some-clip").model.config.embed_dim == 20


def test_a_model_of_the_hub(tmp_path, monkeypatch):
    """huggingface_hub brings a folder; the kinds of weights are tried in turn."""
    published(tmp_path, "hf")
    asked = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        assert name == "openai/some-clip"
        asked.append(allow_patterns[-1])
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in(snapshot_download))
    model, _, _ = load("openai/some-clip")
    assert model.config.embed_dim == 20
    assert asked == ["merges.txt", "model*.safetensors"]
    (tmp_path / "model.safetensors").rename(tmp_path / "elsewhere")
    asked.clear()
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load("openai/some-clip")
    assert asked[1:3] == ["model*.safetensors", "pytorch_model*.bin"]
    assert asked[3:] == ["open_clip_model*.safetensors", "open_clip_pytorch_model*.bin"]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"minigrad-clip\[hub\]"):
        load("openai/some-clip")


def test_a_model_in_the_cache_of_the_hub(tmp_path):
    """The library itself, without a network, on a cache of its own form."""
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    folder = tmp_path / "models--openai--some-clip"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    published(snapshot, "hf")
    program = "import clip_np; print(clip_np.load('openai/some-clip')[0].config.embed_dim)"
    offline = {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "20", run.stderr


def test_a_run_is_still_a_run(tmp_path):
    tokenizer = Tokenizer([], context_length=9)
    model = CLIP(TINY.for_tokenizer(tokenizer), np.random.default_rng(0))
    save_checkpoint(tmp_path / "checkpoint.npz", model, tokenizer)
    assert locate(tmp_path) == tmp_path / "checkpoint.npz"
    again, preprocess, words = load(tmp_path, dtype="float64")
    assert preprocess == training_preprocess(32)
    assert words.context_length == 9
    assert again.vision.proj.dtype == np.float64
