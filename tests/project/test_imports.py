"""What the packages import, and that their source keeps the rules of the house."""

import ast
import os
import subprocess
import sys

import pytest
from paths import ROOT

FILES = sorted([*ROOT.glob("minigrad/**/*.py"), *ROOT.glob("clip_np/**/*.py")])
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
FACES = ("__init__.py", "__main__.py")  # they say what a package is for
# mg.tensor is the function. The module is reached by `from minigrad.tensor import ...`
# only.
HIDDEN = {"minigrad": {"tensor"}}
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)

# Run in a fresh interpreter. Whatever is neither NumPy, minigrad nor Python's own is
# refused.
ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"numpy", "minigrad"} | sys.stdlib_module_names:
            raise ImportError(f"minigrad must not import {name}")

sys.meta_path.insert(0, Refuse())
import numpy as np
import minigrad as mg
from minigrad.threads import blas_threads

rng = np.random.default_rng(0)
model = mg.nn.Sequential(mg.nn.Linear(2, 16, rng), mg.nn.LayerNorm(16), mg.nn.Linear(16, 2, rng))
optimizer = mg.optim.AdamW(model.parameters(), lr=0.02)

def logits(x):
    first, norm, last = model
    return last(mg.gelu(norm(first(x))))

x = rng.standard_normal((64, 2)).astype(np.float32)
labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
losses = []
with blas_threads(1):
    for step in range(100):
        loss = mg.cross_entropy(mg.checkpoint(logits, x), labels)
        loss.backward()
        mg.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
with mg.detect_anomaly():
    assert mg.draw(mg.sum(logits(x))).startswith("flowchart")
mg.gradcheck(mg.tanh, [np.ones(2)])
assert losses[-1] < 0.5 * losses[0], losses
assert "clip_np" not in sys.modules
print("trained")
"""


def run_alone(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_minigrad_trains_with_numpy_alone():
    finished = run_alone(ALONE)
    assert finished.stdout.strip() == "trained", finished.stderr


def test_the_guard_of_that_test_does_refuse():
    finished = run_alone(ALONE.partition("import numpy")[0] + "import hypothesis")
    assert "must not import hypothesis" in finished.stderr


def test_what_is_heavy_and_seldom_used_is_imported_when_it_is_used():
    heavy = ("matplotlib", "tqdm", "pyarrow", "datasets", "huggingface_hub", "email", "cupy")
    program = f"import sys, clip_np; print([name for name in {heavy} if name in sys.modules])"
    assert run_alone(program).stdout.strip() == "[]"


# --- the source -----------------------------------------------------------------------


def functions_of(path):
    """(name, node) for each function and method of a file, but for nested functions."""
    waiting = [("", ast.parse(path.read_text(encoding="utf-8")))]
    while waiting:
        prefix, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield prefix + node.name, node
            elif isinstance(node, ast.ClassDef):
                waiting.append((f"{prefix}{node.name}.", node))
            elif isinstance(node, (ast.If, ast.Try, ast.With)):
                waiting.append((prefix, node))


def is_public(name):
    return not any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def unhinted(name, node):
    """The parameters of a function that have no type hint, and "return"."""
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [each for each in (arguments.vararg, arguments.kwarg) if each]
    static = any(getattr(each, "id", "") == "staticmethod" for each in node.decorator_list)
    if "." in name and not static:
        named = named[1:]  # self
    missing = [each.arg for each in named if each.annotation is None]
    return missing if node.returns is not None else [*missing, "return"]


@each_file
def test_public_functions_have_type_hints(path):
    found = {name: unhinted(name, node) for name, node in functions_of(path) if is_public(name)}
    assert {name: missing for name, missing in found.items() if missing} == {}


@each_file
def test_public_functions_have_docstrings(path):
    """Methods may say what they do in their class."""
    bare = [
        name
        for name, node in functions_of(path)
        if is_public(name) and "." not in name and ast.get_docstring(node) is None
    ]
    assert bare == []


@each_file
def test_files_have_at_most_400_lines_of_100_characters(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    assert max(map(len, lines), default=0) <= 100


@each_file
def test_functions_have_at_most_60_lines(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sizes = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


@each_file
def test_a_module_opens_with_the_question_that_it_answers(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    first_line = docstring.splitlines()[0]
    assert "Chapter" not in first_line
    if path.name not in FACES:
        assert first_line.endswith("?")


def unseparated(source):
    """The summaries of a file's docstrings that no empty line follows."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    docstrings = [ast.get_docstring(node) for node in nodes]
    lines = [docstring.splitlines() for docstring in docstrings if docstring]
    return [first for first, *rest in lines if rest and rest[0].strip()]


@each_file
def test_an_empty_line_follows_the_summary_of_a_docstring(path):
    assert unseparated(path.read_text(encoding="utf-8")) == []


def test_a_summary_that_runs_on_is_noticed():
    good = '"""Why?\n\nBecause.\n"""\ndef f():\n    """One line."""\n'
    assert unseparated(good) == []
    assert unseparated(good + 'def g():\n    """Two\n    lines."""\n') == ["Two"]


def shadowed(init, modules):
    """The names that a package's __init__ binds although they are its modules' too."""
    bound = set()
    for node in ast.parse(init).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            last_part = (node.module or "").rpartition(".")[2]
            names = {alias.asname or alias.name for alias in node.names}
            bound |= names if last_part in modules else set()
    return bound & modules


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES}), ids=lambda folder: folder.name
)
def test_no_module_has_the_name_of_a_public_function(folder):
    """Else `package.name` would be the module or the function, as the imports fall."""
    modules = {path.stem for path in folder.glob("*.py")}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py")}
    hidden = shadowed((folder / "__init__.py").read_text(encoding="utf-8"), modules)
    assert hidden <= HIDDEN.get(folder.name, set())


def test_a_function_that_hides_a_module_is_noticed():
    assert shadowed("from package.search import search", {"search", "other"}) == {"search"}
    assert shadowed("from package import search", {"search", "other"}) == set()


# What processes of one program say to each other; no file is read with it.
BETWEEN_PROCESSES = {"messages.py", "shared_block.py"}


@each_file
def test_minigrad_imports_no_clip_np_and_data_files_run_no_code(path):
    source = path.read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert "pickle" not in imported or path.name in BETWEEN_PROCESSES
    if "minigrad" in path.parts:
        assert "clip_np" not in imported


def test_every_file_is_looked_at():
    assert {"minigrad/tape.py", "minigrad/ops/basic.py"} <= set(NAMES)
