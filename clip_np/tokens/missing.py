"""What stands in for a tokenizer that a model came without?"""

from typing import Any, NoReturn


class MissingTokenizer:
    """Stands in for the tokenizer of a model that came without one.

    Images can still be encoded. Whatever is asked of the tokenizer raises
    FileNotFoundError with `message`, which should name the file that is needed.

    >>> tokenizer = MissingTokenizer("there is no vocab.json next to the weights")
    >>> tokenizer("a red ball")
    Traceback (most recent call last):
    FileNotFoundError: there is no vocab.json next to the weights
    """

    def __init__(self, message: str) -> None:
        self.message = message

    def encode(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Raise FileNotFoundError, as all methods do."""
        raise FileNotFoundError(self.message)

    __call__ = decode = lengths = to_json = save = save_huggingface = encode
