"""data."""

from clip_np.data.batches import (
    BAR_SECONDS,
    MEAN,
    STD,
    BatchLoader,
    Preprocess,
    augment,
    extra_words,
    load_images,
    preprocess,
    resize_and_crop,
    to_model_input,
    training_preprocess,
)
from clip_np.data.pairs import DataError, Pairs, a_few, opened, split_of, to_rgb
from clip_np.data.shapes import (
    CLASSES,
    HELD_OUT_LABELS,
    IMAGE_SIZE,
    PROMPTS,
    SEEN_LABELS,
    ShapesSplit,
    training_pairs,
)
from clip_np.data.sources import IMAGE_SUFFIXES, open_dataset
