"""Which words does BERT see in a text?

Before BERT looks anything up, it puts the text in order, step by step:

    clean_text              control characters go, any white space becomes a space
    handle_chinese_chars    a space on both sides of each Chinese character: its words
                            are not separated by spaces, so each character is a word
    strip_accents           é is written as e and a mark (NFD), and the mark goes
    lowercase               every letter becomes small

and cuts it into words: at white space, and before and after each punctuation mark.

    "Señor, 7$ für\\t東京!"   ->   senor  ,  7  $  fur  東  京  !

For the *cased* models the last two steps are left out. `Cleaning` says which steps a
vocabulary was made for. Unicode's general categories say what a control character, a
mark and punctuation are. In ASCII, everything visible that is no letter or digit counts
as punctuation, too: "$", for example, is a currency symbol to Unicode.

The rules are those of BERT's code (Devlin et al. 2018, arXiv:1810.04805; its file
tokenization.py) in the form of the library tokenizers, which differs in a few
characters.
"""

import functools
import re
import unicodedata
from typing import NamedTuple

# White space by Unicode's rules. Python also counts the four separators 1C to 1F.
WHITE_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
ASCII_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
# The blocks of Chinese characters that BERT's code names. Blocks that Unicode has added
# since then are not among them. 2B820 to 2B91F are missing in the library's list.
CHINESE = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)
UNKNOWN_CHARACTER = "\ufffd"  # what readers write for bytes that are no text
CACHED_CHARACTERS = 10_000  # more than the characters of any one language


class Cleaning(NamedTuple):
    """The steps that a vocabulary was made for, by the names of tokenizer.json.

    strip_accents None means: if lowercase.
    """

    lowercase: bool = True
    strip_accents: bool | None = None
    handle_chinese_chars: bool = True
    clean_text: bool = True

    @property
    def strips_accents(self) -> bool:
        """What strip_accents means."""
        return self.lowercase if self.strip_accents is None else self.strip_accents


UNCASED = Cleaning()
CASED = Cleaning(lowercase=False)


def clean_for_bert(text: str, cleaning: Cleaning) -> str:
    """The text after the steps of `cleaning`.

    >>> clean_for_bert("Señor\\t\\x00東京", UNCASED)
    'senor  東  京 '
    >>> clean_for_bert("Señor\\t\\x00東京", CASED)
    'Señor  東  京 '
    """
    if text.isascii() and text.isprintable():  # nothing to clean but the case
        return text.lower() if cleaning.lowercase else text
    if cleaning.clean_text:
        text = "".join(map(_cleaned, text))
    if cleaning.handle_chinese_chars:
        text = CHINESE.sub(r" \g<0> ", text)
    if cleaning.strips_accents:
        text = "".join(map(_without_mark, unicodedata.normalize("NFD", text)))
    if cleaning.lowercase:
        # BERT makes each letter small by itself. Python's lower() looks around: a
        # capital sigma becomes another letter at the end of a word than inside.
        text = text.replace("Σ", "σ").lower()
    return text


def split_for_bert(text: str) -> list[str]:
    """The words of a clean text: cut at white space and around punctuation.

    >>> split_for_bert("it's 7$, ok?")
    ['it', "'", 's', '7', '$', ',', 'ok', '?']
    """
    if text.isascii():
        spaced = ASCII_PUNCTUATION.sub(r" \g<0> ", text)
    else:
        spaced = "".join(f" {sign} " if is_punctuation(sign) else sign for sign in text)
    return [word for word in WHITE_SPACE.split(spaced) if word]


def stands_alone(character: str, cleaning: Cleaning) -> bool:
    """Whether a character is a word by itself wherever it is written.

    >>> [stands_alone(character, UNCASED) for character in "a!東"]
    [False, True, True]
    """
    is_separated = cleaning.handle_chinese_chars and CHINESE.match(character) is not None
    return is_separated or is_punctuation(character)


@functools.lru_cache(CACHED_CHARACTERS)
def is_punctuation(character: str) -> bool:
    """Punctuation by Unicode's categories or by BERT's rule for ASCII.

    >>> [is_punctuation(character) for character in "$¿€"]
    [True, True, False]
    """
    if character.isascii():
        return ASCII_PUNCTUATION.match(character) is not None
    return unicodedata.category(character).startswith("P")


@functools.lru_cache(CACHED_CHARACTERS)
def _cleaned(character: str) -> str:
    """A character after the step clean_text: itself, a space or nothing."""
    if WHITE_SPACE.match(character) and (
        character in "\t\n\r" or unicodedata.category(character) != "Cc"
    ):
        return " "
    # Control, format, private use. Those that are not assigned (Cn) stay.
    is_control = unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs")
    return "" if is_control or character == UNKNOWN_CHARACTER else character


@functools.lru_cache(CACHED_CHARACTERS)
def _without_mark(character: str) -> str:
    """A character, or nothing in place of a mark (Mn) that is written onto another."""
    return "" if unicodedata.category(character) == "Mn" else character
