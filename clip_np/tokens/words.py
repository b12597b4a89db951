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
_SHADOW_OF = {"L": "z", "N": "0"}  # by the first letter of the Unicode category
# A numeric entity such as "&#233;", with many digits. Python reads at most 4,300.
_LONG_ENTITY = re.compile("&#([0-9]{20,})")

MAX_TEXT_LENGTH = 2**18
"""Characters of a text, 262,144: a novel's chapter, and 80 MB of memory to encode it if
it is a single word. The published models read 77 tokens of it."""


@functools.cache
def _repair() -> Callable[[str], str]:
    """The function that repairs broken Unicode: ftfy's, or if it is missing, none."""
    try:
        import ftfy
    except ImportError:
        return str
    return ftfy.fix_text


def require_text(text: str) -> None:
    """TypeError for what is no text, ValueError for one beyond MAX_TEXT_LENGTH.

    >>> require_text("a red ball")
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__} {shortened(text)}")
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(
            f"a text has {len(text):,} characters, at most {MAX_TEXT_LENGTH:,} are read "
            f"(MAX_TEXT_LENGTH): shorten {shortened(text)}"
        )


def clean(text: str) -> str:
    """Repair, undo HTML entities twice, collapse white space, make letters small.

    Raises TypeError for what is no text, ValueError for more than MAX_TEXT_LENGTH
    characters.

    >>> clean("  A &lt;RED&gt;  ball\\n")
    'a <red> ball'
    """
    require_text(text)
    # Printable ASCII without "&" needs no repair. ftfy would look at it for 40 us, six
    # times as long as all of the rest of encoding a caption.
    is_plain = text.isascii() and text.isprintable() and "&" not in text
    if not is_plain:
        text = _unescape(_unescape(_repair()(text)))
    return _SPACE.sub(" ", text).strip().lower()


def _unescape(text: str) -> str:
    """Undo HTML entities, those with thousands of digits too.

    Eight digits without leading zeros are already more than the last character has.

    >>> _unescape("&lt; &#65; &#" + 5000 * "9" + ";") == "< A \\ufffd"
    True
    """
    return html.unescape(_LONG_ENTITY.sub(_shorten_entity, text))


def _shorten_entity(match: re.Match[str]) -> str:
    digits = match[1].lstrip("0") or "0"
    return f"&#{digits[:8]}"


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
        sign if sign.isascii() else _SHADOW_OF.get(unicodedata.category(sign)[0], "#")
        for sign in signs
    )
