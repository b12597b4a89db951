"""What does a model need of a tokenizer?

Little: how many ids there are, how long a row is, and the rows themselves. Whatever
offers this can be trained with and saved in a checkpoint, however it splits words.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np


class TokenizerProtocol(Protocol):
    """What all tokenizers offer; `Tokenizer` is one of them."""

    vocab_size: int  # ids are 0 .. vocab_size - 1
    context_length: int  # tokens in a row, with start, end and padding
    start_token_id: int  # the first of each row
    end_token_id: int  # follows the last token of the text
    pad_token_id: int  # fills the rest of a row

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without start and end."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids."""

    def lengths(self, texts: str | Iterable[str]) -> np.ndarray:
        """How many tokens each text has with start and end: (n,) int64."""

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, truncate: bool = False
    ) -> np.ndarray:
        """Rows of ids for the text encoder: (n, context_length) int64."""

    def to_json(self) -> str:
        """The tokenizer as text, for `tokenizer_from_json`."""
