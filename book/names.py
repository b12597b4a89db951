"""Which place of the book does a name in the source lead to?

A name leads to the function, class or constant of a module: by an import, through the
packages that hand it on, or because it is in the same file. `mg.exp` leads to exp.
"""

import ast
from typing import NamedTuple

from book.graph import handed_on, read_sources


class Target(NamedTuple):
    """A place of the book: a module, and a name in it or "" for its beginning."""

    module: str
    name: str


class Names:
    """The names of all modules. sources: each module's text, by its dotted name.

    >>> sources = {"a": "from a.b import f", "a.b": "def f(): ...", "c": "import a"}
    >>> names = Names(sources)
    >>> names.scope("c")["a"], names.find("c", "a.f")
    (Target(module='a', name=''), Target(module='a.b', name='f'))
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.handed_on = handed_on(sources)
        self.trees = {module: ast.parse(text) for module, text in sources.items()}
        self.defined = {module: defined_names(tree) for module, tree in self.trees.items()}
        self.scopes = {module: self.scope_of(tree, module) for module, tree in self.trees.items()}

    def scope(self, module: str) -> dict[str, Target]:
        """What each name at the top of a module leads to."""
        return self.scopes[module]

    def scope_of(self, tree: ast.Module, module: str) -> dict[str, Target]:
        """The same for a file that need not be one of the modules."""
        scope = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.sources:
                        scope[alias.asname or alias.name] = Target(alias.name, "")
            elif isinstance(node, ast.ImportFrom) and node.module in self.sources:
                for alias in node.names:
                    target = self.follow(str(node.module), alias.name)
                    if target:
                        scope[alias.asname or alias.name] = target
        if module in self.sources:  # the variables of a script are nothing to look up
            scope |= {name: Target(module, name) for name in defined_names(tree)}
        return scope

    def follow(self, module: str, name: str) -> Target | None:
        """Where a module has a name from."""
        inner = f"{module}.{name}"
        defined = self.defined.get(module, ())
        if name in defined:
            return Target(module, name)
        origin = self.handed_on.get(module, {}).get(name)
        if origin and origin != module:
            return Target(origin, "") if origin == inner else self.follow(origin, name)
        return Target(inner, "") if inner in self.sources else None

    def find(self, module: str, text: str, scope: dict[str, Target] | None = None) -> Target | None:
        """The target of a name as it stands in a text about a module, or None.

        It may be dotted: `Walk.run`, `mg.exp`, `plain.attention`.
        """
        scope = self.scopes.get(module, {}) if scope is None else scope
        first, _, rest = text.partition(".")
        target = scope.get(first)
        if target is None:
            return self._in_a_module(module, first, rest) or self._public(text)
        if not rest:
            return target
        return self._inside(target, rest)

    def _inside(self, target: Target, rest: str) -> Target | None:
        if target.name:
            name = f"{target.name}.{rest}"
            is_known = name in self.defined.get(target.module, ())
            return Target(target.module, name) if is_known else None
        first, _, rest = rest.partition(".")
        inner = self.follow(target.module, first)
        return self._inside(inner, rest) if inner and rest else inner

    def _in_a_module(self, module: str, stem: str, rest: str) -> Target | None:
        """`plain.attention`: a name in a module of this package or of one around it."""
        package = module
        while package:
            if f"{package}.{stem}" in self.sources:
                target = Target(f"{package}.{stem}", "")
                return self._inside(target, rest) if rest else None
            package = package.rpartition(".")[0]
        return None

    def _public(self, text: str) -> Target | None:
        """`mg.gradcheck` in a file without imports, or `minigrad.ops.exp`."""
        package, _, name = text.replace("mg.", "minigrad.", 1).rpartition(".")
        return self.follow(package, name) if package in self.sources else None


def defined_names(tree: ast.Module) -> list[str]:
    """The functions, classes, methods and constants of a file.

    >>> defined_names(ast.parse("x = 1\\nclass A:\\n    def f(self): ..."))
    ['x', 'A', 'A.f']
    """
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [line for line in node.body if isinstance(line, ast.FunctionDef)]
            names += [f"{node.name}.{line.name}" for line in inner]
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            names.append(target.id)
    return names


def names_of_the_project() -> Names:
    """The names of both packages."""
    return Names(read_sources())
