"""In which folder are the images that a table names?

Most tables name images by their way from the table's own folder. Others give the name
alone, and the images lie in a folder beside the table:

    captions.txt               names 1000.jpg
    Images/1000.jpg

    annotations/captions_val2017.json    names 000000000139.jpg
    val2017/000000000139.jpg

So if the first image is not where its name says, the folders beside the table are
looked into. Where the table lies in a folder called `annotations`, as COCO's do, they
are those beside that one.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from clip_np.data.columns import Entry
from clip_np.data.places import UNUSUAL, Places

TABLES_ALONE = "annotations"
MOST_FOLDERS = 1000


def find_images(
    entries: Iterable[Entry], folder: Path, allow_outside: bool
) -> tuple[Places, Iterator[Entry]]:
    """Where the images of a table in `folder` lie, and the entries that name them."""
    entries = iter(entries)
    places = Places(str(folder), allow_outside)
    first = next(entries, None)
    if first is None:
        return places, entries
    entries = chain([first], entries)
    name = first.cells.get("image")
    if not isinstance(name, str) or os.path.exists(folder / places.native(name)):
        return places, entries
    is_alone = folder.name.lower() == TABLES_ALONE
    root = folder.resolve().parent if is_alone else folder
    folders = _folders_in(root)
    if not any(_holds(root / beside, name) for beside in folders):
        return places, entries
    return Places(str(root), allow_outside), _with_folders(entries, root, folders)


def _with_folders(entries: Iterator[Entry], root: Path, folders: list[str]) -> Iterator[Entry]:
    """The entries, with the folder of each image before its name."""
    last = folders[0]
    for entry in entries:
        name = entry.cells.get("image")
        if isinstance(name, str):
            candidates = (folder for folder in (last, *folders) if _holds(root / folder, name))
            folder = next(candidates, None)
            if folder is not None:
                last = folder
                entry = entry._replace(cells={**entry.cells, "image": f"{folder}/{name}"})
        yield entry


def _folders_in(root: Path) -> list[str]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    return [name for name in names if not name.startswith(".")][:MOST_FOLDERS]


def _holds(folder: Path, name: str) -> bool:
    """Whether a file of a plain name lies in a folder."""
    name = Places(str(folder)).native(name)
    if UNUSUAL.search(name):
        return False
    return os.path.isfile(folder / name)
