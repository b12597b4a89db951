"""Which files does Sphinx make the site from?

From copies of the source and of the pages, in one folder, so that links between them
hold. A few pages are written here: the start, the chapters, the map, the exercises and
the list of public names.
"""

import ast
import importlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from book.drawing import map_of_files, map_of_parts
from book.graph import page_of, read_imports, read_sources
from book.order import ROOT, Chapter, chapters_of_the_book
from book.rows import read_file
from examples.exercises.catalogue import CATALOGUE

FIRST = ("examples/tape_in_60_lines.py", "examples/train_by_hand.py")
"""What is read before the first chapter."""

PARTS = (
    "minigrad", "clip_np.files", "clip_np.data", "clip_np.tokens", "clip_np.encoders",
    "clip_np.losses", "clip_np.model", "clip_np.weights", "clip_np.evaluation",
    "clip_np.training", "clip_np.cli",
)  # fmt: skip
API = {
    "minigrad": ("minigrad", "minigrad.nn", "minigrad.optim", "minigrad.checking",
                 "minigrad.debug"),
    "clip_np": ("clip_np", "clip_np.search",
                *(part for part in PARTS[1:] if part != "clip_np.model")),
}  # fmt: skip
"""The packages whose public names are listed, page by page."""


def stage(folder: Path) -> None:
    """Write all files of the site, but for what the steps print and draw."""
    chapters = chapters_of_the_book()
    copy_files([file for chapter in chapters for file in chapter.files], folder)
    pages = sorted((ROOT / "docs").glob("*.md"))
    examples = sorted((ROOT / "examples").glob("*"))
    problems = [f"examples/exercises/problems/{entry.name}.py" for entry in CATALOGUE]
    steps = sorted((ROOT / "examples" / "steps").glob("*.py"))
    solutions = sorted((ROOT / "examples" / "exercises" / "solutions").glob("*.py"))
    pictures = [*(ROOT / "docs").glob("*.png"), *ROOT.glob("*.md"), ROOT / "LICENSE"]
    paths = [*pages, *(path for path in examples if path.is_file()), *steps, *pictures]
    copy_files([relative(path) for path in paths], folder)
    copy_files([*problems, *(relative(path) for path in solutions)], folder)
    copy_files(linked_files([*pages, *ROOT.glob("*.md")]), folder)
    written = {
        "index.md": start(chapters, [path.stem for path in steps if path.stem[:4] == "step"]),
        "map.md": the_map(chapters),
        "exercises.md": exercises(),
        **{f"{chapter.page}.md": chapter_page(chapter) for chapter in chapters},
        **{f"api/{name}.rst": api_page(name, modules) for name, modules in API.items()},
    }
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def copy_files(files: Iterable[str], folder: Path) -> None:
    """Copy files, named from the root of the project, to the same names in `folder`."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)


def linked_files(pages: Iterable[Path]) -> list[str]:
    """The files of the project to which pages link, besides other pages."""
    links = [
        page.parent / target
        for page in pages
        for target in re.findall(r"\]\(([^)#\s:]+)[^)]*\)", page.read_text(encoding="utf-8"))
    ]
    return [relative(path.resolve()) for path in links if path.is_file()]


def relative(path: Path) -> str:
    """A path as seen from the root of the project."""
    return path.relative_to(ROOT).as_posix()


def toctree(entries: Sequence[str], caption: str = "") -> str:
    """The pages that follow a page; `title <page>` gives one a title of its own.

    >>> print(toctree(["map", "tape.py <minigrad/tape>"], caption="Start"))
    ```{toctree}
    :hidden:
    :caption: Start
    <BLANKLINE>
    /map
    tape.py </minigrad/tape>
    ```
    """
    lines = [re.sub("<", "</", entry) if entry.endswith(">") else f"/{entry}" for entry in entries]
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["```{toctree}", *options, "", *lines, "```"])


def entry(file: str) -> str:
    """A file in a list of pages, under its short name."""
    return f"{file.partition('/')[2]} <{file.removesuffix('.py')}>"


def question_of(file: str) -> str:
    """The first paragraph of a file, on one line."""
    docstring = read_file((ROOT / file).read_text(encoding="utf-8")).docstring
    return " ".join(docstring.partition("\n\n")[0].split())


def start(chapters: Sequence[Chapter], steps: Sequence[str]) -> str:
    """The first page, which knows the order of all others."""
    text = (ROOT / "book" / "start.md").read_text(encoding="utf-8")
    listed = [f"{c.number}. [{c.title}]({c.page}.md), {len(c.files)} files" for c in chapters]
    docs = [f"docs/{path.stem}" for path in sorted((ROOT / "docs").glob("*.md"))]
    later = ("docs/README", "docs/reading_order", "docs/steps_and_exercises")
    examples = sorted((ROOT / "examples").glob("*.py"))
    more = [relative(path) for path in examples if relative(path) not in FIRST]
    trees = [
        toctree(["README", "map", "docs/reading_order", *map(entry, FIRST)], "Start"),
        toctree(["docs/steps_and_exercises", *(step_entry(step) for step in steps)], "Steps"),
        toctree([chapter.page for chapter in chapters], "Chapters"),
        toctree(["exercises"], "Exercises"),
        toctree([*later[:1], *(page for page in docs if page not in later)], "Use"),
        toctree([*map(entry, more), "examples/steps/quick_clip"], "Examples"),
        toctree([*(f"api/{name}" for name in API), "CONTRIBUTING", "SECURITY", "CHANGELOG"],
                "Reference"),
    ]  # fmt: skip
    return "\n\n".join([text.replace("{chapters}", "\n".join(listed)), *trees, ""])


def step_entry(step: str) -> str:
    """A step in a list of pages: "6 attention"."""
    _, number, name = step.split("_", 2)
    return f"{int(number)} {name.replace('_', ' ')} <examples/steps/{step}>"


def chapter_page(chapter: Chapter) -> str:
    """The page of a chapter: what it teaches, its files, and its exercises."""
    rows = [f"- [{question_of(file)}](../{file}) `{file}`" for file in chapter.files]
    tasks = [line for line in CATALOGUE if line.read in chapter.files]
    exercise_rows = [
        f"- {line.number}: [{line.title}](../examples/exercises/problems/{line.name}.py)"
        for line in tasks
    ]
    return "\n".join(
        [
            f"# {chapter.title}",
            "",
            chapter.text,
            "",
            *rows,
            "",
            *(["## Exercises", "", *exercise_rows, ""] if tasks else []),
            toctree([entry(file) for file in chapter.files]),
            "",
        ]
    )


def exercises() -> str:
    """The page of the exercises, by chapter."""
    lines = [
        "# Exercises",
        "",
        "Write your answer into the file of an exercise, and have it checked:",
        "",
        "```sh",
        "python -m examples.exercises check 3",
        "```",
        "",
        "Each page has a solution at its end, folded up. "
        "[Steps and exercises](docs/steps_and_exercises.md) says how the checks work.",
    ]
    chapter = ""
    for line in CATALOGUE:
        if line.chapter != chapter:
            chapter = line.chapter
            lines += ["", f"## {chapter}", ""]
        page = f"examples/exercises/problems/{line.name}.py"
        lines.append(f"- {line.number}: [{line.title}]({page}). Read `{line.read}` first.")
    entries = [
        f"{line.number} {line.title} <examples/exercises/problems/{line.name}>"
        for line in CATALOGUE
    ]
    return "\n".join([*lines, "", toctree(entries), ""])


def the_map(chapters: Sequence[Chapter]) -> str:
    """The page with the two maps."""
    imports = read_imports()
    sources = read_sources()
    questions = {
        module: " ".join(read_file(text).docstring.partition("\n\n")[0].split())
        for module, text in sources.items()
    }
    rooms = [
        (
            chapter.title,
            chapter.page,
            [module_of(file) for file in chapter.files if not file.endswith("__init__.py")],
        )
        for chapter in chapters
    ]
    parts = [(part, f"{page_of(part)}.html", questions[part]) for part in PARTS]
    text = (ROOT / "book" / "map.md").read_text(encoding="utf-8")
    text = text.replace("{parts}", map_of_parts(parts, imports))
    return text.replace("{files}", map_of_files(rooms, questions, imports))


def module_of(file: str) -> str:
    """The dotted name of a file of the reading order."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def api_page(name: str, modules: Sequence[str]) -> str:
    """The public names of some modules, for Sphinx to look up."""
    title = f"Public names of {name}"
    lines = [title, "=" * len(title), ""]
    lines += ["A name leads to its page in the book by the link *source*.", ""]
    seen: set[int] = set()
    for module in modules:
        values = vars(importlib.import_module(module))
        names = [public for public in public_names(values) if id(values[public]) not in seen]
        seen.update(id(values[public]) for public in names)
        if names:
            lines += [module, "-" * len(module), "", f".. automodule:: {module}"]
            lines += [f"   :members: {', '.join(names)}", ""]
    return "\n".join(lines)


def public_names(values: Mapping[str, Any]) -> list[str]:
    """The functions and classes that a module offers.

    Those of `__all__`; without it, those that it defines, and those that it imports
    `as` themselves.

    >>> import minigrad as mg
    >>> names = public_names(vars(mg.nn))
    >>> "Module" in names, "Linear" in names, "linear" in names
    (True, True, False)
    """
    names = values.get("__all__")
    if names is None:
        tree = ast.parse(Path(values["__file__"]).read_text(encoding="utf-8"))
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        aliases = [alias for node in imports for alias in node.names]
        names = [alias.name for alias in aliases if alias.asname == alias.name]
        definitions = (ast.FunctionDef, ast.ClassDef)
        names += [node.name for node in tree.body if isinstance(node, definitions)]
    kinds = (type, FunctionType)
    return [name for name in names if name[0] != "_" and isinstance(values[name], kinds)]
