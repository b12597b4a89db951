"""Which methods say where an image speaks for a text?

A map has a number for each part of the image, large where the image speaks for the
text. There are several methods, because none of them is *the* explanation: they ask
different questions of the model.

    attention            what the last layer looks at           the text plays no role
    rollout              what all layers together look at       the text plays no role
    gradient_attention   where looking raises the cosine        needs attention layers
    grad_cam             which places raise the cosine          a linear approximation
    occlusion            what happens if a part is hidden       100 more passes

`occlusion` is the one to trust most: on scenes with two shapes its centre lies on the
named shape most often (docs/looking_inside.md).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import minigrad as mg
from clip_np.evaluation.explaining.occlusion import occlusion_maps
from clip_np.evaluation.explaining.resnet_maps import resnet_maps
from clip_np.evaluation.explaining.vit_maps import vit_maps
from clip_np.evaluation.features import AnyTokenizer, embed_texts, in_eval_mode
from clip_np.model import CLIP
from clip_np.tokens import as_list

METHODS = {
    "occlusion": "what is lost when it is hidden",
    "gradient_attention": "attention, weighted by gradients",
    "grad_cam": "Grad-CAM",
    "rollout": "attention through all layers",
    "attention": "attention of the last layer",
}
"""The name of a method -> a few words for a picture; the most useful ones first."""

RECOMMENDED = "occlusion"

INNER_MAPS: dict[str, Callable[..., list[dict[str, np.ndarray]]]] = {
    "vit": vit_maps,
    "resnet": resnet_maps,
}
"""The kind of a vision encoder -> its maps from inside, for each text."""


class Explanation(NamedTuple):
    """Where an image speaks for a text, by several methods.

    cosine is the cosine of the image and the text. maps: the name of a method in
    METHODS -> its map (G, G), not negative, row by row from the top. Maps may have
    different sides, and only values of one map can be compared.
    """

    text: str
    cosine: float
    maps: dict[str, np.ndarray]


def explain(
    model: CLIP, tokenizer: AnyTokenizer, image: np.ndarray, texts: str | Sequence[str]
) -> list[Explanation]:
    """Where the image speaks for each of the texts, by all methods that the model has.

    image (3, S, S): what `preprocess` makes of a picture. The model sees a square from
    its middle, and the maps cover this square. The model is in `eval` mode meanwhile.
    One text is a list of one. ValueError without a text, or for an image of another
    shape.

    >>> import clip_np
    >>> tokenizer = clip_np.Tokenizer([], context_length=16)
    >>> config = clip_np.PRESETS["tiny"].for_tokenizer(tokenizer)
    >>> model = CLIP(config, np.random.default_rng(0))
    >>> image = np.zeros((3, 32, 32), np.float32)
    >>> image[:, 8:16, 8:16] = 1.0
    >>> (explanation,) = clip_np.explain(model, tokenizer, image, ["a white square"])
    >>> [(name, values.shape) for name, values in explanation.maps.items()]
    [('occlusion', (8, 8)), ('gradient_attention', (4, 4)), ... ('attention', (4, 4))]
    """
    texts = as_list(texts)
    size = model.config.vision.image_size
    if not texts or np.shape(image) != (3, size, size):
        raise ValueError(
            f"explain: expected an image (3, {size}, {size}) and at least one text, got "
            f"{np.shape(image)} and {len(texts)} texts"
        )
    text_features = embed_texts(model, tokenizer, texts)  # (M, E)
    text_features = text_features.astype(model.logit_scale.dtype)
    batch = mg.tensor(image[None], requires_grad=True, backend=model.logit_scale.backend)
    batch = batch.astype(model.logit_scale.dtype)
    with in_eval_mode(model):
        with mg.no_grad():
            features = mg.normalize(model.encode_image(batch)).numpy()  # (1, E)
        hidden = occlusion_maps(
            encode=model.encode_image,
            image=batch.numpy()[0],
            text_features=text_features,
            temperature=math.exp(model.logit_scale.item()),
        )
        inner = INNER_MAPS[model.config.vision.kind](model.vision, batch, text_features)
    explanations = []
    for text, row, values, others in zip(texts, text_features, hidden, inner, strict=True):
        maps = {"occlusion": values, **others}
        explanations.append(
            Explanation(
                text=text,
                cosine=float(features[0] @ row),
                maps={name: maps[name] for name in METHODS if name in maps},
            )
        )
    return explanations
