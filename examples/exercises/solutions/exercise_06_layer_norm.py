"""A solution of exercise 6: the third term was not multiplied by h."""

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
        return (gh - mean_gh - h * mean_gh_h) / std

    return weight * h + bias, vjp
