"""clip_np: CLIP from first principles, on minigrad.

import clip_np

model, preprocess, tokenizer = clip_np.load("runs/shapes")
images = model.encode_image(preprocess(picture)[None])
texts = model.encode_text(tokenizer(["a small red circle", "a large blue star"]))
"""

from clip_np import cli, data, encoders, evaluation, files, losses, tokens, training, weights
from clip_np.data import shapes
from clip_np.encoders import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluation import (
    multiple_choice_accuracy,
    retrieval_metrics,
    search,
    zero_shot_classifier,
)
from clip_np.losses import contrastive_loss
from clip_np.model import CLIP
from clip_np.tokens import Tokenizer
from clip_np.training import training_step
from clip_np.weights import load, save_pretrained
