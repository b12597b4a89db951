"""Chapter 30: how good is a model that has no classes?

A CLIP is judged by what its two embeddings can find in one another.

- Retrieval: given an image, rank all captions (and the other way round). Recall at k is the
  share of queries whose right answer is among the first k; the median rank says where it
  usually stands. Equal captions are one answer; any other tie counts against the model, so
  that one which gives every pair the same score gets 0 and not 1.
- Zero-shot classification: write each class into a few sentences, embed them, and see which
  class an image is closest to. No image of the classes is needed to set it up.
- Multiple choice: the right caption against a few wrong ones.

Radford et al. 2021, arXiv:2103.00020, section 3.1.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

import minigrad as mg
from clip_np.data import CLASSES, PROMPTS, ShapesSplit, to_model_input
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer

RECALLS = (1, 5, 10)
CHUNK = 256  # rows embedded together: more would need more memory
Rows = np.ndarray | mg.Tensor  # features (N, E)
Names = Sequence[str] | None


def unit_features(model: CLIP, encode: Callable, inputs: np.ndarray) -> np.ndarray:
    """Unit features (N, E) that an encoder of the model makes of inputs (N, ...)."""
    features = np.zeros((len(inputs), model.config.embed_dim), np.float32)
    with mg.no_grad():
        for low in range(0, len(inputs), CHUNK):
            rows = slice(low, low + CHUNK)
            features[rows] = mg.normalize(encode(inputs[rows])).numpy()
    return features


def embed_images(model: CLIP, images: np.ndarray) -> np.ndarray:
    """Unit features (N, E) of uint8 images (N, S, S, 3)."""
    return unit_features(model, lambda rows: model.encode_image(to_model_input(rows)), images)


def embed_texts(model: CLIP, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Unit features (N, E) of N texts; what exceeds the context length is cut off."""
    context = model.config.text.context_length
    tokens = tokenizer(list(texts), context_length=context, truncate=True)
    return unit_features(model, model.encode_text, tokens)


def caption_probabilities(
    model: CLIP, tokenizer: Tokenizer, images: np.ndarray, captions: Sequence[str]
) -> np.ndarray:
    """How likely M captions are for each of N uint8 images (N, S, S, 3): (N, M), rows sum to 1."""
    cosines = embed_images(model, images) @ embed_texts(model, tokenizer, captions).T  # (N, M)
    return mg.softmax(mg.tensor(math.exp(model.logit_scale.item()) * cosines)).numpy()


def _unit_pairs(image_features: Rows, text_features: Rows) -> list[np.ndarray]:
    """Both as unit rows (N, E), float64."""
    units = []
    for name, features in (("image_features", image_features), ("text_features", text_features)):
        rows = np.asarray(features, dtype=np.float64)
        if rows.ndim != 2:
            raise ValueError(f"{name} must have shape (N, E), got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} hold a NaN or an infinity: nothing can be ranked by them")
        units.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
    images, texts = map(len, units)
    if images != texts or images == 0:
        raise ValueError(f"expected pairs of features, got {images} images but {texts} captions")
    return units


def _numbered(names: Sequence | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Number `count` rows, those of one name alike: (count,), and each number's first row (M,)."""
    names = range(count) if names is None else names
    if len(names) != count:
        raise ValueError(f"{count} pairs of features, but {len(names)} names or captions of them")
    _, first, which = np.unique(np.array(names, object), return_index=True, return_inverse=True)
    return which, first


def _ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the best right answer in each row of scores (Q, A)."""
    best = np.where(right, scores, -np.inf).max(axis=1)  # (Q,)
    # Equal features give scores that are equal up to rounding only.
    return 1 + ((scores > best[:, None] - 1e-9) & ~right).sum(axis=1)


def retrieval_metrics(
    image_features: Rows, text_features: Rows, captions: Names = None, image_names: Names = None
) -> dict[str, float]:
    """Recall at 1, 5, 10 and median rank, both ways, of N pairs: features (N, E) and (N, E).

    Equal `captions` are one answer: images are ranked against the distinct ones, and a caption
    finds any of its images. Likewise all captions of equal `image_names` are right. Keys:
    image_to_text_recall_at_1, ..., text_to_image_median_rank; recall_at_k, the mean of both ways.
    """
    images, texts = _unit_pairs(image_features, text_features)
    image_of, first_images = _numbered(image_names, len(images))
    caption_of, first_captions = _numbered(captions, len(images))
    scores = images[first_images] @ texts[first_captions].T  # (images, captions), distinct ones
    right = np.zeros(scores.shape, bool)
    right[image_of, caption_of] = True
    result: dict[str, float] = {"pairs": len(images), "distinct_captions": len(first_captions)}
    ways = {"image_to_text": _ranks(scores, right), "text_to_image": _ranks(scores.T, right.T)}
    for way, ranks in ways.items():
        result |= {f"{way}_recall_at_{k}": float((ranks <= k).mean()) for k in RECALLS}
        result[f"{way}_median_rank"] = float(np.median(ranks))
    for k in RECALLS:
        result[f"recall_at_{k}"] = float(np.mean([result[f"{way}_recall_at_{k}"] for way in ways]))
    return result


def zero_shot_classifier(
    model: CLIP, tokenizer: Tokenizer, class_names: Sequence[str], templates: Sequence[str]
) -> np.ndarray:
    """Unit columns (E, n_classes), each the mean of a class's embedded sentences.

    A template is a sentence with {} where the class name goes: "a photo of a {}." The class of
    an image with unit features f is argmax(f @ classifier)."""
    if not class_names or not templates:
        raise ValueError("zero_shot_classifier: needs at least one class and one template")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"zero_shot_classifier: template {template!r} needs one {{}}")
    prompts = [each.replace("{}", name) for name in class_names for each in templates]
    features = embed_texts(model, tokenizer, prompts)  # (classes * templates, E)
    means = features.reshape(len(class_names), len(templates), -1).mean(axis=1)  # (classes, E)
    return mg.normalize(mg.tensor(means)).numpy().T  # (E, classes)


def multiple_choice_accuracy(
    image_features: Rows, text_features: Rows, choices: int = 3, captions: Names = None
) -> float:
    """How often an image prefers its caption to `choices` - 1 wrong ones; features (N, E) each.

    Wrong are other pairs' captions, never equal `captions`. This is the expectation over all ways
    to draw them, without random numbers: a caption that beats b of the w wrong ones beats all of
    n drawn with probability C(b, n) / C(w, n). A tie is a wrong answer."""
    images, texts = _unit_pairs(image_features, text_features)
    answer, first = _numbered(captions, len(images))
    wrong, drawn = len(first) - 1, choices - 1
    if drawn < 1 or wrong < drawn:
        needed = f"{choices} choices need 2 or more, and as many distinct captions"
        raise ValueError(f"multiple choice: {needed}; found {len(first)}")
    right = answer[:, None] == np.arange(len(first))  # (N, distinct)
    beaten = wrong + 1 - _ranks(images @ texts[first].T, right)  # (N,)
    ways = [math.comb(int(b), drawn) / math.comb(wrong, drawn) for b in beaten]
    return float(np.mean(ways))


def shapes_report(
    model: CLIP, tokenizer: Tokenizer, splits: dict[str, ShapesSplit]
) -> dict[str, float]:
    """The figures of the shapes task: recall, the mean of both ways, in galleries of 100 rows (the
    mean over them) and of all; zero-shot with the best of ten prompts for each class."""
    result = {}
    for kind, suffix in (("all", ""), ("heldout", "_heldout")):
        images = embed_images(model, splits[kind].images)
        texts = embed_texts(model, tokenizer, splits[kind].captions)
        for size in (100, len(images)):
            parts = [slice(low, low + size) for low in range(0, len(images) - size + 1, size)]
            recalls = [retrieval_metrics(images[p], texts[p])["recall_at_1"] for p in parts]
            if recalls:
                result[f"recall_at_1_of_{size}{suffix}"] = float(np.mean(recalls))
    prompts = [template.format(name) for name in CLASSES for template in PROMPTS]
    classes = embed_texts(model, tokenizer, prompts).astype(np.float64)
    for kind in ("zeroshot_seen", "zeroshot_heldout"):
        scores = embed_images(model, splits[kind].images) @ classes.T  # (N, classes * prompts)
        best = scores.reshape(-1, len(CLASSES), len(PROMPTS)).max(axis=2)  # (N, classes)
        hits = _ranks(best, np.asarray(splits[kind].labels)[:, None] == np.arange(len(CLASSES)))
        result[kind.replace("zeroshot", "zero_shot")] = float((hits == 1).mean())
    return result


def pairs_report(
    model: CLIP, tokenizer: Tokenizer, images: np.ndarray, captions: list[str], image_names: Names
) -> dict[str, float]:
    """Retrieval figures and 3-way multiple choice for uint8 images (N, S, S, 3). Rows of one image
    name are one image with several captions, of which the choice sees one."""
    image_features = embed_images(model, images)
    text_features = embed_texts(model, tokenizer, captions)
    result = retrieval_metrics(image_features, text_features, captions, image_names)
    rows = _numbered(image_names, len(images))[1]
    shown = [captions[row] for row in rows]
    if len(set(shown)) >= 3:
        features = image_features[rows], text_features[rows]
        result["multiple_choice_3"] = multiple_choice_accuracy(*features, captions=shown)
    return result
