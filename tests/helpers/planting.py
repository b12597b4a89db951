"""How a mistake is planted in the source: a small change of the text of a function."""

import ast
from typing import NamedTuple

from mutation import Change, path_of, tests_for


class Mutant(NamedTuple):
    """In `function` of `module`, the text `before` becomes `after`; `why` people do it.

    function is a top-level function, or "Class.method". before stands in it exactly
    once.
    """

    module: str
    name: str
    function: str
    before: str
    after: str
    why: str

    def __str__(self) -> str:
        return f"{self.module.rpartition('.')[2]}: {self.name}"


class MutantError(AssertionError):
    """The source has changed under a mutant."""


def of(module: str, *rows: tuple[str, str, str, str, str]) -> list[Mutant]:
    return [Mutant(module, *row) for row in rows]


def plant(mutant: Mutant) -> Change:
    """The module with the mistake in it; MutantError unless its text is there once."""
    path = path_of(mutant.module)
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    body: list[ast.stmt] = tree.body
    found: ast.AST | None = None
    for name in mutant.function.split("."):
        found = next((node for node in body if getattr(node, "name", None) == name), None)
        body = getattr(found, "body", [])
    place = f"{mutant.function} in {path.name}"
    if found is None:
        raise MutantError(f"mutant {mutant.name!r}: no {place} any more; plant it elsewhere")
    lines = text.splitlines(keepends=True)
    start, end = found.lineno - 1, found.end_lineno
    segment = "".join(lines[start:end])
    count = segment.count(mutant.before)
    if count != 1:
        raise MutantError(
            f"mutant {mutant.name!r}: {mutant.before!r} stands {count} times in {place}, expected "
            f"once; the source has changed, so write the mutant anew with the same mistake"
        )
    offset = len("".join(lines[:start])) + segment.index(mutant.before)
    line = text.count("\n", 0, offset) + 1
    source = text[:offset] + mutant.after + text[offset + len(mutant.before) :]
    return Change(mutant.module, source, tests_for(mutant.module, tree, line))
