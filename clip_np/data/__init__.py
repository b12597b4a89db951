"""From files on the disk to batches for the model.

    captions.csv     |
    cat.jpg, cat.txt |                                   | BatchLoader -> Batch, ...
    *.parquet        | -> open_dataset -> Pairs by split |
    a set's name     |                                   | load_images -> (N, H, W, 3)

The input is a path, or the name of a data set on the Hugging Face hub. `open_dataset`
finds the pairs of images and captions and returns them by split, as `Pairs`: captions
in memory, images still in their files. The output is batches: normalised float32
arrays (B, 3, size, size), captions and names.

    splits = open_dataset("photos")
    loader = BatchLoader(
        splits["train"], size=32, batch_size=64, seed=0,
        augmentation=AUGMENTATIONS["light"],
    )
    for images, captions, names in loader.batches(start_step=0, stop_step=1000):
        ...

This part knows no tokens and no model. Read first images.py, preprocessing.py,
random_streams.py and pairs.py, then splits.py, columns.py and sources.py with its
readers, then augmentation.py with its parts, making.py and batches.py. The worker
processes (worker_processes.py, decoding_worker.py) do the same faster. The built-in
task, drawings of coloured shapes, is in scenes.py, drawing.py and shapes.py.

To read a new kind of data file:
  1. write read_xyz(path, columns), which yields an `Entry` for each row,
  2. write is_xyz(path, asked_for), which recognises such a file,
  3. add a line with both to KINDS in sources.py, and the kind's name to UNDERSTOOD,
  4. add a test next to tests/clip_np/data/test_parquet.py.
"""

from clip_np.data.errors import DataError, DataWarning, a_few
from clip_np.data.decoding import refuse_huge
from clip_np.data.formats import image_suffixes, is_image_name, left_out
from clip_np.data.walking import files_below
from clip_np.data.images import ImageSource, opened, to_rgb
from clip_np.data.preprocessing import (
    MEAN,
    STD,
    Preprocess,
    preprocess,
    resize_and_crop,
    to_model_input,
    training_preprocess,
)
from clip_np.data.augment_captions import extra_words
from clip_np.data.augmentation import AUGMENTATIONS, Augmentation, augment
from clip_np.data.random_streams import SHAPES_STREAM
from clip_np.data.pairs import Pairs, Row, Stream
from clip_np.data.splits import split_of
from clip_np.data.hub import VALIDATION_PAIRS
from clip_np.data.hub_names import HUB_NAME, ask_hub, near
from clip_np.data.sources import open_dataset
from clip_np.data.worker_processes import WorkerError
from clip_np.data.kept_squares import CACHE_BYTES
from clip_np.data.batches import BAR_SECONDS, Batch, BatchLoader, load_images
from clip_np.data import shapes
from clip_np.data.shapes import (
    is_shapes_split,
    CLASSES,
    HELD_OUT_LABELS,
    IMAGE_SIZE,
    PROMPTS,
    SEEN_LABELS,
    ShapesSplit,
    training_pairs,
)

__all__ = [
    "AUGMENTATIONS",
    "BAR_SECONDS",
    "CACHE_BYTES",
    "CLASSES",
    "HELD_OUT_LABELS",
    "HUB_NAME",
    "IMAGE_SIZE",
    "MEAN",
    "PROMPTS",
    "SEEN_LABELS",
    "SHAPES_STREAM",
    "STD",
    "VALIDATION_PAIRS",
    "Augmentation",
    "Batch",
    "BatchLoader",
    "DataError",
    "DataWarning",
    "ImageSource",
    "Pairs",
    "Preprocess",
    "Row",
    "ShapesSplit",
    "Stream",
    "WorkerError",
    "a_few",
    "ask_hub",
    "augment",
    "extra_words",
    "files_below",
    "image_suffixes",
    "is_image_name",
    "is_shapes_split",
    "left_out",
    "load_images",
    "near",
    "open_dataset",
    "opened",
    "preprocess",
    "refuse_huge",
    "resize_and_crop",
    "shapes",
    "split_of",
    "to_model_input",
    "to_rgb",
    "training_pairs",
    "training_preprocess",
]
