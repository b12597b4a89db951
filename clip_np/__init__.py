"""clip_np: CLIP from first principles, on minigrad.

import clip_np

model, preprocess, tokenizer = clip_np.load("runs/shapes")
images = model.encode_image(preprocess(picture)[None])
texts = model.encode_text(tokenizer(["a small red circle", "a large blue star"]))
"""

from clip_np import (
    checkpoints,
    data,
    evaluate,
    loading,
    search,
    shapes,
    step,
    tasks,
    train,
    weights,
)
from clip_np.config import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.evaluate import multiple_choice_accuracy, retrieval_metrics, zero_shot_classifier
from clip_np.model import CLIP, contrastive_loss
from clip_np.published import load, save_pretrained
from clip_np.step import training_step
from clip_np.tokenizer import Tokenizer
