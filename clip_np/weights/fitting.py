"""Does a tokenizer fit its model?

The model looks up a row for each id and for each position. A tokenizer that makes an id
or a row that is not there would fail at the first text, long after the file was opened;
and one that asks for rows of a billion tokens would take gigabytes for a caption. All
of it can be seen beforehand:

    ids 0 .. vocab_size - 1      the model's table has at least as many rows
    rows of context_length       the model knows at least as many positions
    the end token                is the one where the model reads its result
    the padding token            is the one that the model leaves out
"""

from clip_np.encoders import TextConfig
from clip_np.tokens import TokenizerProtocol


def require_fit(tokenizer: TokenizerProtocol, config: TextConfig) -> None:
    """ValueError if the model cannot read what the tokenizer writes.

    >>> from clip_np.encoders import PRESETS
    >>> from clip_np.tokens import Tokenizer
    >>> require_fit(Tokenizer([], context_length=77), PRESETS["tiny"].text)
    >>> require_fit(Tokenizer([], context_length=78), PRESETS["tiny"].text)
    Traceback (most recent call last):
    ValueError: the tokenizer's context_length is 78, but the model has 77 positions
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"the tokenizer's vocab_size is {tokenizer.vocab_size}, but the model has rows for "
            f"{config.vocab_size} ids"
        )
    if tokenizer.context_length > config.context_length:
        raise ValueError(
            f"the tokenizer's context_length is {tokenizer.context_length}, but the model has "
            f"{config.context_length} positions"
        )
    if config.eos_token_id is not None and tokenizer.end_token_id != config.eos_token_id:
        raise ValueError(
            f"the tokenizer's end token is {tokenizer.end_token_id}, but the model looks for "
            f"{config.eos_token_id}"
        )
    if config.pad_token_id is not None and tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"the tokenizer's padding token is {tokenizer.pad_token_id}, but the model leaves out "
            f"{config.pad_token_id}"
        )
