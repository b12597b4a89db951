"""How alike are an image and a caption?

The encoders turn N images and M captions into vectors. Scaled to length 1, the vectors
of the images are the rows of F (N, E), and the vectors of the captions are the rows of
G (M, E). A product of two rows is the cosine of the angle between them. The N * M
cosines, times a factor that is learned, are the *logits*:

    S = factor * F G^T,       factor = exp(logit_scale)        (N, M)

Why the factor? A cosine lies in [-1, 1], and a softmax over such numbers could never be
sure of anything. The literature uses the word *temperature* for two numbers: for t in
softmax(x / t), as physics does, and for the factor 1/t. In clip_np it is the factor,
everywhere. A high temperature makes a model sure. Its logarithm, logit_scale, is what
is learned, so that the factor stays positive. It is held between 1 and 100.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, section 2.5.
"""

import math

import numpy as np

import minigrad as mg
from minigrad.backend import Array, array_module
from minigrad.nn import Parameter

MAX_LOGIT_SCALE = math.log(100.0)  # section 2.5 of Radford et al.
MIN_LOGIT_SCALE = 0.0  # a factor of 1; a choice of this project, the paper has no lower bound


def similarity_logits(
    image_features: mg.Tensor, text_features: mg.Tensor, logit_scale: mg.Tensor
) -> mg.Tensor:
    """exp(logit_scale) times all cosines: (N, E), (M, E), () -> (N, M).

    >>> images = mg.tensor([[1.0, 0.0], [3.0, 4.0]])
    >>> texts = mg.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> similarity_logits(images, texts, mg.tensor(0.0)).data.round(2)
    array([[ 1. ,  0. , -1. ],
           [ 0.6,  0.8, -0.6]], dtype=float32)
    """
    if image_features.ndim != 2 or image_features.shape[1:] != text_features.shape[1:]:
        raise ValueError(
            f"similarity: image features {image_features.shape} and text features "
            f"{text_features.shape} must be (N, E) and (M, E)"
        )
    images = mg.normalize(image_features)
    texts = mg.normalize(text_features)
    return mg.exp(logit_scale) * (images @ texts.T)  # (N, M)


def require_pairs(name: str, image_features: mg.Tensor, text_features: mg.Tensor) -> None:
    """ValueError, in the name of a loss, unless both are (N, E) with N at least 1."""
    shape = image_features.shape
    if len(shape) != 2 or shape[0] == 0 or text_features.shape != shape:
        raise ValueError(
            f"{name}: image features {shape} and text features {text_features.shape} "
            "must have one shape (N, E), N at least 1"
        )


def ignored_pairs(name: str, positives: Array, logits: mg.Tensor) -> Array:
    """Which pairs a loss leaves out: the positives (N, N), but for the diagonal.

    On the device of the logits. ValueError, in the name of the loss, for other shapes.
    """
    if positives.shape != logits.shape:
        raise ValueError(f"{name}: positives {positives.shape} must be {logits.shape}")
    xp = array_module(logits.data)
    return xp.asarray(positives) & ~xp.eye(len(logits), dtype=bool)


def match_probabilities(cosines: np.ndarray, logit_scale: float) -> np.ndarray:
    """How likely each of M captions is for each of N images: (N, M) -> (N, M).

    cosines compare all images with all captions. logit_scale is the model's, a
    logarithm. The result is the softmax over each row of the logits, so rows sum to 1.
    A single caption always gets 1. A model of the sigmoid loss adds a bias to all
    logits; a softmax does not change when all of them grow by the same number, so the
    bias drops out.

    >>> cosines = np.array([[0.30, 0.25, 0.10]])
    >>> match_probabilities(cosines, logit_scale=math.log(20)).round(2)
    array([[0.72, 0.27, 0.01]])
    """
    return mg.softmax(mg.tensor(math.exp(logit_scale) * cosines)).numpy()


def clamp_logit_scale(logit_scale: Parameter) -> None:
    """Hold a logit scale within [0, ln 100], in place.

    The upper bound is the paper's. The lower one is a choice of this project.

    >>> scale = Parameter(np.array(9.0))
    >>> clamp_logit_scale(scale)
    >>> round(scale.item(), 3)
    4.605
    """
    scale = logit_scale.data
    array_module(scale).clip(scale, MIN_LOGIT_SCALE, MAX_LOGIT_SCALE, out=scale)
