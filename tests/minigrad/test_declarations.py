"""Editors and type checkers are told the truth about Tensor's operators and methods.

minigrad/declared.py declares them, minigrad/ops defines them, minigrad/__init__.py
attaches them.
"""

import ast
import importlib
import inspect
import re

import minigrad as mg
from minigrad import declared as declared_module


def declared():
    """Name -> definition, for what the class declares under TYPE_CHECKING."""
    tree = ast.parse(inspect.getsource(declared_module))
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    (block,) = [node for node in cls.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    definitions = {}
    for node in block.body:
        name = node.name if isinstance(node, ast.FunctionDef) else node.target.id
        definitions[name] = node
    return definitions


def attached():
    """Name -> function, for what minigrad/__init__.py puts into the class."""
    return mg._OPERATORS | mg._METHODS


def declared_parameters(definition):
    """Parameters behind `self`, as ("axis", "None"), ("*shape", "")."""
    arguments = definition.args
    names = [argument.arg for argument in arguments.args][1:]
    defaults = [ast.unparse(default) for default in arguments.defaults]
    parameters = list(zip(names, [""] * (len(names) - len(defaults)) + defaults))
    if arguments.vararg:
        parameters.append((f"*{arguments.vararg.arg}", ""))
    return parameters


def real_parameters(function):
    """The same, for a function whose first parameter is the tensor."""
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is parameter.empty else repr(parameter.default)
        parameters.append((star + parameter.name, default))
    return parameters


def test_what_is_declared_is_attached_and_the_reverse():
    assert sorted(declared()) == sorted(attached())
    for name, value in attached().items():
        assert vars(mg.Tensor)[name] is value


def test_methods_have_the_declared_parameters():
    for name, function in mg._METHODS.items():
        assert declared_parameters(declared()[name]) == [
            (parameter, default.replace('"', "'"))
            for parameter, default in real_parameters(function)
        ], name
        assert getattr(mg, name) is function


def test_operators_have_as_many_parameters_as_declared():
    """Their names say nothing: Python passes the operands by position."""
    for name, value in mg._OPERATORS.items():
        if not isinstance(value, property):
            count = len(declared_parameters(declared()[name]))
            assert len(real_parameters(value)) == count, name


def test_declared_results():
    """Comparisons give arrays, all else tensors."""
    comparisons = {"__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"}
    for name, definition in declared().items():
        if isinstance(definition, ast.FunctionDef):
            result = ast.unparse(definition.returns)
            others = {"__iter__": "Iterator['Tensor']", "split": "tuple['Tensor', ...]"}
            others |= dict.fromkeys(comparisons, "Array")
            assert result == others.get(name, "'Tensor'")


def test_a_difference_is_noticed():
    planted = ast.parse("def sum(self, axis=None, keepdims=True): ...").body[0]
    assert declared_parameters(planted) != real_parameters(mg.sum)
    planted = ast.parse("def sum(self, axis=None, keepdims=False): ...").body[0]
    assert declared_parameters(planted) == real_parameters(mg.sum)
    planted = ast.parse("def reshape(self, *shape): ...").body[0]
    assert declared_parameters(planted) == real_parameters(mg.reshape)


def test_the_list_of_operations_names_all_of_them():
    """minigrad/ops/__init__.py lists each operation with the file that it is in."""
    text = importlib.import_module("minigrad.ops").__doc__
    for name in mg.__all__:
        operation = getattr(mg, name)
        module = getattr(operation, "__module__", "")
        if inspect.isfunction(operation) and module.startswith("minigrad.ops."):
            listed = "x[index]" if name == "getitem" else name
            file = module.rpartition(".")[2]
            rows = re.findall(rf"^    {file} +(.*(?:\n {{22}}.*)*)", text, re.M)
            assert listed in re.split(r"[\s:]+", rows[0]), (name, module)
