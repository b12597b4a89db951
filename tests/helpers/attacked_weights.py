"""Targets: checkpoints, published weights, their settings and vocabularies."""

import copy
import io
import json
import pathlib
import random
import zipfile

import numpy as np
import torch_zip
from attacks import change_numbers, repeated
from fuzz_files import change_bytes, change_program, change_table, change_value
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.files import file_errors, read_npz
from clip_np.training import SavedTraining, TrainingOptions, read_run
from clip_np.weights import CHECKPOINT, save_checkpoint, save_pretrained
from clip_np.weights.known_layouts import export_arrays
from minigrad.optim import AdamW

TEXT = "a large red circle, and 3 small ones"
WORDS = ["a large red circle", "a small blue square"]
PICTURE = Image.new("RGB", (40, 30), (250, 10, 20))
TRAINING: dict = {
    "step": 20,
    "elapsed": 3.5,
    "source": {
        "task": "files",
        "path": "photos",
        "skip_bad": False,
        "seed": 0,
        "image_column": None,
        "validation_fraction": 0.25,
    },
    "options": {"preset": "tiny", "steps": 24, "seconds": None, "batch_size": 4, "seed": 3},
}


def new_model(width: int = 16) -> tuple[clip_np.CLIP, clip_np.Tokenizer]:
    """A model of one layer in each encoder, and its tokenizer."""
    tokenizer = clip_np.Tokenizer.train(WORDS, 530, context_length=12)
    config = CLIPConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, patch_size=16, width=width, layers=1, heads=1),
        text=TextConfig(514, 12, width=width, layers=1, heads=1),
    ).for_tokenizer(tokenizer)
    return clip_np.CLIP(config, np.random.default_rng(0)), tokenizer


def use_model(path: pathlib.Path) -> None:
    """Load a model, and encode a text and an image."""
    model, preprocess, tokenizer = clip_np.load(path)
    # Weights that are large but finite may overflow: that is their right.
    with mg.no_grad(), np.errstate(all="ignore"):
        pixels = preprocess(PICTURE)
        assert model.encode_image(pixels[None]).numpy().shape == (1, model.config.embed_dim)
        if not isinstance(tokenizer, clip_np.tokens.MissingTokenizer):
            rows = tokenizer(TEXT, truncate=True)
            assert model.encode_text(rows).numpy().shape == (1, model.config.embed_dim)
            tokenizer.decode(rows[0].tolist())


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz file, quickly: it need not survive a power cut."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{name}.npy", file.getvalue())


def change_json(text: bytes, rng: random.Random) -> bytes:
    """Other values in JSON, sometimes no JSON at all."""
    if rng.random() < 0.2:
        return change_bytes(text, rng)
    if rng.random() < 0.02:
        return b"[" * rng.choice((100, 10_000, 1_000_000))
    value = repeated(change_value, json.loads(text), rng)
    return json.dumps(value, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


class Checkpoint:
    """checkpoint.npz: bytes, settings and arrays are changed."""

    changed_bytes = 0.25  # share of the files whose bytes are changed

    def __init__(self, folder: pathlib.Path, *, data: str = "photos") -> None:
        self.folder = folder
        self.path = folder / CHECKPOINT
        self.names = [CHECKPOINT]
        self.training = TRAINING | {"source": TRAINING["source"] | {"path": data}}
        model, tokenizer = new_model()
        save_checkpoint(self.path, model, tokenizer, AdamW(model.parameters()), self.training)
        self.original = self.path.read_bytes()
        self.arrays = read_npz(self.path)

    def damage(self, rng: random.Random) -> None:
        if rng.random() < self.changed_bytes:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        arrays = dict(self.arrays)
        header = json.loads(arrays["header"].tobytes())
        header.pop("contents")  # a file of version 0.1, which has no checksums of its own
        text = json.dumps(self.changed(header, arrays, rng)).encode("utf-8", "surrogatepass")
        if "header" in arrays or rng.random() < 0.5:
            arrays["header"] = np.frombuffer(text, np.uint8)
        write_arrays(self.path, arrays)

    def changed(self, header: dict, arrays: dict, rng: random.Random):
        """The settings with a change in them or in the arrays."""
        match rng.randrange(4):
            case 0:
                change_numbers(arrays, rng)
            case 1:
                tokenizer = repeated(change_value, json.loads(header["tokenizer"]), rng)
                header["tokenizer"] = json.dumps(tokenizer)
            case _:
                return repeated(change_value, header, rng)
        return header

    def use(self) -> None:
        use_model(self.path)


class TrainingRecord(Checkpoint):
    """What a checkpoint says of its training, read as `train --resume` does."""

    changed_bytes = 0.0

    def changed(self, header: dict, arrays: dict, rng: random.Random):
        header["training"] = repeated(change_value, copy.deepcopy(self.training), rng)
        return header

    def use(self) -> None:
        saved = SavedTraining.of(read_run(self.folder).training)
        with file_errors(self.path, "no run to go on with"):
            saved.require_all()
        TrainingOptions.of(saved.options or {})


class Published:
    """A folder in Hugging Face's form, with one file of it damaged."""

    def __init__(self, folder: pathlib.Path, *, weights: str, damaged: str) -> None:
        self.folder = folder
        self.names = [damaged, weights]
        model, tokenizer = new_model()
        save_pretrained(model, folder, tokenizer=tokenizer)
        arrays = clip_np.files.read_safetensors(folder / "model.safetensors")[0]
        if weights == "pytorch_model.bin":
            (folder / "model.safetensors").unlink()
            self.program, self.storages = torch_zip.program(dict(arrays))
            torch_zip.pack(folder / weights, self.program, self.storages)
        elif weights.endswith(".index.json"):
            (folder / "model.safetensors").rename(folder / "part.safetensors")
            table = {"metadata": {}, "weight_map": dict.fromkeys(arrays, "part.safetensors")}
            (folder / weights).write_text(json.dumps(table))
            self.names.append("part.safetensors")
        self.path = folder / damaged
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        if self.path.suffix == ".safetensors":
            change = change_table if rng.random() < 0.6 else change_bytes
            self.path.write_bytes(change(self.original, rng))
        elif self.path.suffix == ".bin" and rng.random() < 0.8:
            code = (change_program if rng.random() < 0.8 else change_bytes)(self.program, rng)
            torch_zip.pack(self.path, code, self.storages, align=rng.choice((64, 0)))
        elif self.path.suffix == ".json":
            self.path.write_bytes(change_json(self.original, rng))
        else:
            self.path.write_bytes(change_bytes(self.original, rng))

    def use(self) -> None:
        use_model(self.folder)


class OpenAI:
    """One file of weights under OpenAI's names: TorchScript, as OpenAI publishes it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "ViT.pt"
        self.names = ["ViT.pt"]
        model, _ = new_model(width=64)
        state: dict = {}
        for name, array in export_arrays(model, "openai").items():
            *parents, last = name.split(".")
            module = state
            for parent in parents:
                module = module.setdefault(parent, {})
            module[last] = array
        self.program, self.storages = torch_zip.program(_modules(state, "CLIP"))
        torch_zip.pack(self.path, self.program, self.storages)
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.2:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        code = (change_program if rng.random() < 0.8 else change_bytes)(self.program, rng)
        torch_zip.pack(self.path, code, self.storages, align=rng.choice((64, 0)))

    def use(self) -> None:
        use_model(self.path)


def _modules(state: dict, name: str) -> torch_zip.Module:
    inner = {
        key: _modules(value, key) if isinstance(value, dict) else value
        for key, value in state.items()
    }
    return torch_zip.Module(f"__torch__.model.{name}", inner)


class Vocabulary:
    """A tokenizer in one of its forms, with one file of it damaged."""

    def __init__(self, folder: pathlib.Path, *, form: str, damaged: str) -> None:
        self.folder = folder
        self.names = [damaged, "vocab.json", "tokenizer.json"]
        _, tokenizer = new_model()
        if form == "clip_np":
            tokenizer.save(folder / "tokenizer.json")
        else:
            tokenizer.save_huggingface(folder)
        if form == "single":
            content = {
                "model": {
                    "vocab": tokenizer.vocabulary,
                    "merges": [f"{left} {right}" for left, right in tokenizer.merges],
                }
            }
            (folder / "tokenizer.json").write_text(json.dumps(content))
            (folder / "vocab.json").unlink()
            (folder / "merges.txt").unlink()
        self.path = folder / damaged
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        change = change_json if self.path.suffix == ".json" else change_bytes
        self.path.write_bytes(change(self.original, rng))

    def use(self) -> None:
        tokenizer = clip_np.Tokenizer.load(self.folder)
        rows = tokenizer([TEXT, "réd 🐶"], truncate=True)
        assert rows.shape == (2, tokenizer.context_length)
        assert rows.min() >= 0
        assert rows.max() < tokenizer.vocab_size
        tokenizer.decode(rows[0].tolist())
