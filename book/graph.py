"""Which module uses which?

The imports are read from the source. A name that a package hands on counts as that of
the module which defines it.
"""

import ast
from pathlib import Path

from book.order import ROOT


def module_name(path: Path) -> str:
    """The dotted name of a file: "clip_np.data" for clip_np/data/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_of(module: str) -> str:
    """The page of a module, without an ending.

    >>> page_of("minigrad.tape"), page_of("minigrad.ops")
    ('minigrad/tape', 'minigrad/ops/__init__')
    """
    path = module.replace(".", "/")
    return f"{path}/__init__" if (ROOT / path).is_dir() else path


def handed_on(sources: dict[str, str]) -> dict[str, dict[str, str]]:
    """For each package: the names that it hands on -> the modules they are from."""
    table: dict[str, dict[str, str]] = {}
    for package, text in sources.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(package):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    module = inner if inner in sources else str(node.module)
                    table.setdefault(package, {})[alias.asname or alias.name] = module
    return table


def imported_modules(module: str, sources: dict[str, str], table: dict) -> list[str]:
    """The project's modules that a file uses, each once.

    A name that a package hands on counts as its own module: `from clip_np.data import
    Pairs` and `mg.linear(...)` lead to clip_np.data.pairs and minigrad.ops.linear.
    """
    found: list[str] = []

    def use(package: str, name: str) -> None:
        inner = f"{package}.{name}"
        target = inner if inner in sources else table.get(package, {}).get(name, package)
        if target in table and name in table[target]:
            target = table[target][name]
        found.append(target)

    tree = ast.parse(sources[module])
    # What only a type checker imports is no import.
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    checkers = [node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for block in checkers for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name in sources and not name.asname]
        elif isinstance(node, ast.ImportFrom) and node.module in sources:
            for alias in node.names:
                use(str(node.module), alias.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "mg":
            use("minigrad", node.attr)
    return [name for name in dict.fromkeys(found) if name != module]


def read_sources() -> dict[str, str]:
    """The text of each module of both packages, by its dotted name."""
    paths = sorted(ROOT.glob("minigrad/**/*.py")) + sorted(ROOT.glob("clip_np/**/*.py"))
    return {module_name(path): path.read_text(encoding="utf-8") for path in paths}


def read_imports() -> dict[str, list[str]]:
    """Each module of both packages with the project's modules that it uses."""
    sources = read_sources()
    table = handed_on(sources)
    return {name: imported_modules(name, sources, table) for name in sources}
