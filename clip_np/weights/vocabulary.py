"""Which tokenizer belongs to a file of weights?

The vocabulary in the same folder, or, if there is none and the model wants 49,408
pieces, the published vocabulary from an installed package. A model without a tokenizer
is still of use, for images or for ready token ids. So a missing vocabulary is not an
error when the model is loaded: a stand-in says what is missing when it is called.
"""

import pathlib

from clip_np.encoders import CLIPConfig
from clip_np.files import FileError
from clip_np.tokens import PUBLISHED_VOCABULARY_SIZE, MissingTokenizer, Tokenizer, find_vocabulary
from clip_np.weights.companions import has_standard_name
from clip_np.weights.fitting import require_fit


def find_tokenizer(path: pathlib.Path, config: CLIPConfig) -> Tokenizer | MissingTokenizer:
    """The tokenizer for a file of weights, or a stand-in if none has the model's size.

    FileError for a damaged vocabulary next to weights with a standard name. Next to
    other weights it may be another model's, and is left alone.

    >>> from clip_np.encoders import PRESETS
    >>> weights = pathlib.Path("nowhere", "model.safetensors")
    >>> tokenizer = find_tokenizer(weights, PRESETS["tiny"])
    >>> tokenizer("a red circle")
    Traceback (most recent call last):
    FileNotFoundError: the texts of this model need a vocabulary of 514 pieces: ...
    """
    size = config.text.vocab_size
    tokenizer: Tokenizer | None = None
    problem = ""
    if find_vocabulary(path.parent).exists():
        try:
            tokenizer = Tokenizer.load(path.parent)
            problem = f"; the one there has {tokenizer.vocab_size:,}"
        except FileError as error:
            if has_standard_name(path):
                raise
            problem = f"; {error}"
    elif size == PUBLISHED_VOCABULARY_SIZE:
        try:
            tokenizer = Tokenizer.published()
        except FileNotFoundError as error:
            problem = f"; {error}"
    if tokenizer is None or tokenizer.vocab_size != size:
        return MissingTokenizer(
            f"the texts of this model need a vocabulary of {size:,} pieces: vocab.json and "
            f"merges.txt, or tokenizer.json, next to its weights in {path.parent}{problem}"
        )
    tokenizer.context_length = config.text.context_length
    try:
        require_fit(tokenizer, config.text)
    except ValueError as error:
        if has_standard_name(path):
            raise FileError(f"{path}: no tokenizer for this model: {error}", path) from error
        return MissingTokenizer(f"{path}: no tokenizer for this model: {error}")
    return tokenizer
