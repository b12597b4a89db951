"""Which kind of tokenizer was saved in this text?

A checkpoint holds its tokenizer as the text of a JSON object. Its entry "format" says
which kind of tokenizer wrote it. FORMATS is the table of the kinds: a new tokenizer is
a class with `to_json`, a function that reads such a text, and a line in this table.
"""

import json
from collections.abc import Callable

from clip_np.tokens.protocol import TokenizerProtocol
from clip_np.tokens.tokenizer import Tokenizer
from clip_np.tokens.vocabularies import FORMAT
from clip_np.tokens.wordpiece import WordPieceTokenizer
from clip_np.tokens.wordpiece_files import WORDPIECE_FORMAT

FORMATS: dict[str, Callable[[str], TokenizerProtocol]] = {
    FORMAT: Tokenizer.from_json,
    WORDPIECE_FORMAT: WordPieceTokenizer.from_json,
}
"""The entry "format" of a saved tokenizer -> the function that reads its text."""


def tokenizer_from_json(text: str) -> TokenizerProtocol:
    """The tokenizer that some tokenizer's `to_json` wrote.

    Raises ValueError, KeyError or TypeError for other texts.

    >>> saved = Tokenizer([("a", "b")], context_length=9).to_json()
    >>> tokenizer_from_json(saved).context_length
    9
    """
    name = json.loads(text)["format"]
    if name not in FORMATS:
        raise ValueError(
            f"the tokenizer's format is {name!r}, expected one of {', '.join(FORMATS)}"
        )
    return FORMATS[name](text)
