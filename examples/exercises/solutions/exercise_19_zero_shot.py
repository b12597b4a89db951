"""A solution of exercise 19."""

import numpy as np


def classifier(embed, class_names, templates):
    """A column of length 1 for each class: (E, number of classes)."""
    sentences = [template.replace("{}", name) for name in class_names for template in templates]
    features = embed(sentences)
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = features.reshape(len(class_names), len(templates), -1).mean(axis=1)
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).T
