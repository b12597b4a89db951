"""Which files does the book have, and in which order are they read?

docs/reading_order.md lists the files by chapter. A package's `__init__.py`, which says
what the package is for, comes before the first of its files.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ORDER = ROOT / "docs" / "reading_order.md"


class Chapter(NamedTuple):
    """One chapter: its title, what it teaches, and its files.

    Files are paths such as "minigrad/tape.py".
    """

    number: int
    title: str
    text: str
    files: tuple[str, ...]

    @property
    def page(self) -> str:
        """The page of the chapter, without an ending.

        >>> Chapter(number=2, title="Layers, optimizers, cores", text="", files=()).page
        'chapters/02-layers-optimizers-cores'
        """
        words = re.findall(r"\w+", self.title.lower())
        return f"chapters/{self.number:02}-{'-'.join(words[:5])}"


def read_chapters(text: str) -> list[Chapter]:
    """The chapters of a reading order in Markdown, without the packages' `__init__.py`.

    >>> (chapter,) = read_chapters("## Engine\\nIt runs.\\n\\n| `a/tape.py` | How? |")
    >>> chapter
    Chapter(number=1, title='Engine', text='It runs.', files=('a/tape.py',))
    """
    chapters = []
    for number, section in enumerate(re.split(r"^## ", text, flags=re.M)[1:], 1):
        title, _, rest = section.partition("\n")
        paragraphs = rest.partition("\n|")[0].strip()
        files = tuple(re.findall(r"^\| `([\w/]+\.py)`", section, re.M))
        chapters.append(Chapter(number=number, title=title.strip(), text=paragraphs, files=files))
    return chapters


def with_packages(chapters: list[Chapter]) -> list[Chapter]:
    """The same chapters, each package's `__init__.py` before the first of its files.

    >>> chapter = Chapter(number=1, title="", text="", files=("a/b/c.py", "a/d.py"))
    >>> with_packages([chapter])[0].files
    ('a/__init__.py', 'a/b/__init__.py', 'a/b/c.py', 'a/d.py')
    """
    seen: set[str] = set()
    extended = []
    for chapter in chapters:
        files: list[str] = []
        for file in chapter.files:
            folders = file.split("/")[:-1]
            packages = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
            faces = [f"{package}/__init__.py" for package in packages]
            files += [path for path in (*faces, file) if path not in seen]
            seen.update(files)
        extended.append(chapter._replace(files=tuple(files)))
    return extended


def chapters_of_the_book() -> list[Chapter]:
    """The chapters with all their files, as they stand in docs/reading_order.md."""
    return with_packages(read_chapters(ORDER.read_text(encoding="utf-8")))
