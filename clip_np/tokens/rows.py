"""How do ids of different number become rows of one length?

The text encoder reads a batch of rows. A row begins with the start token and ends with
the end token, and the rest is padding:

    start  ids ...  end  padding ...

All tokenizers share this file.
"""

from collections.abc import Iterable, Sequence
from reprlib import repr as shortened

import numpy as np

from clip_np.tokens.ids import START_AND_END
from clip_np.tokens.protocol import TokenizerProtocol


def as_list(texts: str | Iterable[str]) -> list[str]:
    """The texts; one text is a list of one.

    >>> as_list("a red ball")
    ['a red ball']
    """
    return [texts] if isinstance(texts, str) else list(texts)


def require_room(context_length: int) -> None:
    """ValueError if a row has no room for start and end.

    >>> require_room(2)
    """
    if context_length < START_AND_END:
        raise ValueError(
            f"context_length must be at least {START_AND_END}, got {context_length}: a row begins "
            "with the start token and ends with the end token"
        )


def count_tokens(tokenizer: TokenizerProtocol, texts: Iterable[str]) -> np.ndarray:
    """How many tokens each text has with start and end: (n,) int64."""
    lengths = [len(tokenizer.encode(text)) + START_AND_END for text in texts]
    return np.array(lengths, dtype=np.int64)


def rows_of_ids(
    tokenizer: TokenizerProtocol, texts: Sequence[str], length: int, truncate: bool
) -> np.ndarray:
    """The rows of texts, `length` ids in each: (n, length) int64.

    ValueError for a text that does not fit. With `truncate` its row is cut, and its
    last id is still the end token.
    """
    require_room(length)
    rows = np.full((len(texts), length), tokenizer.pad_token_id, dtype=np.int64)
    for number, text in enumerate(texts):
        ids = tokenizer.encode(text)
        token_count = len(ids) + START_AND_END
        if token_count > length and not truncate:
            raise ValueError(
                f"text {number} {shortened(text)} has {token_count} tokens with start and "
                f"end, the limit is {length}: shorten it, or pass truncate=True to cut it"
            )
        row = [tokenizer.start_token_id, *ids[: length - START_AND_END], tokenizer.end_token_id]
        rows[number, : len(row)] = row
    return rows
