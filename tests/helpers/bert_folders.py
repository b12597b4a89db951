"""A folder with a BERT of 9 pieces, as transformers and sentence-transformers do it."""

import json

import numpy as np

from clip_np.encoders import BertEncoder, TextConfig
from clip_np.files import write_safetensors
from clip_np.weights.bert import BertLayout
from clip_np.weights.huggingface import split_projections

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "ball", "##s"]
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(PIECES),
    "max_position_embeddings": 12,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
STEPS = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_N", "type": "sentence_transformers.models.Normalize"},
]
POOLING = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}


def encoder(pooling="mean"):
    config = TextConfig(
        9, 12, width=8, layers=2, heads=2, mlp_width=16, kind="bert", pooling=pooling
    )
    model = BertEncoder(config, None, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.shape).astype(np.float32)
    return model


def arrays_of(model):
    """Under the names of transformers."""
    return BertLayout().from_ours(split_projections(model.state_dict()))


def write_folder(folder, arrays=None, config=CONFIG, steps=None, pooling=POOLING, sentence=None):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    write_safetensors(folder / "model.safetensors", arrays or arrays_of(encoder()))
    if steps is not None:
        (folder / "modules.json").write_text(json.dumps(steps))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if sentence is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(sentence))
    return folder
