"""Models in and out: whoever has made them, and whoever wants them.

`load` takes what people have:

    a run directory, .npz          made here: checkpoint.npz or best.npz
    a folder with config.json      Hugging Face: model.safetensors, one or in parts, or
                                   pytorch_model.bin; vocabulary and preparation of
                                   images next to it
    open_clip_config.json          open_clip's form of the same
    .safetensors .pt .pth .bin     weights alone: OpenAI's archives and state dicts,
    .ckpt                          open_clip's checkpoints, Hugging Face's files,
                                   Lightning's; wrappers around them are taken away
    owner/name                     such a folder on the hub, if the library
                                   huggingface_hub is installed

and gives a model, the preparation of its images and its tokenizer:

    path -> locating --> checkpoints ------------------------> CLIP
                    |                                     |    Preprocess
                    +--> published:                       +--> Tokenizer
                         reading, wrappers,               |
                         layouts, sizes ------------------+
                         known_layouts, companions: openai, huggingface, open_clip

    model, preprocess, tokenizer = load("openai/clip-vit-base-patch32")

`load_bert` takes a folder with a BERT or a sentence encoder (`bert.py`) and gives a
model for texts alone and its tokenizer.

`save_checkpoint` writes this library's form, from which training goes on.
`save_pretrained` and `convert` write what others read. A new layout is a new file and a
line in `known_layouts.py`. A new kind of configuration is a new file and a line in
`companions.py`.
"""

from clip_np.weights.bert import load_bert
from clip_np.weights.checkpoints import (
    BEST,
    CHECKPOINT,
    PREVIOUS,
    Checkpoint,
    previous_named,
    read_checkpoint,
    save_checkpoint,
)
from clip_np.weights.known_layouts import export_arrays
from clip_np.weights.loading import Loaded, load
from clip_np.weights.locating import locate
from clip_np.weights.published import AssumedActivation, Published, read_published
from clip_np.weights.saving import convert, save_pretrained
from clip_np.weights.vocabulary import find_tokenizer

__all__ = [
    "BEST",
    "CHECKPOINT",
    "PREVIOUS",
    "AssumedActivation",
    "Checkpoint",
    "Loaded",
    "Published",
    "convert",
    "export_arrays",
    "find_tokenizer",
    "load",
    "load_bert",
    "locate",
    "previous_named",
    "read_checkpoint",
    "read_published",
    "save_checkpoint",
    "save_pretrained",
]
