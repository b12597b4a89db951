"""How do two batches of vectors become one number to make small?

A batch holds N images and their N captions. The encoders turn them into vectors. Scaled
to length 1, the vectors of the images are the rows of F, and the vectors of the
captions are the rows of G, both (N, E). A product of two rows is the cosine of the
angle between them. The N^2 cosines, times a factor that is learned, are the *logits*:

    S = factor * F G^T,       factor = exp(logit_scale)        (N, N)

Row i compares image i with every caption. Read it as a multiple choice: which caption
belongs to this image? The right answer is number i. Column j asks in the same way which
image belongs to caption j. The loss is the mean of both cross-entropies, known as the
symmetric InfoNCE loss:

    P = softmax over each row of S         Q = softmax over each column of S
    L = (mean of -log P_ii + mean of -log Q_ii) / 2

The derivative of a cross-entropy with respect to its logits is "probabilities minus
one-hot answer". With 1/N from each mean and 1/2 from the average of both, this gives

    dL/dS = ((P - Id) / N + (Q - Id) / N) / 2 = (P + Q - 2 Id) / 2N

where Id is the identity matrix. The entry of a pair that belongs together is negative
until both of its probabilities are 1, so a step against the gradient pulls the pair
together. All other entries are positive, and these pairs are pushed apart.

Why the factor? A cosine lies in [-1, 1], and a softmax over such numbers could never be
sure of anything. The factor starts at 1/0.07 and is held at 100 or below. This program,
like the paper, calls it the *temperature*, for instance in its reports; in physics it
would be one over a temperature. Its logarithm, logit_scale, is what is learned, so that
the factor stays positive. A model that knows nothing has a loss of ln N.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, figure 3; van den Oord et al. 2018, arXiv:1807.03748
(InfoNCE).
"""

import math
from typing import Protocol

import numpy as np

import minigrad as mg
from minigrad.backend import Array, array_module
from minigrad.nn import Module, Parameter

INITIAL_LOGIT_SCALE = math.log(1.0 / 0.07)  # section 2.5 of Radford et al.
MAX_LOGIT_SCALE = math.log(100.0)  # section 2.5, too
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


def match_probabilities(cosines: np.ndarray, logit_scale: float) -> np.ndarray:
    """How likely each of M captions is for each of N images: (N, M) -> (N, M).

    cosines compare all images with all captions. logit_scale is the model's, a
    logarithm. The result is the softmax over each row of the logits, so rows sum to 1.
    A single caption always gets 1.

    >>> cosines = np.array([[0.30, 0.25, 0.10]])
    >>> match_probabilities(cosines, logit_scale=math.log(20)).round(2)
    array([[0.72, 0.27, 0.01]])
    """
    return mg.softmax(mg.tensor(math.exp(logit_scale) * cosines)).numpy()


def plain_contrastive_loss(logits: mg.Tensor) -> mg.Tensor:
    """The loss of logits (N, N) as at the head of this file: to be read, not used.

    >>> logits = mg.tensor([[2.0, 2.0], [2.0, 2.0]])
    >>> round(plain_contrastive_loss(logits).item(), 4)  # ln 2
    0.6931
    """
    count = len(logits)
    exponentials = mg.exp(logits)  # (N, N)
    rows = exponentials / exponentials.sum(axis=1, keepdims=True)  # (N, N)
    columns = exponentials / exponentials.sum(axis=0, keepdims=True)  # (N, N)
    right = (np.arange(count), np.arange(count))  # the diagonal
    return (-mg.log(rows[right]).mean() - mg.log(columns[right]).mean()) / 2.0


def contrastive_loss(
    image_features: mg.Tensor,
    text_features: mg.Tensor,
    logit_scale: mg.Tensor,
    positives: Array | None = None,
) -> mg.Tensor:
    """The fast and safe form of `plain_contrastive_loss`: (N, E), (N, E), () -> ().

    The symmetric cross-entropy over a batch of N pairs. Features need not be
    normalised; logit_scale is a logarithm.

    positives (N, N), boolean, is true for the pairs (i, j) that must not count as wrong
    answers, for instance because image i and image j have the same caption. These pairs
    are left out of the comparison: their logit becomes minus infinity, so that their
    probability and their gradient are 0. The pairs (i, i) on the diagonal are the right
    answers, and always stay in. `clip-np train` passes none: there, the equal caption
    of another image counts as a wrong answer.

    >>> features = mg.tensor(np.eye(4, dtype=np.float32))
    >>> logit_scale = mg.tensor(math.log(100.0))
    >>> round(contrastive_loss(features, features, logit_scale).item(), 6)
    0.0
    """
    count = len(image_features)
    if image_features.shape != text_features.shape or count == 0:
        raise ValueError(
            f"contrastive_loss: image features {image_features.shape} and text features "
            f"{text_features.shape} must have one shape (N, E), N at least 1"
        )
    logits = similarity_logits(image_features, text_features, logit_scale)
    if positives is not None:
        if positives.shape != logits.shape:
            raise ValueError(
                f"contrastive_loss: positives {positives.shape} must be {logits.shape}"
            )
        xp = array_module(logits.data)
        ignored = xp.asarray(positives) & ~xp.eye(count, dtype=bool)
        logits = mg.where(ignored, -math.inf, logits)
    labels = np.arange(count)
    return (mg.cross_entropy(logits, labels) + mg.cross_entropy(logits.T, labels)) * 0.5


class Loss(Module):
    """A loss with parameters. A subclass defines `forward` and may define `clamp`.

    forward(image_features, text_features, positives=None) gets features (N, E), not
    normalised, and returns a tensor with one number. positives is as in
    `contrastive_loss`.
    """

    def clamp(self) -> None:
        """Bring the parameters back into their bounds, after a training step."""


class ContrastiveLoss(Loss):
    """`contrastive_loss` together with its one parameter, the temperature.

    >>> loss = ContrastiveLoss(logit_scale=Parameter(np.array(9.0)))
    >>> loss.clamp()
    >>> round(loss.logit_scale.item(), 3)
    4.605
    """

    def __init__(self, logit_scale: Parameter) -> None:
        self.logit_scale = logit_scale

    def forward(
        self, image_features: mg.Tensor, text_features: mg.Tensor, positives: Array | None = None
    ) -> mg.Tensor:
        return contrastive_loss(image_features, text_features, self.logit_scale, positives)

    def clamp(self) -> None:
        """Hold the logit scale within [0, ln 100].

        The upper bound is the paper's. The lower one is a choice of this project.
        """
        scale = self.logit_scale.data
        array_module(scale).clip(scale, MIN_LOGIT_SCALE, MAX_LOGIT_SCALE, out=scale)


class HasLogitScale(Protocol):
    """A model that owns the temperature; `CLIP` does."""

    logit_scale: Parameter


def loss_for(model: HasLogitScale, loss: str | Loss) -> Loss:
    """The loss that a caller of a training step asks for, as a module.

    "clip" is the contrastive loss with the model's temperature. A `Loss` is returned as
    it is. ValueError for anything else.

    >>> import clip_np
    >>> model = clip_np.CLIP(clip_np.PRESETS["tiny"], np.random.default_rng(0))
    >>> loss_for(model, "clip").logit_scale is model.logit_scale
    True
    """
    if isinstance(loss, Loss):
        return loss
    if loss == "clip":
        return ContrastiveLoss(logit_scale=model.logit_scale)
    raise ValueError(f'loss must be "clip" or a module of class clip_np.losses.Loss, got {loss!r}')
