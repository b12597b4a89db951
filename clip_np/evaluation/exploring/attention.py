"""Who looks at what, by layer and head, and how does it fit on a page?

*Images.* The token that is read asks all T = 1 + N tokens in every layer and head, and
gets a row of T numbers that sum to 1: its share of itself, then of the N patches. A
vision transformer also has the rollout, the way through all layers together
(explaining/attention_maps.py). A ResNet has one layer, its attention pool.

*Captions.* Every token asks, so there are T rows. Which row does the caption's vector
come from? The end token's in GPT, the first one's in a BERT with pooling "cls". With
pooling "mean" it is the mean of all rows.

*Bytes.* Twelve layers with twelve heads over 64 images are millions of numbers. A share
p is kept as one byte, round(255 sqrt(p)), and read as (byte / 255)^2. The root gives
the small shares most of the steps: the error is below sqrt(p) / 255 + 1 / 510^2, which
is 3 % of a share of 0.02. Images beyond a budget of bytes have no maps.
"""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from clip_np.encoders import ResNetConfig, TextConfig
from clip_np.evaluation.explaining.attention_maps import rollout
from clip_np.evaluation.features import AnyTokenizer, in_eval_mode
from clip_np.model import CLIP
from clip_np.tokens import MissingTokenizer

STEPS = 255  # the largest byte
IMAGE_BYTES = 1_000_000  # of all maps of images, before base64, which adds a third
TEXT_BYTES = 750_000  # of all maps of captions


class ImageAttention(NamedTuple):
    """What the token that is read looks at, for the first M images.

    kind: "class token" or "attention pool".
    """

    kind: str
    shares: np.ndarray  # (M, layers, heads, 1 + N); rows sum to 1
    rollout: np.ndarray | None  # (M, N); None for a ResNet


class TextAttention(NamedTuple):
    """How the tokens of a caption look at each other.

    read: the number of the token that is read, or None if it is the mean of all.
    """

    words: list[str]  # of the tokens
    read: int | None
    shares: np.ndarray  # (layers, heads, T, T); rows sum to 1


def pack_shares(shares: np.ndarray) -> str:
    """Shares between 0 and 1 as base64 text, a byte each, in C order.

    >>> pack_shares(np.array([0.0, 0.25, 1.0]))
    'AID/'
    >>> ((np.frombuffer(base64.b64decode("AID/"), np.uint8) / 255) ** 2).round(2)
    array([0.  , 0.25, 1.  ])
    """
    levels = np.rint(STEPS * np.sqrt(np.clip(shares, 0.0, 1.0))).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


# --- images ---------------------------------------------------------------------------


def image_attention(model: CLIP, images: np.ndarray, budget: int = IMAGE_BYTES) -> ImageAttention:
    """The attention of images as the model sees them: (M, 3, S, S) float32.

    Those at the end that are beyond the budget of bytes are left out. The encoder gets
    one image at a time: the maps of one may be 100 MB.
    """
    is_resnet = isinstance(model.config.vision, ResNetConfig)
    shares: list[np.ndarray] = []
    rollouts: list[np.ndarray] = []
    with in_eval_mode(model):
        for row in range(len(images)):
            maps = model.attention_maps(images[row : row + 1]).numpy()[:, 0]  # (L, H, T or 1, T)
            if (len(shares) + 1) * maps[:, :, 0].size > budget:
                break
            shares.append(maps[:, :, 0])  # (L, H, T)
            if not is_resnet:
                rollouts.append(rollout(list(maps)))  # (N,)
    return ImageAttention(
        kind="attention pool" if is_resnet else "class token",
        shares=np.stack(shares) if shares else np.zeros((0, 1, 1, 1)),
        rollout=None if is_resnet else np.array(rollouts),
    )


# --- captions -------------------------------------------------------------------------


def text_attention(
    model: CLIP, tokenizer: AnyTokenizer, tokens: np.ndarray, budget: int = TEXT_BYTES
) -> list[TextAttention]:
    """The attention of captions, as tokens (K, T).

    Those at the end that are beyond the budget of bytes are left out.
    """
    lengths = model.text.lengths(tokens)  # (K,)
    result: list[TextAttention] = []
    size = 0
    with in_eval_mode(model):
        for row, length in zip(tokens, lengths.tolist()):
            ids = row[:length]  # nothing after them is seen
            shares = model.text_attention_maps(ids[None]).numpy()[:, 0]  # (layers, H, T, T)
            size += shares.size
            if size > budget:
                break
            read = token_that_is_read(model.config.text, length)
            result.append(TextAttention(words_of_tokens(tokenizer, ids.tolist()), read, shares))
    return result


def token_that_is_read(config: TextConfig, length: int) -> int | None:
    """Which of the tokens of a caption becomes its vector; None: the mean of all.

    >>> token_that_is_read(TextConfig(100, 8, width=8, layers=1, heads=1), length=5)
    4
    """
    if config.kind != "bert":
        return length - 1
    return 0 if config.pooling == "cls" else None


def words_of_tokens(tokenizer: AnyTokenizer, ids: Sequence[int]) -> list[str]:
    """What stands for every token on a page.

    >>> from clip_np.tokens import Tokenizer
    >>> tokenizer = Tokenizer.train(["a red ring"], vocab_size=530)
    >>> words_of_tokens(tokenizer, tokenizer(["a red ring"])[0].tolist())
    ['start', 'a', 'r', 'e', 'd', 'r', 'i', 'n', 'g', 'end']
    """
    assert not isinstance(tokenizer, MissingTokenizer)  # it would have raised before
    names = {
        tokenizer.pad_token_id: "padding",
        tokenizer.start_token_id: "start",
        tokenizer.end_token_id: "end",
    }
    return [names[token] if token in names else tokenizer.decode([token]) for token in ids]
