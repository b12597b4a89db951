"""Which classes are there, and what are they called in a sentence?

Images have *labels*: the name of their folder, or a cell of a table. A model is asked
with *names*: "a photo of a tench". Often both are the same word. ImageNet has labels
such as n01440764 and names beside them. So a list of classes comes in three forms:

    a text file      tench                        a name on each line; it is the label
    a JSON list      ["tench", "goldfish"]        likewise
    a JSON object    {"n01440764": "tench", ...}  labels and their names
                     {"0": ["n01440764", "tench"], ...}
                     the key and all words but the last are labels, the last is the name

A label has to match exactly, but "_" and a space are the same, because folders seldom
have spaces in their names. A label that is not in the list is an error.

A list of templates is a text file or a JSON list, with {} where the name goes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from clip_np.data import DataError, a_few
from clip_np.files import File, file_errors, parse_json, read_text

TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of a {}",
    "a drawing of a {}",
    "a small picture of a {}",
    "a close view of a {}",
    "this is a {}",
)
"""Sentences around the name of a class, if nobody chooses others. Several are better
than one: their mean keeps what they have in common."""

Words = list[str]
"""The labels of a class, and its name at the end."""


class ClassList(NamedTuple):
    """C classes: how sentences call them, and which labels mean them."""

    names: list[str]
    number_of: dict[str, int]  # label -> the number of its class
    ambiguous: frozenset[str]  # labels of two classes or more

    def numbers(self, labels: Sequence[str], images: Sequence[str]) -> np.ndarray:
        """The numbers (N,) of the classes of N images, by their labels.

        DataError, naming the image, for a label that is not in the list, or means two
        of its classes.

        >>> classes = classes_of(["cat", "polar_bear"])
        >>> classes.numbers(["polar bear", "cat"], images=["a.png", "b.png"])
        array([1, 0])
        """
        plain = [_plain(label) for label in labels]
        unknown = [
            f"{label!r} of {image}"
            for label, key, image in zip(labels, plain, images)
            if key not in self.number_of
        ]
        if unknown:
            raise DataError(
                f"{len(unknown)} images have labels that are none of the {len(self.names)} "
                f"classes ({a_few(self.names)}): {a_few(unknown)}. Labels are matched exactly; "
                "`label_column` names the column that holds them"
            )
        doubtful = sorted(self.ambiguous.intersection(plain))
        if doubtful:
            raise DataError(f"labels that mean more than one class of the list: {a_few(doubtful)}")
        return np.array([self.number_of[key] for key in plain], np.int64)


def classes_of(labels: Iterable[str]) -> ClassList:
    """The classes of images that have these labels, in the order of the alphabet.

    >>> classes_of(["dog", "cat", "dog"]).names
    ['cat', 'dog']
    """
    names = sorted({_plain(label) for label in labels})
    return _class_list([[name] for name in names])


def read_classes(path: File) -> ClassList:
    """The classes of a file, in its order; see the forms above.

    FileError, naming the file, for anything else, a class that comes twice, or fewer
    than two classes.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "classes.json")
    ...     _ = path.write_text('{"n01440764": "tench", "n01443537": "goldfish"}')
    ...     classes = read_classes(path)
    >>> classes.names, classes.number_of["n01443537"]
    (['tench', 'goldfish'], 1)
    """
    with file_errors(path, "no list of classes"):
        content = _content(path)
        if isinstance(content, Mapping):
            entries = [_words(key, value) for key, value in content.items()]
        else:
            entries = [[_plain(name)] for name in content]
            twice = _repeated(words[0] for words in entries)
            if twice:
                raise ValueError(f"classes that come twice: {a_few(twice)}")
        if len(entries) < 2:
            raise ValueError(f"expected two classes or more, got {len(entries)}")
        return _class_list(entries)


def read_templates(path: File) -> list[str]:
    """The templates of a text file, one a line, or of a JSON list.

    FileError, naming the file, for one without exactly one {}, and for none.
    """
    with file_errors(path, "no list of templates"):
        templates = list(_content(path))
        wrong = [template for template in templates if template.count("{}") != 1]
        if wrong or not templates:
            raise ValueError(
                "expected sentences with one {} for the name of a class, such as "
                f"a photo of a {{}}; got {a_few(wrong) or 'none'}"
            )
    return templates


def _content(path: File) -> Sequence[str] | Mapping[str, Any]:
    """The entries of a text file without empty lines, a JSON list, or a JSON object."""
    text = read_text(path).strip()
    if text[:1] not in ("[", "{") or text[:2] == "{}":  # a template may begin with {}
        return [line.strip() for line in text.splitlines() if line.strip()]
    if text.startswith("{"):
        return parse_json(text)
    content = json.loads(text)
    if not all(isinstance(entry, str) and entry.strip() for entry in content):
        raise ValueError("expected texts only in a JSON list, and none empty")
    return [entry.strip() for entry in content]


def _words(key: str, value: Any) -> Words:
    """The labels of an entry of an object, and its name at the end.

    >>> _words("0", ["n01440764", "tench"])
    ['0', 'n01440764', 'tench']
    """
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"expected a name, or a list of a label and a name, for {key!r}")
    return [_plain(word) for word in (key, *words)]


def _class_list(entries: Sequence[Words]) -> ClassList:
    """The classes with these labels and names. Labels of two classes are ambiguous."""
    number_of: dict[str, int] = {}
    ambiguous = set()
    for number, words in enumerate(entries):
        for word in words:
            if number_of.setdefault(word, number) != number:
                ambiguous.add(word)
    return ClassList([words[-1] for words in entries], number_of, frozenset(ambiguous))


def _plain(label: str) -> str:
    """A label as it is compared: with spaces, since folders have "_" in their place."""
    return label.replace("_", " ").strip()


def _repeated(names: Iterable[str]) -> list[str]:
    """The names that come more than once, each once.

    >>> _repeated(["a", "b", "a"])
    ['a']
    """
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return list(repeated)
