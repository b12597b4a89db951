"""Mutates every derivative mechanically, and asks whether the gradient tests notice.

mutants.py holds mistakes that a person might make. This tool makes mistakes without
thinking: it walks the syntax tree of each `vjp` in minigrad, and of every helper that a
vjp calls, and changes one place at a time. It swaps the operands of a difference, a
quotient, a product of matrices; drops a factor or a term; turns a sign; takes another
axis; leaves out a transpose; turns a comparison or a condition; changes a number. Each
change is then judged by the same tests as everything else (mutation.py).

    export PYTHONPATH=.:tests/helpers
    python tests/helpers/mechanical.py              all: some ten minutes on two cores
    python tests/helpers/mechanical.py --every 8    every eighth
    python tests/helpers/mechanical.py softmax      of one operation, planted ones too

A survivor is either a hole in the tests or a change that alters no value. Those of the
second kind are listed in equivalent.py, each with its reason; any other survivor makes
the tool fail.
"""

import argparse
import ast
import collections
import copy
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from equivalent import EQUIVALENT
from mutants import MUTANTS
from mutation import ROOT, Change, judge_all, operations_that_use, path_of
from planting import plant


class Mechanical(NamedTuple):
    """One change: where, the line before and after it, and the changed module."""

    function: str
    before: str
    after: str
    change: Change

    def __str__(self) -> str:
        left_out = self.after == "pass"
        return f"{self.function}: " + (f"without {self.before}" if left_out else self.after)


# --- what may be done to one node of the tree ---

OPPOSITE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
TURNED = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt,
          ast.Gt: ast.LtE, ast.LtE: ast.Gt}  # fmt: skip
MOVES = ("swapaxes", "transpose", "moveaxis")


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    """Operands swapped, one of them dropped, the sign turned."""
    if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult, ast.Pow)):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.op, (ast.Mult, ast.Add, ast.Sub)):
        yield node.left
        yield node.right
    if isinstance(node.op, ast.Div):
        yield node.left
    if type(node.op) in OPPOSITE:
        yield ast.BinOp(node.left, OPPOSITE[type(node.op)](), node.right)


def _augmented(node: ast.AugAssign) -> Iterator[ast.AST]:
    """x += y left out, or with the sign turned."""
    yield ast.Pass()
    if type(node.op) in OPPOSITE:
        yield ast.AugAssign(node.target, OPPOSITE[type(node.op)](), node.value)


def _call(node: ast.Call) -> Iterator[ast.AST]:
    """A transpose left out, another axis, no keepdims, branches of `where` swapped."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    is_method = not (isinstance(owner, ast.Name) and owner.id in ("xp", "np"))
    if name in MOVES:
        yield owner if is_method else node.args[0]
    if name == "where":
        yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], [])
    for position, keyword in enumerate(node.keywords):
        changed = []
        if keyword.arg == "axis":
            changed = [v for v in ("0", "-1") if v != ast.unparse(keyword.value)]
        if keyword.arg == "keepdims":
            changed = ["False"]
        for value in changed:
            keywords = list(node.keywords)
            keywords[position] = ast.keyword(keyword.arg, ast.parse(value, mode="eval").body)
            yield ast.Call(node.func, node.args, keywords)


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    """Another number: an axis, a factor, an exponent."""
    if type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
    if type(node.value) is int:
        yield ast.Constant(node.value - 1)
    if type(node.value) is float and node.value != 0.0:
        yield ast.Constant(2 * node.value)


def _returned(node: ast.Return) -> Iterator[ast.AST]:
    """The gradients of two inputs exchanged; each gradient with its sign turned."""
    if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        first, second, *rest = node.value.elts
        yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        for i, each in enumerate(node.value.elts):
            if not isinstance(each, (ast.Starred, ast.Constant, ast.IfExp)):
                turned = list(node.value.elts)
                turned[i] = ast.UnaryOp(ast.USub(), each)
                yield ast.Return(ast.Tuple(turned, ast.Load()))
    elif isinstance(node.value, (ast.Call, ast.BinOp, ast.Name, ast.Subscript)):
        yield ast.Return(ast.UnaryOp(ast.USub(), node.value))


def changes_of(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that may stand in this one's place."""
    rules: dict[type, Callable] = {
        ast.BinOp: _binary, ast.AugAssign: _augmented, ast.Call: _call, ast.Constant: _constant,
        ast.Return: _returned,
    }  # fmt: skip
    if type(node) in rules:
        yield from rules[type(node)](node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        yield ast.Compare(node.left, [TURNED[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


# --- where ---


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _nested(outer: ast.FunctionDef) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(outer) if isinstance(n, ast.FunctionDef) and n is not outer]


def derivatives(modules: dict[str, ast.Module]) -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """(module, function, tree) of every vjp and of every helper that a vjp calls.

    Helpers that say where an array lives or whose memory it takes are left out. Of an
    operation only the functions inside of it count. A private function that several
    operations share counts as a whole.
    """
    helpers = {name: (m, f) for m, tree in modules.items() for name, f in _functions(tree).items()}
    waiting: set[str] = set()
    for module, tree in modules.items():
        for outer in _functions(tree).values():
            nested = _nested(outer) if module.startswith("minigrad.ops.") else []
            waiting |= set().union(*map(_names, nested)) & helpers.keys()
            if module.startswith("minigrad.ops.") and not outer.name.startswith("_"):
                waiting |= _handed_on(outer) & helpers.keys()
            shared = outer.name.startswith("_") and any(each.name == "vjp" for each in nested)
            for each in [outer] if shared else nested:
                yield module, outer.name, each
    done: set[str] = set()
    while waiting - done:
        name = min(waiting - done)
        done.add(name)
        module, helper = helpers[name]
        if not _nested(helper) and name not in ("array_module", "move", "empty"):
            yield module, name, helper
            waiting |= _names(helper) & helpers.keys()


def _handed_on(outer: ast.FunctionDef) -> set[str]:
    """The private functions that a function passes to another one, by name."""
    calls = [node for node in ast.walk(outer) if isinstance(node, ast.Call)]
    passed = [value for call in calls for value in call.args if isinstance(value, ast.Name)]
    return {name.id for name in passed if name.id.startswith("_")}


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _places(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body that may be changed.

    Error messages and annotations are left out. So are sizes: a wrong one raises, or is
    not wrong.
    """
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.Attribute) and node.attr == "shape"
        ):
            continue
        yield node
        if isinstance(node, ast.FunctionDef):
            waiting[:0] = node.body
        elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "shape":
            continue
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "reshape":
            waiting.insert(0, node.func)
        else:
            waiting[:0] = list(ast.iter_child_nodes(node))


def mechanical_mutants() -> list[Mechanical]:
    """Every change, in the order of the source."""
    names = [f"minigrad.ops.{path.stem}" for path in sorted(ROOT.glob("minigrad/ops/*.py"))]
    names.remove("minigrad.ops.__init__")
    names += ["minigrad.memory", "minigrad.backend"]
    texts = {name: path_of(name).read_text(encoding="utf-8") for name in names}
    modules = {module: ast.parse(text) for module, text in texts.items()}
    found: dict[str, Mechanical] = {}
    for module, name, function in derivatives(modules):
        first = operations_that_use(name)
        outer = _functions(modules[module])[name]
        before = ast.unparse(outer).splitlines()
        for place in _places(function):
            for new in changes_of(place):
                after = _replaced(outer, place, new)
                lines = texts[module].splitlines()
                lines[outer.lineno - 1 : outer.end_lineno] = after
                change = Change(module, "\n".join(lines) + "\n", first)
                made = Mechanical(name, *_differing(before, after), change)
                found.setdefault(change.source, made)
    return list(found.values())


def _replaced(outer: ast.FunctionDef, old: ast.AST, new: ast.AST) -> list[str]:
    """The lines of the function `outer` with one node exchanged."""
    memo: dict[int, ast.AST] = {}
    copied = copy.deepcopy(outer, memo)
    changed = _Replace(memo[id(old)], ast.fix_missing_locations(copy.deepcopy(new))).visit(copied)
    return ast.unparse(changed).splitlines()


def _differing(before: list[str], after: list[str]) -> tuple[str, str]:
    """The lines in which two texts differ."""
    start = next(i for i, (a, b) in enumerate(zip(before, after)) if a != b)
    same = next(i for i, (a, b) in enumerate(zip(before[::-1], after[::-1])) if a != b)
    parts = (text[start : len(text) - same] for text in (before, after))
    return tuple(" / ".join(line.strip() for line in part) for part in parts)


def reason_of(made: Mechanical) -> str | None:
    """Why no test on a CPU can notice a change, if none can."""
    if made.function.startswith("_launch_"):
        return "a form for a GPU: the same tests on the stand-in (--stand-in) notice it"
    return EQUIVALENT.get(str(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("function", nargs="*", help="only in these operations and helpers")
    parser.add_argument("--every", type=int, default=1, help="judge each n-th change only")
    arguments = parser.parse_args()
    chosen = mechanical_mutants()
    if arguments.function:
        chosen = [each for each in chosen if each.function in arguments.function]
    chosen = chosen[:: arguments.every]
    start = time.perf_counter()
    outcomes = collections.Counter()
    planted = [mutant for mutant in MUTANTS if mutant.function in arguments.function]
    for mutant, verdict in zip(planted, judge_all(plant(mutant) for mutant in planted)):
        print(f"{verdict.outcome}: {mutant.name} (planted by hand)", flush=True)
        outcomes[verdict.outcome] += 1
    for made, verdict in zip(chosen, judge_all(each.change for each in chosen)):
        outcome = verdict.outcome
        if outcome != "caught":
            reason = reason_of(made)
            outcome = "explained" if outcome == "survived" and reason else outcome
            print(
                f"{outcome}: {made}\n    was {made.before}\n    {reason or verdict.why}", flush=True
            )
        outcomes[outcome] += 1
    print(f"{len(planted) + len(chosen)} mistakes in {time.perf_counter() - start:.0f} s:", end=" ")
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    sys.exit(bool(outcomes.keys() - {"caught", "explained"}))


if __name__ == "__main__":
    main()
