"""How is a published BERT opened?

It is a folder. The library transformers writes the first three files, and
sentence-transformers, which makes sentence encoders of them, adds the others:

    config.json                     the sizes of the model
    model.safetensors               the weights, or pytorch_model.bin
    vocab.txt, tokenizer.json       the tokenizer, with tokenizer_config.json
    modules.json                    the steps: encode, pool, scale to length 1
    1_Pooling/config.json           the mean of the tokens, or the first one
    sentence_bert_config.json       the longest row

Without the last three, the vectors are means of tokens, not scaled, which is what
sentence-transformers makes of such a folder. The names of the arrays:

    here                             in the file, at times after "bert."
    token_embedding.weight           embeddings.word_embeddings.weight
    positional_embedding             embeddings.position_embeddings.weight
    segment_embedding                embeddings.token_type_embeddings.weight
    ln_embedding.weight              embeddings.LayerNorm.weight, in old files gamma
    ...resblocks.i.attn.in_proj      encoder.layer.i.attention.self.{query,key,value}
    ...resblocks.i.attn.out_proj     encoder.layer.i.attention.output.dense
    ...resblocks.i.ln_1              encoder.layer.i.attention.output.LayerNorm
    ...resblocks.i.mlp.c_fc          encoder.layer.i.intermediate.dense
    ...resblocks.i.mlp.c_proj        encoder.layer.i.output.dense
    ...resblocks.i.ln_2              encoder.layer.i.output.LayerNorm

The parts for BERT's own training, "pooler" and "cls", are left out.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_np.encoders import BertEncoder, SentenceEncoder, TextConfig
from clip_np.files import File, FileError, file_errors, read_json, require_finite
from clip_np.tokens import WordPieceTokenizer
from clip_np.weights import huggingface, sentence_files
from clip_np.weights.companions import INDEX
from clip_np.weights.fitting import require_fit
from clip_np.weights.huggingface import join_projections
from clip_np.weights.layouts import Arrays, Layout
from clip_np.weights.reading import read_arrays, require_own_bytes
from clip_np.weights.shapes import require_state
from clip_np.weights.wrappers import unwrap_names

PROBLEM = "not a BERT that can be read here"
MODEL_TYPE = "bert"

# Words of config.json -> fields of TextConfig. All must be there, as in every file.
WORDS = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "mlp_width",
}
# Words with a default, which transformers assumes if they are missing, too.
OPTIONAL_WORDS = {
    "type_vocab_size": "n_segments",
    "layer_norm_eps": "norm_eps",
    "pad_token_id": "pad_token_id",
}
# What the encoder here does, by the words of config.json. Other values are refused.
REQUIRED = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
LEFT_OUT = re.compile(r"(bert\.)?(pooler|cls)\..*")


class BertLayout(Layout):
    """The names of transformers' BERT.

    >>> BertLayout().path_of("bert.encoder.layer.0.output.LayerNorm.gamma")
    'transformer.resblocks.0.ln_2.weight'
    """

    signature = "embeddings.word_embeddings.weight"
    replacements = (
        ("transformer.resblocks.", "encoder.layer."),
        (".attn.q_proj.", ".attention.self.query."),
        (".attn.k_proj.", ".attention.self.key."),
        (".attn.v_proj.", ".attention.self.value."),
        (".attn.out_proj.", ".attention.output.dense."),
        (".ln_1.", ".attention.output.LayerNorm."),
        (".mlp.c_fc.", ".intermediate.dense."),
        (".mlp.c_proj.", ".output.dense."),
        (".ln_2.", ".output.LayerNorm."),
        ("token_embedding.", "embeddings.word_embeddings."),
        ("positional_embedding", "embeddings.position_embeddings.weight"),
        ("segment_embedding", "embeddings.token_type_embeddings.weight"),
        ("ln_embedding.", "embeddings.LayerNorm."),
    )

    def path_of(self, name: str) -> str:
        """What our encoder calls the array that a file calls `name`, an old one too."""
        name = re.sub(r"\.gamma$", ".weight", name.removeprefix("bert."))
        return super().path_of(re.sub(r"\.beta$", ".bias", name))

    def to_ours(self, arrays: Arrays) -> Arrays:
        """As `Layout.to_ours`; KeyError if one of a block's q, k and v is missing."""
        kept = {name: array for name, array in arrays.items() if not LEFT_OUT.fullmatch(name)}
        return join_projections(super().to_ours(kept))


def load_bert(directory: File) -> tuple[SentenceEncoder, WordPieceTokenizer]:
    """Open a published BERT or sentence encoder: (model, tokenizer).

    `model.encode(texts)` gives vectors (n, width). FileNotFoundError if the folder has
    no config.json, no weights or no vocabulary. FileError, naming the file, for damage
    and for models that are built differently.
    """
    folder = pathlib.Path(directory)
    config_file = folder / huggingface.CONFIG
    if not config_file.exists():
        raise FileNotFoundError(f"{folder}: no BERT there; it would have a {huggingface.CONFIG}")
    weights = _weights_file(folder)
    with file_errors(config_file, PROBLEM):
        sizes = parse_bert_sizes(read_json(config_file))
    steps = sentence_files.read_steps(folder)
    with file_errors(config_file, PROBLEM):
        config = TextConfig(kind="bert", pooling=steps.pooling, **sizes)
    tokenizer = WordPieceTokenizer.load(folder)
    longest = steps.longest or tokenizer.context_length
    tokenizer.context_length = min(longest, config.context_length)
    with file_errors(folder, PROBLEM):
        require_fit(tokenizer, config)
        if steps.lowercases and not tokenizer.cleaning.lowercase:
            raise FileError("do_lower_case is true in sentence_bert_config.json, for a cased BERT")
    encoder = read_bert(weights, config)
    model = SentenceEncoder(encoder, tokenizer, steps.unit_length).eval()
    return model, tokenizer


def parse_bert_sizes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of a BERT, as fields of `TextConfig`.

    FileError for another model, or for a part that is built differently; KeyError if a
    size is missing.

    >>> parse_bert_sizes({"model_type": "mpnet"})
    Traceback (most recent call last):
    clip_np.files.errors.FileError: a model of type 'mpnet', expected 'bert'
    """
    model_type = settings.get("model_type", MODEL_TYPE)
    if model_type != MODEL_TYPE:
        raise FileError(f"a model of type {model_type!r:.60}, expected {MODEL_TYPE!r}")
    for word, expected in REQUIRED.items():
        value = settings.get(word, expected)
        if value != expected:
            raise FileError(f"{word} is {value!r:.60}, the encoder here has {expected!r}")
    sizes = {field: settings[word] for word, field in WORDS.items()}
    sizes |= {field: settings[word] for word, field in OPTIONAL_WORDS.items() if word in settings}
    return sizes


def read_bert(path: pathlib.Path, config: TextConfig) -> BertEncoder:
    """The encoder in a file of weights, without a projection; FileError for damage."""
    arrays, _ = read_arrays(path)
    with file_errors(path, PROBLEM):
        require_own_bytes(arrays, path)
        state = BertLayout().to_ours(unwrap_names(arrays))
        require_state(state, BertEncoder.shapes(config, embed_dim=None))
        with np.errstate(over="ignore"):  # a number too large for the type becomes infinite
            state = {name: np.asarray(array, np.float32) for name, array in state.items()}
        require_finite(state)
    encoder = BertEncoder(config, embed_dim=None, rng=None)
    encoder.load_state_dict(state, assign=True)
    return encoder


def _weights_file(folder: pathlib.Path) -> pathlib.Path:
    """The weights in a folder, whole or in parts; FileNotFoundError if missing."""
    for name in huggingface.WEIGHTS:
        for candidate in (folder / name, folder / f"{name}{INDEX}"):
            if candidate.is_file():
                return candidate
    raise FileNotFoundError(
        f"{folder}: holds no weights; looked for {', '.join(huggingface.WEIGHTS)}"
    )
