"""How does a text become words?

First it is cleaned: broken Unicode is repaired, HTML such as "&amp;" is undone, white
space is collapsed, and all letters become small. Then it is split by this pattern of
the published models, the first alternative that fits:

    <|startoftext|>   <|endoftext|>     the special tokens, if someone writes them
    's 't 're 've 'm 'll 'd             endings of English short forms
    letters                             one or more, of any alphabet
    number                              one digit: "101" is three words
    anything else                       one or more signs that are not white space

Python's `re` knows no classes for "any letter" and "any number" of Unicode. So a text
beyond ASCII is searched through its *shadow*, a text of the same length in which every
letter is written as z, every number as 0 and every other sign as #:

    text      "größe ② 日本!"
    shadow    "grzze 0 zz!"
"""

import functools
import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from reprlib import repr as shortened

START = "<|startoftext|>"
END = "<|endoftext|>"

# The words of a clean ASCII text, or of a shadow.
_WORDS = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^ a-z0-9]+"
)
# White space by Unicode's rules. Python also counts the four separators 1C to 1F.
_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
_SHADOW_OF = defaultdict(lambda: "#", L="z", N="0")  # by the first letter of the category


@functools.cache
def _repair() -> Callable[[str], str]:
    """The function that repairs broken Unicode: ftfy's, or if it is missing, none."""
    try:
        import ftfy
    except ImportError:
        return str
    return ftfy.fix_text


def clean(text: str) -> str:
    """Repair, undo HTML entities twice, collapse white space, make letters small.

    >>> clean("  A &lt;RED&gt;  ball\\n")
    'a <red> ball'
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__} {shortened(text)}")
    # Printable ASCII without "&" needs no repair. ftfy would look at it for 40 us, six
    # times as long as the rest of encoding a caption takes.
    is_plain = text.isascii() and text.isprintable() and "&" not in text
    if not is_plain:
        text = html.unescape(html.unescape(_repair()(text)))
    return _SPACE.sub(" ", text).strip().lower()


def split_words(text: str) -> list[str]:
    """The words of a clean text, in order.

    >>> split_words("it's room 101!!")
    ['it', "'s", 'room', '1', '0', '1', '!!']
    >>> split_words("größe ② 日本!")
    ['größe', '②', '日本', '!']
    """
    if text.isascii():
        return _WORDS.findall(text)
    return [text[match.start() : match.end()] for match in _WORDS.finditer(_shadow(text))]


def _shadow(text: str) -> str:
    """A text of the same length in which signs beyond ASCII are z, 0 or #."""
    # The pattern of the published models ignores case. To it the long s "ſ" is an s,
    # and the mark U+0345, which has a capital letter, is in no class at all.
    signs = text.replace("ſ", "s").replace("\u0345", " ")
    return "".join(
        sign if sign.isascii() else _SHADOW_OF[unicodedata.category(sign)[0]] for sign in signs
    )
