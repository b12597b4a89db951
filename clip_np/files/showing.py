"""How is a stranger's text shown without letting it act?

A terminal obeys what it prints. ESC begins a command that can clear the screen, change
the window's title, or write over the lines above; BEL rings; a carriage return lets a
text cover its own beginning. Unicode has commands too: after a right-to-left override,
"gpj.exe" is read as "exe.jpg". File names, captions and the messages made from them may
hold all of these.

So whatever comes from a file is passed through `shown` before a person sees it. It
replaces such characters by what a Python string literal would call them. The files keep
their real names.

Boucher and Anderson 2021, "Trojan Source: Invisible Vulnerabilities", arXiv:2111.00169.
"""

import re

# As ranges of a regular expression.
CONTROLS = r"\x00-\x1f\x7f-\x9f"  # ESC, BEL, line ends, and the second set of controls
DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, overrides, isolates
LINE_ENDS = r"\u2028\u2029"  # Unicode's own
ACTING = re.compile(f"[{CONTROLS}{DIRECTIONS}{LINE_ENDS}]")


def shown(text: object) -> str:
    r"""A text on one line, with an escape for each character that would act.

    >>> print(shown("a\x1b[2J.png"), shown("photo\u202egpj.exe"), shown("ünïcode 🎈"))
    a\x1b[2J.png photo\u202egpj.exe ünïcode 🎈
    """
    return ACTING.sub(_escape, str(text))


def shown_lines(text: object) -> str:
    r"""The same for a text of several lines, whose line feeds stay.

    >>> print(shown_lines("first\nsecond\x07"))
    first
    second\x07
    """
    return "\n".join(shown(line) for line in str(text).split("\n"))


def _escape(match: re.Match[str]) -> str:
    r"""The escape of one character: \x1b, or \u202e."""
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
