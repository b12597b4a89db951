"""How does the plain text of a docstring become paragraphs, lists and formulas?

The project's docstrings are written to be read as they stand, with few marks:

    text                  a paragraph, up to an empty line
    - text                an item of a list, also with "1." in place of "-"
    a line after ">>>"    an example, with what it prints
        indented text     a formula or a table, or code if Python can read it
    `code` **loud** *new term* arXiv:1706.03762 https://... minigrad/tape.py

In formulas x^2 is a power, and q_i has an index. Both are raised or lowered. Where the
lines of a formula stand in columns, a word keeps the room of its characters.
"""

import ast
import html
import re
from collections.abc import Sequence
from typing import NamedTuple


class Block(NamedTuple):
    """A piece of a text. kind: paragraph, items, numbered, example, code or formula.

    lines: the items of a list; else the lines of the block.
    """

    kind: str
    lines: tuple[str, ...]


class Span(NamedTuple):
    """A piece of a paragraph. kind: text, code, strong, emphasis, paper, link, path."""

    kind: str
    text: str


JOINED = ("items", "numbered", "indented", "example")
"""Blocks of these kinds go on after an empty line."""

ITEM = re.compile(r"(?:-|\d+\.) +(.*)")
COLUMNS = re.compile(r"\S {3,}\S")
SENTENCE = re.compile(r"[A-Za-z]{3,} [A-Za-z]{2,}|[A-Za-z]{2,} [A-Za-z]{3,}|[.,:;]$")
"""Two words in a row, or a stop at the end of a line: no equation has them."""

SPAN = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\*\*(?P<strong>\S(?:[^*]*\S)?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[A-Za-z](?:[^*]*[\w.?!])?)\*(?!\w)"
    r"|(?P<paper>arXiv:\d{4}\.\d{4,5})"
    r"|(?P<link>https?://[^\s)>]+[^\s)>.,;])"
    r"|(?P<path>(?:[\w.]+/)*\w+\.(?:py|md)\b)"
)
POWER = re.compile(r"\^(?:\(([^()]*)\)|(-?\w+))")
WORD = re.compile(r"(?:\^\([^()]*\)|\S)+")
INDEX = re.compile(r"(?<![A-Za-z0-9])(d?[A-Za-z]|sum|max|log)_([a-z0-9]|[ij]{2})(?!\w)")


def read_prose(text: str) -> list[Block]:
    """The blocks of a docstring or a comment.

    >>> for block in read_prose("A product.\\n\\n    y = a^T b\\n\\n- one\\n- two"):
    ...     print(block)
    Block(kind='paragraph', lines=('A product.',))
    Block(kind='formula', lines=('y = a^T b',))
    Block(kind='items', lines=('one', 'two'))
    """
    blocks: list[Block] = []
    chunks = re.split(r"\n[ \t]*\n", text.strip("\n"))
    for chunk in filter(str.strip, chunks):
        for number, lines in enumerate(_groups(chunk.splitlines())):
            block = _block(lines)
            if blocks and block.kind == blocks[-1].kind and block.kind in JOINED:
                gap = ("",) if block.kind == "indented" and number == 0 else ()
                blocks[-1] = Block(block.kind, (*blocks[-1].lines, *gap, *block.lines))
            else:
                blocks.append(block)
    return [_code_or_formula(block) for block in blocks]


def _groups(lines: list[str]) -> list[list[str]]:
    """The lines of a chunk, cut where its kind changes."""
    if _is_table(lines[0]):
        return [lines]
    equations = _leading_equations(lines)
    groups = [[f"    {line}" for line in lines[:equations]]] if equations else []
    kind = ""
    for line in lines[equations:]:
        if line.startswith(">>>"):
            new = "example"
        elif kind == "example":
            new = kind  # what it prints
        elif ITEM.match(line):
            new = "item"
        elif kind == "item" and line.startswith(" "):
            new = kind
        else:
            new = "indented" if line.startswith("    ") else "text"
        if new != kind:
            groups.append([])
        groups[-1].append(line)
        kind = new
    return groups


def _leading_equations(lines: list[str]) -> int:
    """How many lines of a comment are equations, above a sentence or alone.

    One equation alone stands on a line in any case, and so does an indented formula.
    """
    count = 0
    if lines[0].startswith(" "):
        return count
    while count < len(lines) and " = " in lines[count] and not SENTENCE.search(lines[count]):
        count += 1
    has_sentence = count < len(lines) and lines[count][0].isupper()
    return count if has_sentence or count == len(lines) > 1 else 0


def _block(lines: list[str]) -> Block:
    first = lines[0]
    if first.startswith(">>>"):
        return Block("example", tuple(lines))
    if ITEM.match(first):
        items: list[str] = []
        for line in lines:
            item = ITEM.match(line)
            if item:
                items.append(item[1])
            else:
                items[-1] += " " + line.strip()
        return Block("items" if first.startswith("-") else "numbered", tuple(items))
    if first.startswith("    "):
        return Block("indented", tuple(lines))
    return Block("formula" if _is_table(first) else "paragraph", tuple(lines))


def _is_table(first: str) -> bool:
    """Whether a line begins a table that is not indented."""
    return not first.startswith((" ", ">>>")) and COLUMNS.search(first) is not None


def _code_or_formula(block: Block) -> Block:
    """An indented block as what it is."""
    if block.kind != "indented":
        return block
    margin = min(len(line) - len(line.lstrip()) for line in block.lines if line.strip())
    lines = tuple(line[margin:].rstrip() for line in block.lines)
    return Block("code" if is_python("\n".join(lines)) else "formula", lines)


def is_python(text: str) -> bool:
    """Whether a text is a program: Python reads it, and it has more than expressions.

    >>> is_python("for x in y:\\n    z = x"), is_python("a = b c"), is_python("(a, b)")
    (True, False, False)
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError:
        return False
    return any(not isinstance(line, ast.Expr | ast.Assign | ast.AnnAssign) for line in statements)


def read_spans(paragraph: str) -> list[Span]:
    """The pieces of a paragraph.

    >>> read_spans("See `exp` in ops/basic.py: e^x.")
    [Span(kind='text', text='See '), Span(kind='code', text='exp'), \
Span(kind='text', text=' in '), Span(kind='path', text='ops/basic.py'), \
Span(kind='text', text=': e^x.')]
    """
    spans: list[Span] = []
    end = 0
    for match in SPAN.finditer(paragraph):
        if match.start() > end:
            spans.append(Span("text", paragraph[end : match.start()]))
        kind = str(match.lastgroup)
        spans.append(Span(kind, match[kind]))
        end = match.end()
    return [*spans, Span("text", paragraph[end:])] if end < len(paragraph) else spans


def has_columns(lines: Sequence[str]) -> bool:
    """Whether the lines of a formula are aligned with spaces below each other.

    >>> has_columns(["y    = a x", "dy/dx = a"]), has_columns(["y = a x"])
    (True, False)
    """
    return len(lines) > 1 and any("  " in line for line in lines)


def formula_html(text: str) -> str:
    """A formula in HTML, its powers raised and its indices lowered.

    >>> formula_html("x_i^2 < K^T")
    'x<sub>i</sub><sup>2</sup> &lt; K<sup>T</sup>'
    >>> formula_html("e^(x_i - m)")
    'e<sup>x<sub>i</sub> − m</sup>'
    """
    pieces: list[str] = []
    end = 0
    for power in POWER.finditer(text):
        exponent = power[1] if power[1] is not None else power[2]
        pieces.append(_lowered(text[end : power.start()]))
        pieces.append(f"<sup>{formula_html(exponent.replace('-', '−'))}</sup>")
        end = power.end()
    return "".join([*pieces, _lowered(text[end:])])


def _lowered(text: str) -> str:
    """A piece of a formula without powers, its indices lowered."""
    return INDEX.sub(r"\1<sub>\2</sub>", html.escape(text, quote=False))


def columns_html(text: str) -> str:
    """The same for lines in columns.

    A word with raised or lowered pieces is as wide as its characters, so that nothing
    moves that stands behind it.

    >>> columns_html("K^T  V")
    '<span style="--width:3">K<sup>T</sup></span>  V'
    """

    def word_html(match: re.Match[str]) -> str:
        shown = formula_html(match[0])
        if shown == html.escape(match[0], quote=False):
            return shown
        return f'<span style="--width:{len(match[0])}">{shown}</span>'

    return WORD.sub(word_html, text)
