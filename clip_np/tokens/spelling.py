"""How can a text be spelled with 256 letters, whatever language it is in?

In UTF-8 every text is a sequence of bytes. "é" is two bytes, C3 A9, and an emoji is
four. A tokenizer that knows all 256 bytes can spell any text; nothing is unknown to it.

Bytes are awkward in files of text: some are spaces or control characters. So each byte
is written as one visible character. Printable characters of Latin-1 stand for
themselves, and the other 68 bytes are written with the characters from number 256 on.

The last byte of a word gets the mark "</w>". So "art" at the end of "smart" and "art"
in "artist" are different pieces, and a text can be put together again with its spaces.
"""

from collections.abc import Iterable
from reprlib import repr as shortened

END_OF_WORD = "</w>"

# The order of the bytes in the published vocabulary: first the printable ones.
_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_OTHERS = (byte for byte in range(256) if byte not in _PRINTABLE)
_CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE}
_CHARACTERS |= {byte: chr(256 + number) for number, byte in enumerate(_OTHERS)}
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}

BYTE_PIECES = (*_BYTES, *(character + END_OF_WORD for character in _BYTES))
"""The pieces that every vocabulary has: 256 bytes, and 256 bytes that end a word."""


def spell(word: str) -> list[str]:
    """The bytes of a word as visible characters, the last one with the mark "</w>".

    Raises ValueError for half a character, which no text in UTF-8 can hold.

    >>> spell("red")
    ['r', 'e', 'd</w>']
    >>> spell("né")
    ['n', 'Ã', '©</w>']
    """
    try:
        spelled = word.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the word {shortened(word)} is not Unicode text ({error.reason}): correct its encoding"
        ) from error
    characters = [_CHARACTERS[byte] for byte in spelled]
    return [*characters[:-1], characters[-1] + END_OF_WORD]


def unspell(pieces: Iterable[str]) -> str:
    """The words that some pieces spell, separated by spaces.

    Bytes that are not UTF-8 become the sign for an unknown character.

    >>> unspell(["re", "d</w>", "n", "Ã", "©</w>"])
    'red né'
    """
    # "<", "/", "w" and ">" spell themselves, so the mark passes through unchanged.
    spelled = "".join(pieces)
    text = bytes(_BYTES[character] for character in spelled).decode("utf-8", errors="replace")
    return text.replace(END_OF_WORD, " ").strip()
