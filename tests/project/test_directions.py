"""Imports run one way: the tables of the design, held against the code.

Two tables say which room may use which. A third, the reading order in
docs/reading_order.md, says in which order a reader meets the files; an import of a file
that comes later is a place where the reader has to look ahead, and there may be few of
those.
"""

import ast
import re
from pathlib import Path

import pytest
from paths import ROOT

# clip_np: a part may use the parts before it, and minigrad.
PARTS = (
    "files",
    "data",
    "tokens",
    "encoders",
    "losses",
    "model",
    "weights",
    "evaluation",
    "training",
    "cli",
)
# `data` is the exception: it reads files and knows nothing of tokens or models.
ALLOWED = {part: set(PARTS[:position]) for position, part in enumerate(PARTS)}
ALLOWED["data"] = {"files"}

# minigrad: a file may use the files of the rows above its own; in a row, those to its
# left.
ROWS = (
    ("context", "backend", "memory", "blas", "recording", "threads", "kernels.launching"),
    ("uploads", "precision", "kernels.column_sums", "kernels.added_rows", "kernels.added_terms"),
    ("declared", "tape", "tensor", "derivatives", "operators"),
    ("inputs",),
    ("ops.basic", "ops.choice", "ops.elementary"),
    ("ops.reductions", "ops.accumulations", "ops.shape", "ops.indexing"),
    ("ops.linear", "ops.contractions"),
    ("ops.error_function", "ops.activation", "plain", "plain_adamw", "plain_images"),
    (
        "kernels.layer_norm_rows",
        "kernels.softmax_rows",
        "kernels.cross_entropy_rows",
        "kernels.gelu_elements",
        "kernels.unit_rows",
        "kernels.flat_gradients",
        "kernels.adamw_update",
        "kernels.catalogue",
    ),
    (
        "ops.gelus",
        "ops.probabilities",
        "ops.losses",
        "ops.normalisation",
        "ops.noise",
        "ops.attention",
    ),
    ("spreading", "gathering", "ops.windows", "ops.conv", "ops.pooling", "ops.batch_norm"),
    ("module", "half", "nn", "flat", "clipping", "optim"),
    ("recompute", "numpy_functions"),
    ("checking.numeric", "checking.gradients", "checking.elements", "checking.directions"),
    ("checking.complex_step",),
    ("debug.observing", "debug.anomaly", "debug.drawing", "debug.profiling", "debug.out_of_memory"),
    ("checking", "debug"),
)
ENGINE = [name for row in ROWS for name in row]

# Files above all rooms: they only hand names on.
FACES = {"minigrad", "clip_np", "clip_np.__main__", "clip_np.search", "minigrad.ops"}
MOST_FORWARD = 8


def module_name(path: Path) -> str:
    """The dotted name of a file: "clip_np.data" for clip_np/data/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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


def read_imports() -> dict[str, list[str]]:
    """Each module of both packages with the project's modules that it uses."""
    paths = sorted(ROOT.glob("minigrad/**/*.py")) + sorted(ROOT.glob("clip_np/**/*.py"))
    sources = {module_name(path): path.read_text(encoding="utf-8") for path in paths}
    table = handed_on(sources)
    return {name: imported_modules(name, sources, table) for name in sources}


def part_of(module: str) -> str:
    """The part of clip_np that a module belongs to."""
    return module.split(".")[1]


def wrong_way(imports: dict[str, list[str]]) -> list[str]:
    """The imports that no table allows, as "a imports b"."""
    wrong = []
    for module, targets in imports.items():
        if module in FACES:
            continue
        for target in targets:
            if module.startswith("minigrad"):
                own = module.removeprefix("minigrad.")
                other = target.removeprefix("minigrad.")
                allowed = other in ENGINE and ENGINE.index(other) < ENGINE.index(own)
            elif target.startswith("minigrad"):
                allowed = True
            else:
                own, other = part_of(module), target.partition(".")[2].partition(".")[0]
                allowed = own == other or other in ALLOWED[own]
            if not allowed:
                wrong.append(f"{module} imports {target}")
    return wrong


def reading_order() -> list[str]:
    """The modules in the order of docs/reading_order.md, whose table names each file
    once."""
    text = (ROOT / "docs" / "reading_order.md").read_text(encoding="utf-8")
    return [module_name(ROOT / name) for name in re.findall(r"^\| `([\w/]+\.py)`", text, re.M)]


def forward_imports(imports: dict[str, list[str]], order: list[str]) -> list[str]:
    """Imports of a file that the reader has not met yet."""
    place = {module: position for position, module in enumerate(order)}
    forward = []
    for module, targets in imports.items():
        for target in targets:
            if module in place and target in place and place[target] > place[module]:
                forward.append(f"{module} imports {target}")
    return forward


def test_imports_between_rooms_run_one_way():
    assert wrong_way(read_imports()) == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("clip_np.files.whole", "clip_np.data"),
        ("clip_np.data.images", "clip_np.tokens"),
        ("clip_np.model", "clip_np.weights"),
        ("clip_np.evaluation.metrics", "clip_np.training"),
        ("minigrad.tape", "minigrad.tensor"),
        ("minigrad.nn", "minigrad.optim"),
        ("minigrad.ops.basic", "clip_np.model"),
    ],
)
def test_an_import_turned_round_is_noticed(module, target):
    imports = read_imports()
    imports.setdefault(module, []).append(target)
    assert wrong_way(imports) == [f"{module} imports {target}"]


def test_the_reading_order_names_every_file_once():
    """All but the packages' `__init__.py`, which a reader meets with the first of their
    files."""
    order = reading_order()
    assert len(set(order)) == len(order)
    packages = {module_name(path) for path in ROOT.glob("*/**/__init__.py")}
    assert set(read_imports()) - FACES - packages == set(order)


def test_few_imports_point_forward_in_reading_order():
    imports = read_imports()
    forward = forward_imports(imports, reading_order())
    assert len(forward) <= MOST_FORWARD, forward
    assert sum(map(len, imports.values())) > 150
