"""CLIP from first principles, on the engine of minigrad.

CLIP learns from pairs of an image and a caption. It turns both into vectors, so that an
image points in the same direction as its caption and away from all others. A trained
model is opened and asked like this:

    import clip_np
    from PIL import Image

    model, preprocess, tokenizer = clip_np.load("runs/shapes")
    images = preprocess(Image.open("ring.png"))[None]  # (1, 3, 32, 32)
    texts = tokenizer(["a small red circle", "a large cyan ring"])  # (2, T) ids
    logits_per_image, logits_per_text = model(images, texts)
    print(logits_per_image.numpy())

It prints a row for the image with a number for each caption, their cosines times the
model's temperature. The second number is larger if the image shows a large cyan ring.

The parts, in the order in which they build on each other:

files        bytes in and out, safely: whole files, safetensors, pickles
data         images and captions, from files to batches; the world of shapes
tokens       a caption becomes ids
encoders     a batch of images or ids becomes vectors
losses       two batches of vectors become one number
model        both encoders and the temperature: CLIP
weights      models in and out: checkpoints and the published layouts
evaluation   vectors become figures, pictures and searches
training     loss, step and run: how a model learns
cli          all of it from a shell
"""

from clip_np import data, encoders, evaluation, files, losses, search, tokens, training, weights
from clip_np.data import shapes
from clip_np.encoders import PRESETS, CLIPConfig, ResNetConfig, TextConfig, VisionConfig
from clip_np.evaluation import (
    explain,
    multiple_choice_accuracy,
    retrieval_metrics,
    zero_shot_classifier,
)
from clip_np.losses import contrastive_loss, sigmoid_loss
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer
from clip_np.training import training_step
from clip_np.weights import load, load_bert, save_pretrained

__all__ = [
    "CLIP",
    "PRESETS",
    "CLIPConfig",
    "ResNetConfig",
    "TextConfig",
    "Tokenizer",
    "VisionConfig",
    "contrastive_loss",
    "data",
    "encoders",
    "evaluation",
    "explain",
    "files",
    "load",
    "load_bert",
    "losses",
    "multiple_choice_accuracy",
    "retrieval_metrics",
    "save_pretrained",
    "search",
    "shapes",
    "sigmoid_loss",
    "tokens",
    "training",
    "training_step",
    "weights",
    "zero_shot_classifier",
]
