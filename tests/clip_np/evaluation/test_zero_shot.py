"""Classes as sentences."""

import numpy as np
import pytest

from clip_np.evaluation import embed_texts, zero_shot_classifier


def test_classifier_columns_are_means_of_sentences(clip, tokenizer):
    names, templates = ["red circle", "blue star", "cyan {ring}"], ["a {}.", "{} in the center"]
    classifier = zero_shot_classifier(clip, tokenizer, names, templates)
    assert classifier.shape == (8, 3)
    assert classifier.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(classifier, axis=0), 1, rtol=1e-5)
    for column, name in enumerate(names):
        sentences = embed_texts(clip, tokenizer, [f"a {name}.", f"{name} in the center"])
        mean = sentences.mean(axis=0)
        np.testing.assert_allclose(classifier[:, column], mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize(
    "names, templates, message",
    [
        ([], ["a {}"], "at least one class and one template"),
        (["dog"], [], "at least one class and one template"),
        (["dog"], ["a {}", "a photo"], "template 'a photo' needs one {}"),
        (["dog"], ["{} and {}"], "needs one {}"),
        (["dog"], "a {}", "template 'a' needs one {}"),
    ],
)
def test_classifier_errors(clip, tokenizer, names, templates, message):
    with pytest.raises(ValueError, match=message):
        zero_shot_classifier(clip, tokenizer, names, templates)
