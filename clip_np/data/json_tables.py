"""How are pairs read from JSON?

There are three forms. JSON lines have an object on each line, as the image folders of
the Hugging Face hub do:

    {"file_name": "tom.png", "text": "a cat on a sofa"}

A list of such objects is the second. The third is that of COCO (Lin et al. 2014,
arXiv:1405.0312), where images have numbers and captions name them:

    {"images": [{"id": 7, "file_name": "tom.jpg"}, ...],
     "annotations": [{"image_id": 7, "caption": "a cat on a sofa"}, ...]}

In Karpathy's splits of it the captions lie in the images: {"filename": ...,
"split": ..., "sentences": [{"raw": "a cat on a sofa"}, ...]}.

The captions of COCO are a file of 90 MB. As Python objects it would take a gigabyte, so
one object of a list is made at a time.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clip_np.data.bounds import refuse_rows
from clip_np.data.columns import Columns, Entry, find_columns
from clip_np.data.errors import DataError
from clip_np.data.tables import bounded_lines, encoding_of

LINE_NAMES = ("captions", "metadata")
LINE_SUFFIXES = (".jsonl", ".ndjson")
COCO_NAME = re.compile(r"captions.*\.json", re.IGNORECASE)
MAX_JSON = 2**28
"""Bytes of a JSON file, which is in memory as a text: 256 MiB."""
MAX_OBJECT = 2**20  # letters of one item in a list
SPACE = re.compile(r"[ \t\r\n]*")
BAD_JSON = (ValueError, RecursionError)
REST_OF_VALIDATION = "restval"
"""Karpathy's name for images of COCO's validation split that are for training."""


# --- JSON lines -----------------------------------------------------------------------


def is_json_lines(path: Path, asked_for: bool) -> bool:
    """Whether a file has a JSON object on each line. Other names must be asked for.

    >>> is_json_lines(Path("photos/metadata.jsonl"), asked_for=False)
    True
    """
    if path.suffix.lower() not in LINE_SUFFIXES:
        return False
    return asked_for or path.stem.lower() in LINE_NAMES


def read_json_lines(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each line. DataError for a damaged line or a missing column."""
    yield from _entries(path, _objects_of_lines(path), columns)


def _objects_of_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each object stands, and the object, or None for a line that is none."""
    size = path.stat().st_size
    with open(path, encoding=encoding_of(path)) as file:
        for number, line in enumerate(bounded_lines(path, file), 1):
            refuse_rows(path, number, size)
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except BAD_JSON:
                    yield f"line {number}", None


def _entries(path: Path, objects: Iterator[tuple[str, Any]], columns: Columns) -> Iterator[Entry]:
    """The entries of objects, whose columns are those of the first one."""
    headers: dict[str, str] = {}
    for location, cells in objects:
        if not isinstance(cells, dict):
            yield Entry(location, {}, "not a JSON object")
            continue
        headers = headers or find_columns(path, list(cells), columns)
        yield Entry(location, {role: cells.get(header) for role, header in headers.items()})


# --- a list, or COCO ------------------------------------------------------------------


def is_json_table(path: Path, asked_for: bool) -> bool:
    """Whether a file holds captions as COCO has them. Other names must be asked for.

    >>> is_json_table(Path("annotations/captions_val2017.json"), asked_for=False)
    True
    >>> is_json_table(Path("annotations/instances_val2017.json"), asked_for=False)
    False
    """
    if asked_for:
        return path.suffix.lower() == ".json"
    return COCO_NAME.fullmatch(path.name) is not None


def read_json_table(path: Path, columns: Columns) -> Iterator[Entry]:
    """One entry for each caption, or for each image with a list of captions.

    Raises DataError for a damaged file, or one in another form.
    """
    if path.stat().st_size > MAX_JSON:
        raise DataError(f"{path} has more than {MAX_JSON:,} bytes (MAX_JSON): write it as .jsonl")
    try:
        text = path.read_text(encoding=encoding_of(path))
        if _after_space(text, 0)[1] == "[":
            elements = _elements_of_list(text, _after_space(text, 0)[0], path)
            yield from _entries(path, ((f"item {n}", item) for n, item in elements), columns)
            return
        places = _places_of_values(text, path)
        if "annotations" in places and "images" in places:
            yield from _coco_entries(path, text, places)
        elif "images" in places:
            yield from _karpathy_entries(path, text, places["images"])
        else:
            raise DataError(
                f"{path} has no lists `images` and `annotations`, as captions of COCO have"
            )
    except UnicodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error


def _coco_entries(path: Path, text: str, places: dict[str, int]) -> Iterator[Entry]:
    """One entry for each caption. places: where the two lists begin in the text."""
    names = {}
    for number, image in _elements_of_list(text, places["images"], path):
        name = _get(image, "file_name")
        if not isinstance(name, str) or not isinstance(_get(image, "id"), int | str):
            raise DataError(f"{path} images {number}: expected an `id` and a `file_name`")
        names[image["id"]] = name
    for number, annotation in _elements_of_list(text, places["annotations"], path):
        location = f"annotation {number}"
        image_id = _get(annotation, "image_id")
        name = names.get(image_id) if isinstance(image_id, int | str) else None
        if name is None or "caption" not in annotation:
            yield Entry(location, {}, "no `image_id` of an image, or no `caption`")
        else:
            yield Entry(location, {"image": name, "caption": annotation["caption"]})


def _karpathy_entries(path: Path, text: str, place: int) -> Iterator[Entry]:
    """One entry for each image of the list that begins at `place`."""
    for number, image in _elements_of_list(text, place, path):
        location = f"images {number}"
        sentences = _get(image, "sentences")
        name = _get(image, "filename")
        if not isinstance(sentences, list) or not isinstance(name, str):
            yield Entry(location, {}, "no `filename` or no `sentences`")
            continue
        folder = image.get("filepath")
        split = image.get("split")
        cells = {
            "image": f"{folder}/{name}" if isinstance(folder, str) and folder else name,
            "caption": [_get(sentence, "raw") for sentence in sentences],
            "split": "train" if split == REST_OF_VALIDATION else split,
        }
        yield Entry(location, cells)


def _get(item: Any, key: str) -> Any:
    """A value of an object; None if it is missing, or if the item is no object."""
    return item.get(key) if isinstance(item, dict) else None


def _places_of_values(text: str, path: Path) -> dict[str, int]:
    """The keys of an object, and where in the text the value of each begins.

    A text that is no object has none. DataError for damage.
    """
    places: dict[str, int] = {}
    place, sign = _after_space(text, 0)
    if sign != "{":
        return places
    try:
        while sign in ("{", ","):
            key, place = json.JSONDecoder().raw_decode(text, _after_space(text, place + 1)[0])
            place, sign = _after_space(text, place)
            if sign != ":" or not isinstance(key, str):
                raise ValueError(f"a key and a colon are expected at letter {place:,}")
            places[key], _ = _after_space(text, place + 1)
            place, sign = _after_space(text, _end_of_value(text, places[key]))
        if sign != "}":
            raise ValueError(f"a comma or a closing brace is missing at letter {place:,}")
    except BAD_JSON as error:
        raise DataError(f"{path} is damaged JSON: {error}") from error
    return places


def _end_of_value(text: str, place: int) -> int:
    """The place after the value that begins at `place`.

    A long list is not made as a whole: its items are read one at a time, and dropped.
    """
    if text[place : place + 1] == "[":
        place_of_next = place + 1  # behind the bracket, then behind the last item so far
        for _, _, after in _walk_list(text, place):
            place_of_next = after
        return _after_space(text, place_of_next)[0] + 1  # behind the closing bracket
    _, place = json.JSONDecoder().raw_decode(text, place)
    return place


def _walk_list(text: str, place: int) -> Iterator[tuple[int, Any, int]]:
    """The items of a list, with their numbers and the places after them."""
    decoder = json.JSONDecoder()
    place, sign = _after_space(text, place + 1)
    number = 0
    while sign and sign != "]":
        item, after = decoder.raw_decode(text, place)
        if after - place > MAX_OBJECT:
            raise ValueError(f"item {number} has more than {MAX_OBJECT:,} letters (MAX_OBJECT)")
        yield number, item, after
        number += 1
        place, sign = _after_space(text, after)
        if sign not in ("", ",", "]"):
            raise ValueError(f"a comma is missing after item {number - 1}")
        if sign == ",":
            place, sign = _after_space(text, place + 1)
            if sign == "]":
                raise ValueError(f"after item {number - 1} a comma is not followed by an item")
    if not sign:
        raise ValueError("a list does not end")


def _elements_of_list(text: str, place: int, path: Path) -> Iterator[tuple[int, Any]]:
    """The items of a list that begins at a place. DataError where it is damaged."""
    try:
        if text[place : place + 1] != "[":
            raise ValueError("a list is expected")
        for number, item, _ in _walk_list(text, place):
            refuse_rows(path, number, len(text))
            yield number, item
    except BAD_JSON as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged JSON: {error}") from error


def _after_space(text: str, place: int) -> tuple[int, str]:
    """The next place that is no space, and the letter there, or "" at the end."""
    match = SPACE.match(text, place)
    place = match.end() if match else len(text)
    return place, text[place : place + 1]
