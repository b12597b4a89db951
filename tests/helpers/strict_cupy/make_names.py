"""Write names.json: what CuPy offers, read from an installed CuPy 14 (no GPU needed).

    python -m venv cupy && cupy/bin/pip install cupy-cuda12x
    cupy/bin/python tests/helpers/strict_cupy/make_names.py

The file says for every name that NumPy and CuPy share, for an array's attributes and
for the few names of `cupyx`, `cupy.cuda`, `cupy.random` and `cupy.linalg` that could be
of use, how it is called: a parameter list that Python can compile, with 0 for every
default, or null for what is no function. Elementwise functions also have the types that
they compute in, inputs only.
"""

import inspect
import json
import pathlib
import re

import cupy
import cupyx
import numpy as np

CUDA = ("Device", "Stream", "get_cublas_handle", "get_current_stream", "is_available")
RUNTIME = ("CUDARuntimeError", "driverGetVersion", "getDeviceCount", "runtimeGetVersion")
KWARGS = re.compile(r"kwargs\.pop\(['\"](\w+)['\"]")
DOCUMENTED = re.compile(r"[\w.]+\((.*?)\)\s*(?:->.*)?$")


def split_parameters(text):
    """The parts of "a, b=(1, 2), c" between the commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def from_documentation(function):
    """The parameters shown in the first line of a compiled function's docs."""
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    found = DOCUMENTED.match(lines[0].replace("\\*", "*")) if lines else None
    if found is None:
        return None
    shown = []
    for part in split_parameters(found.group(1)):
        name, _, default = part.partition("=")
        name = name.strip().split(" ")[-1]  # without its type in C
        if name != "self":
            shown.append(f"{name}=0" if default else name)
    text = ", ".join(shown)
    try:
        compile(f"lambda {text}: 0", "", "eval")
    except SyntaxError:  # such as "frexp(x[, out1, out2])"
        return "*args, **kwargs"
    return text


def parameters(function):
    """The parameter list of a function, or None where nothing tells."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return from_documentation(function)
    shown, kinds, after_positional = [], inspect.Parameter, False
    for name, parameter in signature.parameters.items():
        if after_positional and parameter.kind is not kinds.POSITIONAL_ONLY:
            shown.append("/")
        after_positional = parameter.kind is kinds.POSITIONAL_ONLY
        if parameter.kind is kinds.KEYWORD_ONLY and not any(p.startswith("*") for p in shown):
            shown.append("*")
        if parameter.kind is kinds.VAR_KEYWORD:
            lines = inspect.getsource(function).splitlines()
            code = "\n".join(line for line in lines if not line.strip().startswith("#"))
            known = KWARGS.findall(code)
            shown += [f"{each}=0" for each in dict.fromkeys(known)] or [f"**{name}"]
        elif parameter.kind is kinds.VAR_POSITIONAL:
            shown.append(f"*{name}")
        else:
            optional = parameter.default is not parameter.empty
            shown.append(f"{name}=0" if optional else name)
    return ", ".join(each for each in shown if each != "self")


def describe(holder, wanted=None):
    """name -> parameter list or null, for the public names of a module or class."""
    table = {}
    for name in dir(holder) if wanted is None else wanted:
        value = getattr(holder, name, None)
        if name[0] == "_" or value is None or inspect.ismodule(value):
            continue
        called = callable(value) and not inspect.isclass(value)
        table[name] = parameters(value) if called else None
    return table


def main():
    shared = [name for name in dir(cupy) if hasattr(np, name)]
    extra = ["asnumpy", "get_array_module", "get_default_memory_pool", "RawKernel"]
    operators = [name for name in dir(cupy.ndarray) if re.fullmatch(r"__\w+__", name)]
    ufuncs = {
        name: getattr(cupy, name) for name in shared if isinstance(getattr(cupy, name), cupy.ufunc)
    }
    found = {
        "version": cupy.__version__,
        "cupy": describe(cupy, shared + extra),
        "cupy.ndarray": describe(cupy.ndarray),
        "operators": sorted(operators),
        "types": {name: " ".join(t.split("->")[0] for t in f.types) for name, f in ufuncs.items()},
        "cupy.random": describe(cupy.random),
        "cupy.random.Generator": describe(cupy.random.Generator),
        "cupy.linalg": describe(cupy.linalg),
        "cupy.lib": {},
        "cupy.lib.stride_tricks": describe(cupy.lib.stride_tricks, ["as_strided"]),
        "cupy.cuda": describe(cupy.cuda, CUDA),
        # It cannot be looked at without the library.
        "cupy.cuda.cublas": {"getMathMode": None, "setMathMode": None},
        "cupy.cuda.runtime": describe(cupy.cuda.runtime, RUNTIME),
        "cupyx": describe(cupyx, ["scatter_add", "scatter_max", "scatter_min", "rsqrt"]),
    }
    path = pathlib.Path(__file__).with_name("names.json")
    lines = json.dumps(found, indent=1, sort_keys=True)
    path.write_text(lines + "\n", encoding="utf-8")
    print(f"CuPy {cupy.__version__}: {sum(map(len, found.values()))} names in {path}")


if __name__ == "__main__":
    main()
