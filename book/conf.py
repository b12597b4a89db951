"""What does Sphinx need to know?"""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from book.graph import page_of
from book.names import names_of_the_project

project = "minigrad and clip_np"
html_title = "CLIP from first principles"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "sphinx.ext.githubpages",
    "book.annotated",
]
root_doc = "index"
exclude_patterns = ["examples/exercises/solutions"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
smartquotes = False
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries = False
suppress_warnings = ["myst.header"]  # a changelog repeats its headings

NAMES = names_of_the_project()


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The place in the book where a public name is defined."""
    if domain != "py" or not info["module"]:
        return None
    target = NAMES.find(info["module"], info["fullname"])
    if target is None:
        target = NAMES.follow(info["module"], info["fullname"].partition(".")[0])
    return f"../{page_of(target.module)}.html#{target.name}" if target else None


def first_line_only(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Leave the first line of a docstring, as plain text."""
    summary = "" if what == "module" else " ".join(lines).strip()
    lines[:] = [escaped(lines[0])] if summary else []


def escaped(text: str) -> str:
    """A text in which the marks of reStructuredText mean nothing, but for backticks."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([\\*|_])", r"\\\1", piece) for piece in pieces[::2]]
    return "``".join(pieces)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", first_line_only)
