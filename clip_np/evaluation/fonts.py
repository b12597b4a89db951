"""Which fonts have the letters of a caption?

No font has the letters of all writings. matplotlib brings DejaVu Sans Mono, whose
letters have one width, and DejaVu Sans. For the letters that both lack, the installed
fonts are asked in turn. A letter that none of them has becomes a box, and a warning
says which kind of font to install.
"""

import functools
import unicodedata
from typing import Any
from warnings import warn

# The font comes with matplotlib, so pictures look the same on every system. All its
# letters have the same width, so the length of a line is known before it is drawn.
FONT = "DejaVu Sans Mono"
SECOND_FONT = "DejaVu Sans"
NO_LETTERS = "Last Resort"  # a font whose pictures only say that letters are missing
BOX = "□"
SHOWN_LETTERS = 10  # that a warning names
WIDE = {"W", "F"}  # East Asian letters as wide as two others


class MissingMatplotlib(RuntimeError):
    """Pictures need matplotlib, which is not installed."""


class MissingLetterWarning(UserWarning):
    """No installed font has a letter that is drawn."""


def load_matplotlib() -> Any:
    """The matplotlib package; MissingMatplotlib says how to install it."""
    try:
        import matplotlib.figure
        import matplotlib.font_manager
    except ImportError as error:
        raise MissingMatplotlib(
            'pictures need matplotlib: pip install "minigrad-clip[examples]"'
        ) from error
    return matplotlib


def drawable(text: str) -> str:
    """The text with a box for each letter that no font has; a warning names them."""
    lacking = [letter for letter in dict.fromkeys(text) if font_of(letter) is None]
    named = [letter for letter in lacking if letter.isprintable()]
    if named:
        warn(
            f"no installed font has {' '.join(named[:SHOWN_LETTERS])!r}: boxes are drawn "
            "instead; a font of the writing, such as Noto Sans CJK for Chinese, Japanese and "
            "Korean, brings them",
            MissingLetterWarning,
            stacklevel=2,
        )
    return "".join(BOX if letter in lacking else letter for letter in text)


def fonts_of(text: str) -> list[str]:
    """The names of the fonts that a text needs, for matplotlib, the first one first."""
    names = [font_of(letter) for letter in dict.fromkeys(text)]
    return list(dict.fromkeys([FONT, *(name for name in names if name is not None)]))


def is_wide(text: str) -> bool:
    """Whether a text has letters that are as wide as two others.

    >>> is_wide("a cat"), is_wide("猫")
    (False, True)
    """
    return any(unicodedata.east_asian_width(letter) in WIDE for letter in text)


@functools.lru_cache(maxsize=4096)
def font_of(letter: str) -> str | None:
    """The name of the first font with a letter, or None."""
    manager = load_matplotlib().font_manager
    for name in (FONT, SECOND_FONT):
        if _has_letter(manager.findfont(name), letter):
            return name
    installed = {
        entry.name: entry.fname
        for entry in manager.fontManager.ttflist
        if not entry.name.startswith(NO_LETTERS)
    }
    for name in sorted(installed):
        if _has_letter(installed[name], letter):
            return name
    return None


def _has_letter(file: str, letter: str) -> bool:
    """Whether a font has a letter. White space needs none: there is nothing to draw."""
    font = load_matplotlib().font_manager.get_font(file)
    return letter.isspace() or bool(font.get_char_index(ord(letter)))
