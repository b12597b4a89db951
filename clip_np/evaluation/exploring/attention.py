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
TEXT_BYTES = 1_400_000  # of all maps of captions
MEMORY = 2**26  # bytes of maps that are computed at a time; those of one image may be more
MOST_TOGETHER = 16  # images at a time, since a ResNet needs memory for more than its map


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
    """The attention of images as the model sees them: (N, 3, S, S) float32, N > 0.

    Those at the end that are beyond the budget of bytes are left out.
    """
    is_resnet = isinstance(model.config.vision, ResNetConfig)
    with in_eval_mode(model):
        first = model.attention_maps(images[:1]).numpy()  # (layers, 1, H, T or 1, T)
        layers, _, heads, _, length = first.shape
        kept = images[: budget // (layers * heads * length)]  # (M, 3, S, S)
        together = min(MOST_TOGETHER, max(1, MEMORY // first.nbytes))
        shares = np.zeros((len(kept), layers, heads, length), np.float32)
        rollouts = np.zeros((len(kept), length - 1), np.float32)
        for start in range(0, len(kept), together):
            maps = model.attention_maps(kept[start : start + together]).numpy()
            for row, of_image in enumerate(maps.swapaxes(0, 1), start):  # (layers, H, T or 1, T)
                shares[row] = of_image[:, :, 0]  # (layers, H, T): the token that is read asks
                if not is_resnet:
                    rollouts[row] = rollout(list(of_image))  # (N,)
    return ImageAttention(
        kind="attention pool" if is_resnet else "class token",
        shares=shares,
        rollout=None if is_resnet else rollouts,
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
