"""clip_np: CLIP on minigrad."""

from clip_np.config import PRESETS, CLIPConfig, TextConfig, VisionConfig
from clip_np.model import CLIP, contrastive_loss
from clip_np.step import training_step
