"""An untrained model in a run directory, and a folder of images for it."""

import json
import pathlib

import numpy as np
from PIL import Image

import clip_np
import minigrad as mg
from clip_np.data import shapes
from clip_np.encoders import CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluation import Index
from clip_np.files import write_npz
from clip_np.weights import CHECKPOINT, save_checkpoint

CONFIG = CLIPConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2),
    text=TextConfig(514, 77, width=16, layers=1, heads=2),
)


def untrained_run(directory: pathlib.Path, seed: int = 0) -> tuple:
    """Save a model of random weights, and load it: (model, preprocess, tokenizer)."""
    tokenizer = clip_np.Tokenizer.train(["a large red circle"], 530)
    model = clip_np.CLIP(CONFIG.for_tokenizer(tokenizer), np.random.default_rng(seed))
    directory.mkdir(exist_ok=True)
    save_checkpoint(directory / CHECKPOINT, model, tokenizer)
    return clip_np.load(directory)


def write_photos(folder: pathlib.Path) -> pathlib.Path:
    """Nine images, three of them in a folder within the folder, and a file of notes."""
    images, _ = shapes.training_pairs(9, np.random.default_rng(0))
    (folder / "more").mkdir(parents=True)
    for row, image in enumerate(images):
        Image.fromarray(image).save((folder / "more" if row > 5 else folder) / f"{row}.png")
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


def features_of(model, paths) -> np.ndarray:
    """The unit features (N, E) of image files, one after the other."""
    clip, preprocess, _ = model
    pixels = np.stack([preprocess(Image.open(path)) for path in paths])
    with mg.no_grad():
        return mg.normalize(clip.encode_image(pixels)).numpy()


def write_first_format(path: str | pathlib.Path, index: Index) -> None:
    """Write an index as it was written before: all files in one JSON header."""
    folder = f"{pathlib.Path(path).absolute().parent}/"
    files = [
        [name.removeprefix(folder), file.size, file.modified, file.problem]
        for name, file in index.files.items()
    ]
    header = {
        "format": "clip_np index 1",
        "model": index.model,
        "checksum": index.checksum,
        "files": files,
    }
    text = np.frombuffer(json.dumps(header).encode("ascii"), np.uint8)
    write_npz(path, {"header": text, "features": np.array(index.features)})
