"""Imports run one way: the tables of the design, held against the code.

Two tables say which room may use which. A third, the reading order in
docs/reading_order.md, says in which order a reader meets the files; an import of a file
that comes later is a place where the reader has to look ahead, and there may be few of
those.
"""

import pytest
from paths import ROOT

from book.graph import module_name, read_imports
from book.order import ORDER, read_chapters

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
        "ops.masks",
        "ops.packed",
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
    chapters = read_chapters(ORDER.read_text(encoding="utf-8"))
    return [module_name(ROOT / file) for chapter in chapters for file in chapter.files]


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
