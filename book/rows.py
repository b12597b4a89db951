"""How does a file become rows, with an explanation beside the lines that it explains?

Explanations are docstrings and the comments that have lines to themselves. They leave
the code. A comment at the end of a line stays there, and so does a comment inside
brackets. A row ends where the next explanation begins.

A file is a list of parts: its functions, its classes with their methods, and the lines
between them. A comment such as `# --- layers ---` is a heading, a part without rows.
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Sequence
from typing import NamedTuple

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
HEADING = re.compile(r"-{3,}\s*(.*?)\s*-*")
ORDERS = ("fmt:", "noqa", "type:", "ruff:")
"""Comments for programs begin like this. They stay in the code."""


class Row(NamedTuple):
    """An explanation and its code; either may be empty.

    names: what the code assigns at the top of the file. line: where the code begins.
    """

    text: str
    code: str
    names: tuple[str, ...]
    line: int


class Part(NamedTuple):
    """A piece of a file. kind: "function", "class", "heading" or "lines".

    name: "Walk.run" for the method of a class; the text of a heading; "" for lines.
    """

    kind: str
    name: str
    rows: tuple[Row, ...]
    parts: "tuple[Part, ...]" = ()


class File(NamedTuple):
    """A Python file: its docstring and its parts."""

    docstring: str
    parts: tuple[Part, ...]


def read_file(source: str) -> File:
    """The parts of a source text.

    >>> function = 'def double(a):\\n    "Twice a."\\n    return 2 * a\\n'
    >>> file = read_file('"Why?"\\n\\nx = 1\\n\\n' + function)
    >>> file.docstring, [part.name for part in file.parts]
    ('Why?', ['', 'double'])
    >>> file.parts[1].rows
    (Row(text='Twice a.', code='def double(a):\\n    return 2 * a', names=(), line=5),)
    """
    tree = ast.parse(source)
    reader = _Reader(source, tree)
    body = tree.body
    docstring = ast.get_docstring(tree) or ""
    first_line = 1
    if docstring:
        first_line = _last_line(body[0]) + 1
        body = body[1:]
    return File(docstring, tuple(reader.parts(body, first_line, len(reader.lines), prefix="")))


class _Reader:
    """What is known of a file while its parts are read. Lines are numbered from 1."""

    def __init__(self, source: str, tree: ast.Module) -> None:
        self.lines = source.splitlines()
        self.comments = own_line_comments(source)
        self.docstrings = docstring_lines(tree)
        self.names = assigned_names(tree)

    def parts(self, body: Sequence[ast.stmt], first: int, last: int, prefix: str) -> list[Part]:
        """The parts of the lines first .. last, with the statements of `body`."""
        parts: list[Part] = []
        for node in body:
            if isinstance(node, Definition):
                start = self._start(node, first)
                parts += self._between(first, start - 1)
                parts.append(self._definition(node, start, prefix))
                first = _last_line(node) + 1
        return parts + self._between(first, last)

    def _start(self, node: Definition, first: int) -> int:
        """The line where a definition begins, with the comments right above it."""
        start = min([node.lineno, *(line.lineno for line in node.decorator_list)])
        while start > first and self.comments.get(start - 1, "-" * 3)[:3] != "---":
            start -= 1
        return start

    def _definition(self, node: Definition, start: int, prefix: str) -> Part:
        name = prefix + node.name
        last = _last_line(node)
        if not isinstance(node, ast.ClassDef):
            return Part("function", name, tuple(self.rows(start, last)))
        inner = [line for line in node.body if isinstance(line, Definition)]
        head_end = self._start(inner[0], node.lineno + 1) - 1 if inner else last
        rows = tuple(self.rows(start, head_end))
        parts = self.parts(inner, head_end + 1, last, prefix=f"{name}.")
        return Part("class", name, rows, tuple(parts))

    def _between(self, first: int, last: int) -> list[Part]:
        """The lines between two definitions, cut at the comments that are headings."""
        parts: list[Part] = []
        for line in [*range(first, last + 1), last + 1]:
            heading = HEADING.fullmatch(self.comments.get(line, ""))
            if heading or line > last:
                rows = tuple(self.rows(first, line - 1))
                parts += [Part("lines", "", rows)] if rows else []
                parts += [Part("heading", heading[1], ())] if heading and heading[1] else []
                first = line + 1
        return parts

    def rows(self, first: int, last: int) -> list[Row]:
        """The rows of the lines first .. last."""
        rows: list[Row] = []
        text: list[str] = []
        code: list[int] = []
        line = first
        while line <= last:
            if line in self.comments:
                if any(self.lines[number - 1].strip() for number in code):
                    rows.append(self._row(text, code))
                    text, code = [], []
                text.append(self.comments[line])
            elif line in self.docstrings:
                docstring = self.docstrings[line]
                before = [number for number in code if number < docstring.owner]
                if before:
                    rows.append(self._row(text, before))
                    text, code = [], code[len(before) :]
                text += ["", docstring.text]
                line = docstring.last
                if line < last and not self.lines[line].strip():
                    line += 1  # the empty line after a docstring
            else:
                code.append(line)
            line += 1
        rows.append(self._row(text, code))
        return [row for row in rows if row.text or row.code]

    def _row(self, text: list[str], code: list[int]) -> Row:
        filled = [number for number in code if self.lines[number - 1].strip()]
        line, last = (filled[0], filled[-1]) if filled else (0, 0)
        kept = [self.lines[number - 1] for number in code if line <= number <= last]
        names = tuple(self.names[number] for number in code if number in self.names)
        return Row("\n".join(text).strip("\n"), "\n".join(kept), names, line)


class Docstring(NamedTuple):
    """A docstring in the lines of its file: its last line, and its owner's first."""

    text: str
    last: int
    owner: int


def own_line_comments(source: str) -> dict[int, str]:
    """The comments with a line to themselves, outside of brackets, by their line.

    >>> own_line_comments("# why\\nx = [  # stays\\n    # stays too\\n    1]\\n")
    {1: 'why'}
    """
    comments: dict[int, str] = {}
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        alone = token.type == tokenize.COMMENT and token.line.strip().startswith("#")
        text = token.string.removeprefix("#").removeprefix(" ")
        if alone and depth == 0 and not text.startswith(("!", *ORDERS)):
            comments[token.start[0]] = text
    return comments


def docstring_lines(tree: ast.Module) -> dict[int, Docstring]:
    """The docstrings in a file, also those below an assignment, by their first line."""
    docstrings: dict[int, Docstring] = {}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for before, statement in zip([node, *body], body):
            is_text = isinstance(statement, ast.Expr) and isinstance(
                getattr(statement.value, "value", None), str
            )
            if not is_text or not _has_docstring(before, node):
                continue
            text = textwrap.dedent(_cleaned(statement.value.value))
            if isinstance(before, Definition):
                owner = min([before.lineno, *(line.lineno for line in before.decorator_list)])
            else:
                owner = getattr(before, "lineno", 1)
            docstrings[statement.lineno] = Docstring(text, _last_line(statement), owner)
    return docstrings


def assigned_names(tree: ast.Module) -> dict[int, str]:
    """The names that a module assigns at its top level, by the line of each."""
    names = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            names[node.lineno] = target.id
    return names


def _has_docstring(before: ast.AST, parent: ast.AST) -> bool:
    """Whether a text after `before`, in the body of `parent`, is its docstring."""
    if before is parent:
        return isinstance(parent, (ast.Module, Definition))
    return isinstance(before, (ast.Assign, ast.AnnAssign))


def _cleaned(docstring: str) -> str:
    """A docstring without the indentation of its code."""
    head, _, rest = docstring.expandtabs().partition("\n")
    return f"{head.strip()}\n{textwrap.dedent(rest)}".strip()


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
