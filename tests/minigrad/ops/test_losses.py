"""Cross-entropy with learned class weights."""

import numpy as np
import pytest

import minigrad as mg

pytestmark = pytest.mark.gradient

LABELS = [0, 1, 2, 0]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_a_class_weight_of_zero_has_a_gradient(reduction, label_smoothing):
    """It says what the loss would be if the class counted a little."""
    logits = np.random.default_rng(0).standard_normal((4, 3))

    def loss(weight):
        return mg.cross_entropy(
            logits, LABELS, reduction, weight=weight, label_smoothing=label_smoothing
        )

    mg.gradcheck(loss, [np.array([0.0, 1.0, 2.0])])
