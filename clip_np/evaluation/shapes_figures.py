"""Which figures describe a model on the shapes task?"""

import numpy as np

from clip_np.data import CLASSES, PROMPTS, ShapesSplit
from clip_np.evaluation.features import embed_images, embed_texts
from clip_np.evaluation.metrics import ranks, retrieval_metrics
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer


def shapes_report(
    model: CLIP, tokenizer: Tokenizer, splits: dict[str, ShapesSplit]
) -> dict[str, float]:
    """The figures of the shapes task."""
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
        hits = ranks(best, np.asarray(splits[kind].labels)[:, None] == np.arange(len(CLASSES)))
        result[kind.replace("zeroshot", "zero_shot")] = float((hits == 1).mean())
    return result
