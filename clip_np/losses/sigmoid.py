"""How can a pair be judged without the rest of the batch?

The contrastive loss asks, for each image, which caption of the batch is the right one.
The sigmoid loss, SigLIP's, asks a simpler question of each of the N^2 pairs: do these
two belong together? Each answer is a yes or a no by itself, and nothing is normalised
over the batch.

    S = exp(logit_scale) F G^T + logit_bias        (N, N), F and G as in similarity.py
    z_ij = 1 if i = j, else -1                      the right answers
    L = 1/N  sum over i and j of  -log sigmoid(z_ij S_ij)

The sum is divided by N and not by N^2, so that the one yes of an image weighs as much
as in the contrastive loss.

*The bias.* A batch has N pairs that belong together and N^2 - N that do not. A new
model has cosines near 0. Without a bias it would say yes to half of all pairs, and its
first steps would do little but correct that. So logit_bias starts at -10, where the
answer is no to nearly everything, and is learned. logit_scale starts at ln 10.

*The derivative.* That of s = sigmoid(x) is s (1 - s), so that of -log s is

    -s (1 - s) / s = s - 1

With x = z_ij S_ij and sigmoid(-x) = 1 - sigmoid(x), the chain rule gives for a pair

    i = j    dL/dS_ij =  (sigmoid(S_ij) - 1) / N
    else     dL/dS_ij =   sigmoid(S_ij)      / N

which is again "probability minus right answer": dL/dS = (sigmoid(S) - Id) / N, where Id
is the identity matrix. The bias is added to every entry, so its gradient is the sum of
this matrix.

*Large numbers.* sigmoid(-200) is 0 in float32, and its logarithm is minus infinity. So
the loss is computed as softplus: -log sigmoid(x) = log(1 + exp(-x)) = softplus(-x),
which `mg.softplus` evaluates without overflow.

*A model that knows nothing* can do no better than to call every pair right with
probability 1/N. Each row then costs the N-fold entropy of a coin that falls on "yes"
once in N times:

    N H(1/N) = ln N + (N - 1) ln(N / (N - 1))        about ln N + 1

with H(p) = -p ln p - (1 - p) ln(1 - p).

Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", arXiv:2303.15343,
algorithm 1.
"""

import math
from typing import Any

import numpy as np

import minigrad as mg
from clip_np.losses.loss import Loss
from clip_np.losses.similarity import (
    clamp_logit_scale,
    ignored_pairs,
    require_pairs,
    similarity_logits,
)
from minigrad.backend import Array, array_module
from minigrad.nn import Parameter

INITIAL_SIGMOID_LOGIT_SCALE = math.log(10.0)  # section 3.2 of Zhai et al.
INITIAL_LOGIT_BIAS = -10.0  # section 3.2, too


def plain_sigmoid_loss(logits: mg.Tensor) -> mg.Tensor:
    """The loss of logits (N, N) as at the head of this file: to be read, not used.

    >>> logits = mg.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> round(plain_sigmoid_loss(logits).item(), 4)  # 4 pairs of ln 2, divided by 2
    1.3863
    """
    count = len(logits)
    answers = 2.0 * array_module(logits.data).eye(count, dtype=logits.dtype) - 1.0  # z, (N, N)
    return -mg.log(mg.sigmoid(answers * logits)).sum() / count


def sigmoid_loss(
    image_features: mg.Tensor,
    text_features: mg.Tensor,
    logit_scale: mg.Tensor,
    logit_bias: mg.Tensor,
    positives: Array | None = None,
) -> mg.Tensor:
    """The safe form of `plain_sigmoid_loss`: (N, E), (N, E), (), () -> ().

    Features need not be normalised; logit_scale is a logarithm.

    positives (N, N), boolean, is true for the pairs (i, j) that must not count as
    wrong, for instance because image i and image j have the same caption. As in
    `contrastive_loss`, these pairs are left out: they add nothing to the loss, and get
    no gradient. The pairs (i, i) on the diagonal are right, and always stay in.

    >>> features = mg.tensor(np.eye(4, dtype=np.float32))
    >>> scale, bias = mg.tensor(math.log(40.0)), mg.tensor(-20.0)
    >>> round(sigmoid_loss(features, features, scale, bias).item(), 6)
    0.0
    """
    require_pairs("sigmoid_loss", image_features, text_features)
    count = len(image_features)
    logits = similarity_logits(image_features, text_features, logit_scale) + logit_bias
    xp = array_module(logits.data)
    against = xp.where(xp.eye(count, dtype=bool), -1.0, 1.0).astype(logits.dtype)  # -z, (N, N)
    losses = mg.softplus(against * logits)  # (N, N)
    if positives is not None:
        ignored = ignored_pairs("sigmoid_loss", positives, logits)
        losses = mg.where(ignored, 0.0, losses)
    return losses.sum() / count


class SigmoidLoss(Loss):
    """`sigmoid_loss` together with its two parameters, the temperature and the bias.

    The temperature is clamped as in `ContrastiveLoss`; the bias has no bounds.

    >>> scale, bias = Parameter(np.array(9.0)), Parameter(np.array(-10.0))
    >>> loss = SigmoidLoss(logit_scale=scale, logit_bias=bias)
    >>> loss.clamp()
    >>> round(scale.item(), 3), bias.item()
    (4.605, -10.0)
    """

    guessing_formula = "N H(1/N)"
    initial_logit_bias = INITIAL_LOGIT_BIAS

    def __init__(self, logit_scale: Parameter, logit_bias: Parameter) -> None:
        self.logit_scale = logit_scale
        self.logit_bias = logit_bias

    @classmethod
    def of(cls, model: Any) -> "SigmoidLoss":
        """The loss with a model's parameters; ValueError if the model has no bias."""
        if not hasattr(model, "logit_bias"):
            raise ValueError(
                'loss "sigmoid" needs a model with a bias: '
                f"CLIPConfig(..., logit_bias={INITIAL_LOGIT_BIAS})"
            )
        return cls(logit_scale=model.logit_scale, logit_bias=model.logit_bias)

    def forward(
        self, image_features: mg.Tensor, text_features: mg.Tensor, positives: Array | None = None
    ) -> mg.Tensor:
        return sigmoid_loss(
            image_features,
            text_features,
            logit_scale=self.logit_scale,
            logit_bias=self.logit_bias,
            positives=positives,
        )

    def clamp(self) -> None:
        """Hold the logit scale within [0, ln 100]."""
        clamp_logit_scale(self.logit_scale)

    @staticmethod
    def guessing(count: int, positives: np.ndarray | None = None) -> float:
        """N H(1/N): every pair is right with probability 1/N.

        With positives, M of the N^2 pairs are left, and N of them are right. So the
        loss is M/N H(N/M), where M/N stands in the place of N.

        >>> round(SigmoidLoss.guessing(160), 3), round(math.log(160), 3)
        (6.072, 5.075)
        """
        ignored = 0 if positives is None else int((positives & ~np.eye(count, dtype=bool)).sum())
        choices = (count**2 - ignored) / count  # M/N
        wrong = choices - 1
        return math.log(choices) + (wrong * math.log(choices / wrong) if wrong else 0.0)
