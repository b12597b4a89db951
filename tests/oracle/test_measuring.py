"""`clip-np evaluate` against transformers, which sees, and scikit-learn, which learns.

A model is written as transformers' users have it. Then transformers embeds the images
and sentences, scikit-learn trains the linear probe and asks the neighbours, and the
recalls are counted from the cosines.
"""

import csv
import json
import pathlib

import numpy as np
import pytest
import theirs
from image_folders import CONFIG
from PIL import Image, ImageColor
from theirs import torch

import clip_np
from clip_np.cli import main
from clip_np.data import shapes
from clip_np.evaluation import TEMPLATES, linear_probe
from clip_np.evaluation.probes import PENALTIES
from clip_np.weights import convert, save_checkpoint

COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
TOLERANCE = 1e-3
TRAIN, TEST, K = 150, 90, 7


def sklearn(part: str):
    """A part of scikit-learn, or the test is left out."""
    reason = "the comparison needs scikit-learn: pip install scikit-learn"
    return pytest.importorskip(f"sklearn.{part}", reason=reason, exc_type=ImportError)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A published model in hf/, and drawings of another size with their colours."""
    folder = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    images, captions = shapes.training_pairs(1500, rng)
    tokenizer = clip_np.Tokenizer.train([*captions, *TEMPLATES], 700, context_length=32)
    save_checkpoint(
        folder / "run.npz", clip_np.CLIP(CONFIG.for_tokenizer(tokenizer), rng), tokenizer
    )
    convert(folder / "run.npz", folder / "hf")
    rows = []
    for image, caption in zip(images, captions):
        colour = next((word for word in caption.split() if word in COLOURS), None)
        if colour is None or len(rows) == TRAIN + TEST:
            continue
        name = f"{len(rows)}.png"
        # A tint that a random model half sees, so that no figure is near 0 or 1.
        tinted = 0.7 * image + 0.3 * np.array(ImageColor.getrgb(colour))
        noisy = np.clip(tinted + rng.normal(0, 60, image.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).resize((50, 44)).save(folder / name)
        rows.append([name, caption, colour, "train" if len(rows) < TRAIN else "test"])
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["file_name", "caption", "colour", "split"], *rows])
    (folder / "classes.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def embedded(folder):
    """transformers' unit features of all images and of some sentences, and the rows."""
    library = theirs.transformers()
    model = library.CLIPModel.from_pretrained(folder / "hf").eval()
    words = library.CLIPTokenizer.from_pretrained(folder / "hf")
    processor = library.CLIPImageProcessor.from_pretrained(folder / "hf")
    with open(folder / "captions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def unit(features) -> np.ndarray:
        array = getattr(features, "pooler_output", features).numpy().astype(np.float64)
        return array / np.linalg.norm(array, axis=1, keepdims=True)

    def texts(sentences: list[str]) -> np.ndarray:
        batch = words(sentences, padding=True, return_tensors="pt")
        with torch.no_grad():
            return unit(model.get_text_features(**batch))

    opened = [Image.open(folder / row["file_name"]).convert("RGB") for row in rows]
    with torch.no_grad():
        pixels = processor(opened, return_tensors="pt")["pixel_values"]
        images = unit(model.get_image_features(pixel_values=pixels))
    assert images.shape == (TRAIN + TEST, CONFIG.embed_dim)
    return images, texts, rows


def evaluate(capsys, folder: pathlib.Path, *arguments) -> dict:
    capsys.readouterr()
    data = ["--data", folder / "captions.csv", *arguments, "--json"]
    assert main(["evaluate", str(folder / "hf"), *map(str, data)]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_naming_equals_transformers_and_scikit_learn(capsys, folder, embedded):
    linear, neighbours = sklearn("linear_model"), sklearn("neighbors")
    preprocessing = sklearn("preprocessing")
    images, texts, rows = embedded
    labels = np.array([COLOURS.index(row["colour"]) for row in rows])
    train, test = slice(0, TRAIN), slice(TRAIN, None)

    ours = evaluate(
        capsys,
        folder,
        *("--label-column", "colour", "--classes", folder / "classes.txt"),
        *("--probe", "--neighbours", K),
    )
    assert (ours["images"], ours["classes"]) == (TEST, len(COLOURS))

    sentences = [template.replace("{}", name) for name in COLOURS for template in TEMPLATES]
    means = texts(sentences).reshape(len(COLOURS), len(TEMPLATES), -1).mean(axis=1)
    cosines = images[test] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    best = np.argsort(-cosines, axis=1)
    for k in (1, 5):
        wanted = (best[:, :k] == labels[test, None]).any(axis=1).mean()
        assert ours[f"zero_shot_top_{k}"] == pytest.approx(wanted, abs=TOLERANCE)

    scaler = preprocessing.StandardScaler().fit(images[train])
    probe = linear.RidgeClassifierCV(alphas=np.array(PENALTIES) * TRAIN)
    probe.fit(scaler.transform(images[train]), labels[train])
    wanted = probe.score(scaler.transform(images[test]), labels[test])
    assert ours["linear_probe_top_1"] == pytest.approx(wanted, abs=TOLERANCE)
    assert ours["chance"]["linear_probe_top_1"] + 0.1 < wanted < 0.9

    nearest = neighbours.KNeighborsClassifier(
        K,
        metric="cosine",
        algorithm="brute",
        weights=lambda distances: 1 + (1 - distances) / (4 * K),
    )
    wanted = nearest.fit(images[train], labels[train]).score(images[test], labels[test])
    assert ours["nearest_neighbours_top_1"] == pytest.approx(wanted, abs=TOLERANCE)


def test_retrieval_equals_transformers(capsys, folder, embedded):
    images, texts, rows = embedded
    ours = evaluate(capsys, folder)
    captions = [row["caption"] for row in rows[TRAIN:]]
    distinct = list(dict.fromkeys(captions))
    cosines = images[TRAIN:] @ texts(distinct).T  # (N, M)
    is_right = np.array([[caption == other for other in distinct] for caption in captions])
    for way, scores, right in (
        ("image_to_text", cosines, is_right),
        ("text_to_image", cosines.T, is_right.T),
    ):
        order = np.argsort(-scores, axis=1)
        hits = np.take_along_axis(right, order, axis=1)
        for k in (1, 5, 10):
            wanted = hits[:, :k].any(axis=1).mean()
            assert ours[f"{way}_recall_at_{k}"] == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize("count, width", [(60, 12), (20, 40)])
def test_the_probe_equals_scikit_learn(count, width):
    """The penalty, the scores and the error, also with more numbers than images."""
    linear, preprocessing = sklearn("linear_model"), sklearn("preprocessing")
    rng = np.random.default_rng(width)
    labels = rng.integers(4, size=count)
    features = rng.standard_normal((4, width))[labels] + 2 * rng.standard_normal((count, width))
    others = rng.standard_normal((30, width))
    ours = linear_probe(features, labels, 4)
    scaler = preprocessing.StandardScaler().fit(features)
    probe = linear.RidgeCV(alphas=np.array(PENALTIES) * count)
    probe.fit(scaler.transform(features), np.eye(4)[labels])
    assert ours.penalty * count == pytest.approx(probe.alpha_)
    assert ours.scores(others) == pytest.approx(probe.predict(scaler.transform(others)), abs=1e-9)
    assert ours.squared_error == pytest.approx(-4 * probe.best_score_)  # the mean of 4 columns
