"""How do two batches of vectors become one number to make small?

A batch holds N images and their N captions. Their vectors give the logits S (N, N):
cosines times the temperature, a factor (similarity.py). Row i compares image i with
every caption. Read it as a multiple choice: which caption belongs to this image? The
right answer is number i. Column j asks in the same way which image belongs to caption
j. The loss is the mean of both cross-entropies, known as the symmetric InfoNCE loss:

    P = softmax over each row of S         Q = softmax over each column of S
    L = (mean of -log P_ii + mean of -log Q_ii) / 2

The derivative of a cross-entropy with respect to its logits is "probabilities minus
one-hot answer" (minigrad/ops/losses.py derives it). With 1/N from each mean and 1/2
from the average of both, this gives

    dL/dS = ((P - Id) / N + (Q - Id) / N) / 2 = (P + Q - 2 Id) / 2N

where Id is the identity matrix. The entry of a pair that belongs together is negative
until both of its probabilities are 1, so a step against the gradient pulls the pair
together. All other entries are positive, and these pairs are pushed apart.

*Label smoothing.* A model that learns its pairs by heart makes P_ii ever nearer to 1,
and the cosines of all other pairs ever smaller, however alike these may be. With a
share e of the answer spread evenly over all N choices, it need not:

    -log P_ii    becomes    -(1 - e) log P_ii - e (mean over j of log P_ij)

and the same for the columns. This loss cannot come to 0: with e = 0.1 and N = 64, its
lowest value is 0.73, where P_ii = 0.9 + 0.1/64.

The temperature starts at 1/0.07. A model that knows nothing gives each caption the
probability 1/N, so its loss is ln N, with label smoothing too.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, figure 3; van den Oord et al. 2018, arXiv:1807.03748
(InfoNCE); Szegedy et al. 2016, arXiv:1512.00567, section 7 (label smoothing).
"""

import math

import numpy as np

import minigrad as mg
from clip_np.losses.loss import HasLogitScale, Loss
from clip_np.losses.similarity import (
    clamp_logit_scale,
    ignored_pairs,
    require_pairs,
    similarity_logits,
)
from minigrad.backend import Array
from minigrad.nn import Parameter

INITIAL_LOGIT_SCALE = math.log(1.0 / 0.07)  # section 2.5 of Radford et al.


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
    label_smoothing: float = 0.0,
) -> mg.Tensor:
    """The fast and safe form of `plain_contrastive_loss`: (N, E), (N, E), () -> ().

    The symmetric cross-entropy over a batch of N pairs. Features need not be
    normalised; logit_scale is a logarithm.

    positives (N, N), boolean, is true for the pairs (i, j) that must not count as wrong
    answers, for instance because image i and image j have the same caption. These pairs
    are left out of the comparison: their logit becomes minus infinity, so that their
    probability and their gradient are 0. The pairs (i, i) on the diagonal are the right
    answers, and always stay in. `clip-np train` passes those of `equal_captions`.

    label_smoothing is the share e of each answer that is spread over all choices.
    ValueError unless it lies in [0, 1).

    >>> features = mg.tensor(np.eye(4, dtype=np.float32))
    >>> logit_scale = mg.tensor(math.log(100.0))
    >>> round(contrastive_loss(features, features, logit_scale).item(), 6)
    0.0
    """
    require_pairs("contrastive_loss", image_features, text_features)
    require_share(label_smoothing)
    logits = similarity_logits(image_features, text_features, logit_scale)
    ignored = None
    if positives is not None:
        ignored = ignored_pairs("contrastive_loss", positives, logits)
        logits = mg.where(ignored, -math.inf, logits)
    labels = np.arange(len(logits))
    right = (mg.cross_entropy(logits, labels) + mg.cross_entropy(logits.T, labels)) * 0.5
    if label_smoothing == 0.0:
        return right
    rows = mean_surprise(logits, ignored)
    columns = mean_surprise(logits.T, None if ignored is None else ignored.T)
    return (1.0 - label_smoothing) * right + 0.5 * label_smoothing * (rows + columns)


def require_share(label_smoothing: float) -> None:
    """ValueError unless the share lies in [0, 1).

    >>> require_share(0.1)
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"`label_smoothing` must lie in [0, 1), got {label_smoothing}")


def mean_surprise(logits: mg.Tensor, ignored: Array | None) -> mg.Tensor:
    """The mean of -log P_ij over all choices j of all rows: (N, N) -> ().

    ignored (N, N) says which choices are none. Their logits are minus infinity.

    >>> logits = mg.tensor([[2.0, 2.0], [2.0, 2.0]])
    >>> round(mean_surprise(logits, None).item(), 4)  # ln 2
    0.6931
    """
    log_p = mg.log_softmax(logits)  # (N, N)
    if ignored is None:
        return -log_p.mean()
    choices = (~ignored).astype(logits.dtype).sum(axis=1)  # (N,)
    return -(mg.where(ignored, 0.0, log_p).sum(axis=1) / choices).mean()


class ContrastiveLoss(Loss):
    """`contrastive_loss` together with its one parameter, the temperature.

    label_smoothing is that of `contrastive_loss`.

    >>> loss = ContrastiveLoss(logit_scale=Parameter(np.array(9.0)))
    >>> loss.clamp()
    >>> round(loss.logit_scale.item(), 3)
    4.605
    """

    guessing_formula = "ln N"

    def __init__(self, logit_scale: Parameter, label_smoothing: float = 0.0) -> None:
        require_share(label_smoothing)
        self.logit_scale = logit_scale
        self.label_smoothing = label_smoothing

    @classmethod
    def of(cls, model: HasLogitScale) -> "ContrastiveLoss":
        """The loss with a model's temperature."""
        return cls(logit_scale=model.logit_scale)

    def forward(
        self, image_features: mg.Tensor, text_features: mg.Tensor, positives: Array | None = None
    ) -> mg.Tensor:
        return contrastive_loss(
            image_features=image_features,
            text_features=text_features,
            logit_scale=self.logit_scale,
            positives=positives,
            label_smoothing=self.label_smoothing,
        )

    def clamp(self) -> None:
        """Hold the logit scale within [0, ln 100]."""
        clamp_logit_scale(self.logit_scale)

    @staticmethod
    def guessing(count: int, positives: np.ndarray | None = None) -> float:
        """ln N: each of N captions gets the probability 1/N.

        With positives, a row or column has fewer than N choices, and the loss is the
        mean of their logarithms. Below, four pairs have two captions, so each image
        chooses between its caption and the two others:

        >>> captions = np.array([0, 0, 1, 1])
        >>> positives = captions[:, None] == captions
        >>> ContrastiveLoss.guessing(4, positives) == math.log(3)
        True
        """
        if positives is None:
            return math.log(count)
        choices = ~positives | np.eye(count, dtype=bool)  # (N, N)
        rows, columns = (np.log(choices.sum(axis=axis)).mean() for axis in (1, 0))
        return float(rows + columns) / 2
