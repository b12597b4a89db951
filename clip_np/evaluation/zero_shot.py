"""How does a model name classes that it was never trained to name?

It compares an image with sentences. This is *zero-shot classification*. Each class is
written into a few templates, such as "a photo of a {}.", and the sentences are
embedded. Let T(sentence) be the features that the text encoder makes, and unit(x) = x /
|x|. The mean of the unit vectors, scaled to length 1 again, is the class:

    w_c = unit(mean over templates t of unit(T(t with the name of c)))      (E,)

The class of an image with unit features u is the one with the largest cosine u . w_c.
No image of the classes is needed to set this up. The same comparison, with a softmax
over the sentences, gives each caption its probability.

Radford et al. 2021, arXiv:2103.00020, sections 3.1.2 to 3.1.4.
"""

from collections.abc import Sequence

import numpy as np

import minigrad as mg
from clip_np.data import Preprocess
from clip_np.evaluation.features import AnyTokenizer, embed_images, embed_texts
from clip_np.evaluation.rank_embedding import ConnectedRank, embed_texts_over
from clip_np.losses import match_probabilities
from clip_np.model import CLIP


def zero_shot_classifier(
    model: CLIP,
    tokenizer: AnyTokenizer,
    class_names: Sequence[str],
    templates: Sequence[str],
    comm: ConnectedRank | None = None,
) -> np.ndarray:
    """A column for each class, the unit mean of its embedded sentences: (E, n_classes).

    A template is a sentence with {} where the class name goes: "a photo of a {}." The
    class of an image with unit features u (E,) is argmax(u @ classifier). ValueError
    without a class or a template, or for a template without exactly one {}.
    With comm, all ranks share the work and get the result.

    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.tokens import Tokenizer
    >>> tokenizer = Tokenizer([], context_length=16)
    >>> model = CLIP(PRESETS["tiny"].for_tokenizer(tokenizer), np.random.default_rng(0))
    >>> templates = ["a {}", "my {}"]
    >>> zero_shot_classifier(model, tokenizer, ["cat", "dog", "hat"], templates).shape
    (64, 3)
    """
    if not class_names or not templates:
        raise ValueError("zero_shot_classifier: needs at least one class and one template")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"zero_shot_classifier: template {template!r} needs one {{}}")
    sentences = [
        template.replace("{}", class_name) for class_name in class_names for template in templates
    ]
    features = embed_texts_over(comm, model, tokenizer, sentences)  # (classes * templates, E)
    means = features.reshape(len(class_names), len(templates), -1).mean(axis=1)  # (classes, E)
    return mg.normalize(mg.tensor(means)).numpy().T  # (E, classes)


def caption_probabilities(
    model: CLIP,
    tokenizer: AnyTokenizer,
    images: np.ndarray,
    captions: Sequence[str],
    preprocess: Preprocess | None = None,
) -> np.ndarray:
    """How likely each of M captions is for each of N images: (N, M), rows sum to 1.

    images: uint8 (N, S, S, 3). preprocess is as in `embed_images`.
    """
    image_features = embed_images(model, images, preprocess)  # (N, E)
    text_features = embed_texts(model, tokenizer, captions)  # (M, E)
    cosines = image_features @ text_features.T  # (N, M)
    return match_probabilities(cosines, model.logit_scale.item())
