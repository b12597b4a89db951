"""What the packages take from the array module exists in CuPy, with its keywords.

The test reads the source, not its run: a branch that no test enters is looked at too.
What CuPy has is in strict_cupy/names.json.
"""

import ast

import pytest
from paths import ROOT
from strict_cupy.array import NAMES, signature

FILES = sorted(path for name in ("minigrad", "clip_np") for path in (ROOT / name).glob("**/*.py"))
MODULES = {name for name in NAMES if name.startswith("cupy")} - {"cupy.ndarray"}


def module_of(node: ast.AST, bound: dict[str, str]) -> str | None:
    """The module that an expression stands for: cupy, cupyx, cupy.cuda."""
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute):
        path = f"{module_of(node.value, bound)}.{node.attr}"
        return path if path in MODULES else None
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "sys.modules":
        return node.slice.value if isinstance(node.slice, ast.Constant) else None
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called.endswith("array_module"):
            return "cupy"
        if called.endswith("import_module") and isinstance(node.args[0], ast.Constant):
            return node.args[0].value
    return None


def bindings(function: ast.AST) -> dict[str, str]:
    """The names that a function binds to an array module; a parameter `xp` is one."""
    found = (
        {"xp": "cupy"} if "xp" in {n.arg for n in ast.walk(function) if hasattr(n, "arg")} else {}
    )
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target = node.targets[-1]
        tuples = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        pairs = zip(target.elts, node.value.elts) if tuples else [(target, node.value)]
        for name, value in pairs:
            module = module_of(value, found)
            if isinstance(name, ast.Name) and module in MODULES:
                found[name.id] = module
    return found


def fits(call: ast.Call, parameters: str) -> str:
    """Why a call does not fit a parameter list; "" where it does."""
    if any(isinstance(each, ast.Starred) for each in call.args):
        return ""
    keywords = {each.arg: None for each in call.keywords if each.arg is not None}
    try:
        signature(parameters).bind(*call.args, **keywords)
    except TypeError as error:
        return f"{error}, it takes ({parameters})"
    return ""


def uses(source: str, file: str) -> tuple[list[str], list[str]]:
    """(what is taken from array modules, complaints) in a file."""
    taken, complaints = [], []
    tree = ast.parse(source)
    methods = [part for each in tree.body if isinstance(each, ast.ClassDef) for part in each.body]
    for function in [*tree.body, *methods]:
        if isinstance(function, ast.ClassDef):
            continue
        bound = bindings(function)
        calls = {id(n.func): n for n in ast.walk(function) if isinstance(n, ast.Call)}
        for node in ast.walk(function):
            looked_up = isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"
            if looked_up and module_of(node.args[0], bound) is not None:
                complaints.append(f"{file}:{node.lineno}: a name that only the run knows")
            if not isinstance(node, ast.Attribute):
                continue
            module = module_of(node.value, bound)
            path = f"{module}.{node.attr}"
            if module not in MODULES or path in MODULES:
                continue
            taken.append(path)
            if node.attr not in NAMES[module]:
                complaints.append(f"{file}:{node.lineno}: {path} does not exist")
            elif id(node) in calls and NAMES[module][node.attr] is not None:
                reason = fits(calls[id(node)], NAMES[module][node.attr])
                complaints += [f"{file}:{node.lineno}: {path}: {reason}"] if reason else []
    return taken, complaints


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_cupy_has_what_is_used(path):
    _, complaints = uses(path.read_text(encoding="utf-8"), path.name)
    assert not complaints, "\n".join(complaints)


def test_it_finds_the_uses():
    taken = [name for path in FILES for name in uses(path.read_text(), path.name)[0]]
    assert len(taken) > 80
    expected = {"cupy.exp", "cupy.where", "cupy.einsum", "cupy.add", "cupy.maximum"}
    assert set(taken) >= {*expected, "cupy.cuda.runtime.getDeviceCount"}


@pytest.mark.parametrize(
    "line",
    [
        "xp.vecdot(x, x)",
        "array_module(x).sum(x, where=x > 0)",
        "xp.einsum('ij->i', x, out=x)",
        "xp.take_along_axis(x, x)",
        "xp.scatter_add(x, x, x)",
        "xp.random.default_rng(0).normal() or xp.random.Generator.permutation(3)",
        "xp.errstate(all='ignore')",
        "xp.nditer(x)",
        "getattr(xp, kind)(x)",
        "importlib.import_module('cupyx').sum(x)",
    ],
)
def test_it_complains_of_what_cupy_lacks(line):
    source = f"def f(x, kind):\n    xp = array_module(x)\n    return {line}\n"
    assert uses(source, "f.py")[1]
