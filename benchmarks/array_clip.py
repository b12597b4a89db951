"""Peers without modules: one CLIP in functions, for JAX, HIPS autograd and MyGrad.

The three differ in how a gradient is asked for, not in how a formula is written, so
`loss` is written once against the part of NumPy's interface that they share; `np` is
whichever module.
"""

import math
from typing import Any

import numpy

from benchmarks.configs import Setting
from clip_np import CLIP

Parameters = dict[str, Any]


def initial(setting: Setting) -> tuple[Parameters, Parameters]:
    """A fresh model's parameters by name, and the rest: sizes and the batch."""
    model = CLIP(setting.config, numpy.random.default_rng(0))
    parameters = {name: each.data.copy() for name, each in model.named_parameters()}
    images, tokens = setting.data()
    vision, text = setting.config.vision, setting.config.text
    patch, grid = vision.patch_size, vision.image_size // vision.patch_size
    cut = images.reshape(-1, 3, grid, patch, grid, patch).transpose(0, 2, 4, 1, 3, 5)
    given = {
        "patches": numpy.ascontiguousarray(cut).reshape(len(images), grid * grid, -1),
        "tokens": tokens,
        "ends": tokens.argmax(axis=1),
        "mask": numpy.triu(numpy.full((text.context_length,) * 2, -1e9, numpy.float32), 1),
    }
    return parameters, given


def _norm(np: Any, x: Any, p: Parameters, name: str) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def _linear(x: Any, p: Parameters, name: str) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def _softmax(np: Any, x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _block(np: Any, x: Any, p: Parameters, name: str, heads: int, mask: Any) -> Any:
    batch, length, width = x.shape
    qkv = _linear(_norm(np, x, p, f"{name}.ln_1"), p, f"{name}.attn.in_proj")
    qkv = np.reshape(qkv, (batch, length, 3, heads, width // heads))
    q, k, v = (np.transpose(qkv[:, :, i], (0, 2, 1, 3)) for i in range(3))  # (B, H, T, D)
    scores = q @ np.transpose(k, (0, 1, 3, 2)) * (width // heads) ** -0.5
    mixed = _softmax(np, scores if mask is None else scores + mask) @ v
    mixed = np.reshape(np.transpose(mixed, (0, 2, 1, 3)), (batch, length, width))
    x = x + _linear(mixed, p, f"{name}.attn.out_proj")
    h = _linear(_norm(np, x, p, f"{name}.ln_2"), p, f"{name}.mlp.c_fc")
    return x + _linear(h / (1.0 + np.exp(-1.702 * h)), p, f"{name}.mlp.c_proj")


def loss(np: Any, p: Parameters, given: Parameters, setting: Setting) -> Any:
    """The contrastive loss of the batch."""
    vision, text = setting.config.vision, setting.config.text
    batch = setting.batch
    x = given["patches"] @ p["vision.conv1.weight"].T
    first = np.reshape(p["vision.class_embedding"], (1, 1, vision.width))
    x = np.concatenate([first + numpy.zeros((batch, 1, vision.width), numpy.float32), x], axis=1)
    x = _norm(np, x + p["vision.positional_embedding"], p, "vision.ln_pre")
    for i in range(vision.layers):
        x = _block(np, x, p, f"vision.transformer.resblocks.{i}", vision.heads, None)
    f = _norm(np, x[:, 0], p, "vision.ln_post") @ p["vision.proj"]
    x = p["text.token_embedding.weight"][given["tokens"]] + p["text.positional_embedding"]
    for i in range(text.layers):
        x = _block(np, x, p, f"text.transformer.resblocks.{i}", text.heads, given["mask"])
    x = x[numpy.arange(batch), given["ends"]]
    g = _norm(np, x, p, "text.ln_final") @ p["text.text_projection"]
    f = f / np.sqrt(np.sum(f * f, axis=1, keepdims=True))
    g = g / np.sqrt(np.sum(g * g, axis=1, keepdims=True))
    logits = np.exp(p["logit_scale"]) * (f @ g.T)
    diagonal = (numpy.arange(batch), numpy.arange(batch))
    both = [np.log(_softmax(np, each)[diagonal]) for each in (logits, logits.T)]
    return -(np.mean(both[0]) + np.mean(both[1])) / 2


class AdamW:
    """Array by array, in place: how such code is usually written."""

    def __init__(self, parameters: Parameters) -> None:
        self.mean = {name: numpy.zeros_like(p) for name, p in parameters.items()}
        self.square = {name: numpy.zeros_like(p) for name, p in parameters.items()}
        self.count = 0

    def step(self, parameters: Parameters, gradients: Parameters) -> None:
        self.count += 1
        for name, p in parameters.items():
            g, m, v = gradients[name], self.mean[name], self.square[name]
            m += 0.1 * (g - m)
            v += 0.02 * (g * g - v)
            p *= 1 - 1e-5 * (p.ndim > 1)
            root = numpy.sqrt(v / (1 - 0.98**self.count)) + 1e-6
            p -= 1e-4 / (1 - 0.9**self.count) * m / root
        numpy.clip(parameters["logit_scale"], 0, math.log(100), out=parameters["logit_scale"])
