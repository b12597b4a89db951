"""weights."""

from clip_np.weights.checkpoints import (
    BEST,
    CHECKPOINT,
    Checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from clip_np.weights.layouts import export_arrays
from clip_np.weights.published import (
    convert,
    find_tokenizer,
    load,
    locate,
    read_published,
    save_pretrained,
)
