"""What do images and captions look like to a trained model?

They look like directions. Each encoder turns its input into a vector of E numbers, and
the training compared only the angles between vectors. Their lengths carry no meaning.
So every vector f is scaled to length 1,

    u = f / |f|                                             (E,)

and the product of two such vectors is their cosine, between -1 and 1. The features of N
images are a table of N unit rows, (N, E). All metrics, pictures and searches work on
such tables.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision", arXiv:2103.00020, figure 3.
"""

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from warnings import warn

import numpy as np

import minigrad as mg
from clip_np.data import Preprocess, a_few, to_model_input
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer, TokenizerProtocol, as_list

# A missing tokenizer raises when it is called, and says which file it needs.
AnyTokenizer = TokenizerProtocol | MissingTokenizer
QUOTED = 100  # characters of a text that a warning shows
CHUNK_SIZE = 256  # rows that pass through an encoder together; more would need more memory


@contextlib.contextmanager
def in_eval_mode(model: CLIP) -> Iterator[None]:
    """Within the block the model is in `eval` mode; afterwards in the one before.

    >>> from clip_np.encoders import PRESETS
    >>> model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    >>> with in_eval_mode(model):
    ...     print(model.training)
    False
    >>> model.training
    True
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def unit_features(
    model: CLIP, encode: Callable[[np.ndarray], mg.Tensor], inputs: np.ndarray
) -> np.ndarray:
    """The unit features that an encoder of the model makes of its inputs.

    encode: `model.encode_image`, `model.encode_text`, or a function that calls one of
    them. inputs (N, ...): what `encode` takes. Returns (N, E), float32, on the host.
    The model is in `eval` mode meanwhile: what a sample looks like must not depend on
    the samples beside it.
    """
    features = np.zeros((len(inputs), model.config.embed_dim), np.float32)
    with mg.no_grad(), in_eval_mode(model):
        for start in range(0, len(inputs), CHUNK_SIZE):
            chunk = slice(start, start + CHUNK_SIZE)
            features[chunk] = mg.normalize(encode(inputs[chunk])).numpy()
    return features


def embed_images(
    model: CLIP, images: np.ndarray, preprocess: Preprocess | None = None
) -> np.ndarray:
    """Unit features (N, E) of uint8 images (N, S, S, 3).

    preprocess: what normalises them; None means as the models trained here.
    """
    normalise = to_model_input if preprocess is None else preprocess.normalise

    def encode(chunk: np.ndarray) -> mg.Tensor:
        return model.encode_image(normalise(chunk))

    return unit_features(model, encode, images)


class CutTextWarning(UserWarning):
    """A model does not see the end of a text."""


def embed_texts(model: CLIP, tokenizer: AnyTokenizer, texts: str | Sequence[str]) -> np.ndarray:
    """Unit features (N, E) of N texts; one text is a list of one.

    What exceeds the context length is cut off, and a CutTextWarning names the texts.
    """
    tokens = tokens_of_texts(model, tokenizer, texts)  # (N, T)
    return unit_features(model, model.encode_text, tokens)


def tokens_of_texts(model: CLIP, tokenizer: AnyTokenizer, texts: str | Sequence[str]) -> np.ndarray:
    """The tokens (N, T) that a model sees of N texts; one text is a list of one.

    A CutTextWarning names the texts that are cut off.
    """
    context_length = model.config.text.context_length
    texts = as_list(texts)
    tokens = tokenizer(texts, context_length=context_length, truncate=True)  # (N, T)
    _warn_of_cuts(tokenizer, texts, tokens)
    return tokens


def _warn_of_cuts(tokenizer: AnyTokenizer, texts: Sequence[str], tokens: np.ndarray) -> None:
    """Name the texts that are longer than their rows of tokens (N, T)."""
    if isinstance(tokenizer, MissingTokenizer) or len(tokens) == 0:
        return
    # The row of a long text is full. There are few full rows, and only they count.
    full = np.flatnonzero(tokens[:, -1] == tokenizer.end_token_id).tolist()
    lengths = tokenizer.lengths([texts[row] for row in full]).tolist() if full else []
    room = tokens.shape[1]
    cut = [
        f"{textwrap.shorten(texts[row], QUOTED, placeholder=' ...')!r} ({length} tokens)"
        for row, length in zip(full, lengths)
        if length > room
    ]
    if cut:
        number = "1 text is" if len(cut) == 1 else f"{len(cut):,} texts are"
        warn(
            f"{number} longer than the {room} tokens that the model sees, and the rest is cut "
            f"off: {a_few(cut)}",
            CutTextWarning,
            stacklevel=4,
        )
