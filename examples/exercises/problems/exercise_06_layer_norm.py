"""Somebody changed one line of this layer_norm. Its value is right, its vjp is wrong.

    mean = sum x / D       centred = x - mean       std = sqrt(mean of centred^2 + eps)
    h = centred / std      y = weight h + bias

An input moves y in three ways: by itself, through the mean, and through std. So for
gh = g weight, the gradient for h, the gradient for x has three terms:

    (gh - mean of gh - h mean of (gh h)) / std

Let the check tell you where the gradient is off, then find the line and mend it.
"""

import numpy as np


def layer_norm(x, weight, bias, eps=1e-5):
    """For rows x (N, D), return (value, vjp); vjp(g) is the gradient for x."""
    mean = x.mean(axis=1, keepdims=True)
    centred = x - mean
    std = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    h = centred / std

    def vjp(g):
        gh = g * weight
        mean_gh = gh.mean(axis=1, keepdims=True)
        mean_gh_h = (gh * h).mean(axis=1, keepdims=True)
        return (gh - mean_gh - mean_gh_h) / std

    return weight * h + bias, vjp
