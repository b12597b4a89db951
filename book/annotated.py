"""How does Sphinx show a Python file as a page, with its text beside its code?

A parser for files that end in .py. It makes the nodes of a page from the rows of the
file. Names in the code, and names and paths in the text, become links.
"""

import ast
import html
import posixpath
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.parsers import Parser

from book.graph import page_of, read_imports
from book.names import Target, names_of_the_project
from book.order import chapters_of_the_book
from book.prose import Block, columns_html, formula_html, has_columns, read_prose, read_spans
from book.rows import Part, Row, read_file
from examples.exercises.catalogue import CATALOGUE, Exercise

NAMES = names_of_the_project()
IMPORTS = read_imports()
PLACES = {
    file.removesuffix(".py"): (chapter, number)
    for chapter in chapters_of_the_book()
    for number, file in enumerate(chapter.files, 1)
}
EXERCISES = {f"examples/exercises/problems/{entry.name}": entry for entry in CATALOGUE}
NEIGHBOURS = 8
"""So many links to neighbours are shown beside the head of a file."""

CHAIN = re.compile(
    r'(?<!<span class="o">\.</span>)'
    r'<span class="(?:n|nb|nd|nn|bp)">@?[\w.]+</span>'
    r'(?:<span class="o">\.</span><span class="(?:n|nb)">\w+</span>)*'
    r'(?!<span class="o">=</span>)'  # the name of an argument
)


class Page:
    """A page that is being made from a Python file. docname: "minigrad/tape"."""

    def __init__(self, docname: str, source: str, pages: set[str]) -> None:
        self.docname = docname
        self.pages = pages
        self.module = docname.removesuffix("/__init__").replace("/", ".")
        self.file = read_file(source)
        self.scope = NAMES.scope_of(ast.parse(source), self.module)

    # --- links ---

    def address(self, page: str, name: str = "") -> str:
        """Another page as this one links to it."""
        if page == self.docname and name:
            return f"#{name}"
        path = posixpath.relpath(f"{page}.html", posixpath.dirname(self.docname) or ".")
        return f"{path}#{name}" if name else path

    def address_of(self, target: Target | None) -> str | None:
        """The address of a name, unless its module has no page."""
        if target is None:
            return None
        page = self.docname if target.module == self.module else page_of(target.module)
        return self.address(page, target.name) if page in self.pages else None

    def address_of_path(self, path: str) -> str | None:
        """The address of a file as a text names it: from the root, or from near by."""
        wanted = re.sub(r"\.(py|md)$", "", path)
        folder = posixpath.dirname(self.docname)
        while True:
            page = posixpath.join(folder, wanted)
            if page in self.pages:
                return self.address(page)
            if not folder:
                return None
            folder = posixpath.dirname(folder)

    # --- text ---

    def prose(self, text: str) -> list[nodes.Node]:
        """The nodes of a docstring or a comment."""
        return [self.block(block) for block in read_prose(text)]

    def block(self, block: Block) -> nodes.Node:
        """The node of a block."""
        text = "\n".join(block.lines)
        if block.kind == "formula":
            if has_columns(block.lines):
                shown = f'<pre class="formula">{columns_html(text)}</pre>'
            else:
                shown = f'<pre class="formula wraps">{formula_html(text)}</pre>'
            return nodes.raw("", shown, format="html")
        if block.kind in ("example", "code"):
            language = "pycon" if block.kind == "example" else "python"
            return nodes.literal_block(text, text, language=language, force=True)
        if block.kind == "paragraph":
            return nodes.paragraph("", "", *self.spans(text))
        listed = nodes.bullet_list() if block.kind == "items" else nodes.enumerated_list()
        for line in block.lines:
            listed += nodes.list_item("", nodes.paragraph("", "", *self.spans(line)))
        return listed

    def spans(self, text: str) -> list[nodes.Node]:
        """The nodes of a paragraph."""
        return [self.span(kind, piece) for kind, piece in read_spans(text)]

    def span(self, kind: str, text: str) -> nodes.Node:
        """The node of a piece of a paragraph."""
        if kind == "code":
            name = text.removesuffix("()")
            target = NAMES.find(self.module, name, self.scope)
            address = self.address_of(target) or self.address_of_path(text)
            return _linked(nodes.literal(text, text), address)
        if kind == "path":
            return _linked(nodes.Text(text), self.address_of_path(text))
        if kind == "paper":
            return _linked(nodes.Text(text), f"https://arxiv.org/abs/{text[len('arXiv:') :]}")
        if kind == "link":
            return _linked(nodes.Text(text), text)
        if kind == "strong":
            return nodes.strong(text, "", *self.spans(text))
        if kind == "emphasis":
            return nodes.emphasis(text, text)
        shown = formula_html(text)
        if shown == html.escape(text, quote=False):
            return nodes.Text(text)
        return nodes.raw("", shown, format="html")

    # --- code ---

    def code(self, row: Row, owner: str) -> nodes.Node:
        """Code with links. owner: the class that it is in, for `self.name`."""
        coloured = highlight(row.code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))
        linked = CHAIN.sub(lambda match: self._link_chain(match, owner), coloured.rstrip("\n"))
        shown = f'<div class="highlight" data-line="{row.line}"><pre>{linked}</pre></div>'
        return nodes.raw("", shown, format="html")

    def _link_chain(self, match: re.Match[str], owner: str) -> str:
        """`name`, `module.name` or `self.name` in code, a link if it leads somewhere"""
        spans = match[0]
        words = re.sub(r"<[^>]+>", "", spans).lstrip("@").split(".")
        if words[0].islower() and match.string.startswith('<span class="p">:', match.end()):
            return spans  # a parameter
        target, used = self._target(words, owner)
        address = self.address_of(target)
        if address is None:
            return spans
        pieces = re.findall(r"<span.*?</span>", spans)
        length = 1 if 'class="nn"' in spans else 2 * used - 1
        inside, after = "".join(pieces[:length]), "".join(pieces[length:])
        return f'<a href="{address}">{inside}</a>{after}'

    def _target(self, words: list[str], owner: str) -> tuple[Target | None, int]:
        """What a dotted name leads to, and how many of its words that needs."""
        if words[0] == "self" and len(words) > 1:
            return NAMES.find(self.module, f"{owner}.{words[1]}", self.scope), 2
        dotted = ".".join(words)
        if dotted in NAMES.sources:  # in an import
            return Target(dotted, ""), len(words)
        target = self.scope.get(words[0])
        if target and not target.name and len(words) > 1:
            for used in range(len(words), 1, -1):
                inner = NAMES.find(self.module, ".".join(words[:used]), self.scope)
                if inner:
                    return inner, used
        return target, 1

    # --- the page ---

    def section(self) -> nodes.section:
        """All of the page."""
        title, _, rest = self.file.docstring.partition("\n\n")
        heading = " ".join(title.split())
        section = nodes.section(ids=["file"], classes=["annotated"])
        section += nodes.title("", "", nodes.Text(heading.removesuffix(".")))
        section += nodes.paragraph("", f"{self.docname}.py", classes=["path"])
        head = [_cell("text", self.prose(rest)), _cell("beside", self.beside())]
        section += _grid(head, "head")
        for part in self.file.parts:
            section += self.part(part)
        return section

    def part(self, part: Part, owner: str = "") -> nodes.Node:
        """The node of a part: a section if it has a name, else its rows."""
        if part.kind == "heading":
            return nodes.rubric("", part.name.capitalize())
        rows = [cell for row in part.rows for cell in self.row(row, owner or part.name)]
        if not part.name:
            is_script = self.module not in NAMES.sources
            is_bare = is_script and not any(row.text for row in part.rows)
            return _grid(rows, "bare" if is_bare else "")
        section = nodes.section(ids=[part.name], classes=["definition", part.kind])
        shown = part.name.removeprefix(f"{owner}.")
        section += nodes.title("", "", nodes.literal(shown, shown))
        section += rows
        section += [self.part(inner, owner=part.name) for inner in part.parts]
        return section

    def row(self, row: Row, owner: str) -> list[nodes.Node]:
        """The two cells of a row."""
        owner = owner.partition(".")[0]
        text = _cell("text", self.prose(row.text))
        text["ids"] += list(row.names)
        return [text, _cell("code", [self.code(row, owner)] if row.code else [])]

    def beside(self) -> list[nodes.Node]:
        """Beside the head of a file: its place in the book and in the graph."""
        if self.docname in EXERCISES:
            return self.task(EXERCISES[self.docname])
        if self.docname not in PLACES:
            return []
        chapter, number = PLACES[self.docname]
        place = f"Chapter {chapter.number}, file {number} of {len(chapter.files)}: "
        shown: list[nodes.Node] = [
            nodes.paragraph(
                "", place, _linked(nodes.Text(chapter.title), self.address(chapter.page))
            )
        ]
        users = [user for user, modules in IMPORTS.items() if self.module in modules]
        shown += self._neighbours("uses", IMPORTS.get(self.module, []))
        return shown + self._neighbours("used by", users)

    def task(self, exercise: Exercise) -> list[nodes.Node]:
        """Beside an exercise: what to read, and how an answer is checked."""
        command = f"python -m examples.exercises check {exercise.number}"
        lines = [
            f"Exercise {exercise.number}. {exercise.reading}",
            f"Write your answer into {self.docname}.py, and have it checked:",
        ]
        shown: list[nodes.Node] = [nodes.paragraph("", "", *self.spans(line)) for line in lines]
        return [*shown, nodes.literal_block(command, command, language="sh")]

    def _neighbours(self, relation: str, modules: list[str]) -> list[nodes.Node]:
        """The modules to which this one has a relation. A long list is folded up."""
        order = list(PLACES)
        pages = sorted({page_of(module) for module in modules} & set(order), key=order.index)
        if not pages:
            return []
        paragraph = nodes.paragraph("", "", nodes.strong("", relation))
        paragraph += self._links(pages[:NEIGHBOURS])
        rest = pages[NEIGHBOURS:]
        if not rest:
            return [paragraph]
        return [
            paragraph,
            nodes.raw("", f"<details><summary>{len(rest)} more</summary>", format="html"),
            nodes.paragraph("", "", *self._links(rest)),
            nodes.raw("", "</details>", format="html"),
        ]

    def _links(self, pages: list[str]) -> list[nodes.Node]:
        """Links to pages, under their short names."""
        links: list[nodes.Node] = []
        top = f"{self.docname.partition('/')[0]}/"
        for page in pages:
            name = page.removesuffix("/__init__").removeprefix(top)
            links += [nodes.Text(" "), _linked(nodes.Text(name), self.address(page))]
        return links


def _linked(node: nodes.Node, address: str | None) -> nodes.Node:
    if address is None:
        return node
    internal = not address.startswith("http")
    return nodes.reference("", "", node, refuri=address, internal=internal)


def _cell(kind: str, children: list[nodes.Node]) -> nodes.container:
    return nodes.container("", *children, classes=[kind])


def _grid(cells: list[nodes.Node], kind: str = "") -> nodes.container:
    return nodes.container("", *cells, classes=["rows", *kind.split()])


class AnnotatedParser(Parser):
    """The parser of Python files. What a step prints and draws stands below it."""

    supported = ("annotated",)

    def parse(self, inputstring: Any, document: nodes.document) -> None:
        """Put the page into `document`."""
        environment = document.settings.env
        docname = environment.docname
        page = Page(docname, str(inputstring), set(environment.found_docs))
        section = page.section()
        section += results(Path(environment.doc2path(docname)))
        document += section
        if docname not in PLACES:
            environment.metadata[docname]["orphan"] = ""  # no list of pages need have it
        environment.metadata[docname]["hide-toc"] = ""  # its place is for the code


def results(script: Path) -> list[nodes.Node]:
    """What a script prints and draws, and the solution of an exercise."""
    shown: list[nodes.Node] = []
    printed = script.with_suffix(".txt")
    if printed.exists():
        text = printed.read_text(encoding="utf-8")
        shown += [nodes.rubric("", "What it prints"), _output(text)]
    if script.with_suffix(".png").exists():
        picture = nodes.image(uri=f"{script.stem}.png", alt=f"What {script.name} draws")
        shown += [nodes.rubric("", "What it draws"), picture]
    solution = script.parent.parent / "solutions" / script.name
    if solution.exists():
        text = solution.read_text(encoding="utf-8").partition("\n\n")[2]
        shown += [
            nodes.raw("", "<details><summary>A solution</summary>", format="html"),
            nodes.literal_block(text, text, language="python"),
            nodes.raw("", "</details>", format="html"),
        ]
    return shown


def _output(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text", classes=["output"])


def link_names(app: Sphinx, document: nodes.document) -> None:
    """Link the files and the public names that a page in Markdown sets in backticks."""
    docname = app.env.docname
    if Path(app.env.doc2path(docname)).suffix != ".md":
        return
    page = Page(docname, "", set(app.env.found_docs))
    for literal in list(document.findall(nodes.literal)):
        if not isinstance(literal.parent, (nodes.reference, nodes.title)):
            linked = page.span("code", literal.astext())
            if isinstance(linked, nodes.reference):
                literal.replace_self(linked)


def forget_sections(app: Sphinx, document: nodes.document) -> None:
    """Leave the functions of a file out of the tree of all pages.

    The tree is resolved anew for every page, and would be ten times as large.
    """
    docname = app.env.docname
    if Path(app.env.doc2path(docname)).suffix == ".py":
        for item in app.env.tocs[docname].children:
            del item[1:]


def fold_chapters(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document
) -> None:
    """Show the files of the chapter that is open, and only the names of the others."""
    if "toctree" in context:
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**(options | {"collapse": True}))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_source_suffix(".py", "annotated")
    app.add_source_parser(AnnotatedParser)
    app.connect("doctree-read", link_names)
    app.connect("doctree-read", forget_sections, priority=600)  # after they are collected
    app.connect("html-page-context", fold_chapters, priority=400)  # before the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
