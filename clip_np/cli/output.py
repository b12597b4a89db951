"""How does a command speak to people, when its result may also go to another program?

With --json, stdout holds one JSON object and nothing else, so all lines for people go
to stderr. Pictures need matplotlib; without it a command says what to install, and does
the rest. Names and captions come from files, so what they say is `shown`: no character
of theirs commands the terminal.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from clip_np.data import DataError, a_few
from clip_np.evaluation import MissingMatplotlib, labelled_images, read_picture
from clip_np.files import shown, shown_lines

FAILED = 1  # an exit status
SHEET_SIZE = 20  # images on a contact sheet, at most
SHEET_PIXELS = 224  # the side of an image on it
MARK_WIDTH = 8  # characters before the words of a label


class LabelledFile(NamedTuple):
    """An image file and what is said about it: pairs of a short mark and words."""

    path: str
    labels: list[tuple[str, str]]
    may_be_opened: bool = True


class Sheet(NamedTuple):
    """Image files with their labels, under a title."""

    title: str
    note: str
    files: list[LabelledFile]


def print_text(arguments: argparse.Namespace, text: str) -> None:
    """Print for people: to stderr if stdout is kept for JSON."""
    print(shown_lines(text), file=sys.stderr if arguments.json else sys.stdout, flush=True)


def print_labels(arguments: argparse.Namespace, files: Sequence[LabelledFile]) -> None:
    """Print the labels of files as a table, the marks to the left of the words.

    >>> files = [LabelledFile("a.png", [("71%", "a cat"), ("29%", "a dog")])]
    >>> print_labels(argparse.Namespace(json=False), files)
         71%  a cat
         29%  a dog
    """
    for file in files:
        for mark, words in file.labels:
            line = f"{mark:>{MARK_WIDTH}}  {words}" if mark else words
            print_text(arguments, shown(line))


def draw_pictures(
    arguments: argparse.Namespace, draw: Callable[[], list[Path]], is_asked: bool = False
) -> None:
    """Call `draw`, and print which files it wrote, or that matplotlib is missing.

    is_asked: somebody asked for the pictures, so without them the program fails.
    """
    try:
        paths = draw()
    except MissingMatplotlib as error:
        if is_asked:
            print(f"clip-np: error: {error}", file=sys.stderr)
            arguments.status = FAILED
        else:
            print_text(arguments, str(error))
    else:
        print_text(arguments, "pictures: " + ", ".join(shown(path) for path in paths))


def draw_sheet(sheet: Sheet, path: str) -> Path:
    """Draw the first image files of a sheet above their labels, and return the path.

    The pictures are whole, on white squares. A file that cannot be read any more, or
    may not be opened, becomes a grey square.
    """
    squares, labels = [], []
    for file in sheet.files[:SHEET_SIZE]:
        image = read_picture(file.path) if file.may_be_opened else None
        if image is None:
            image = Image.new("RGB", (1, 1), "lightgrey")
            reason = "not found" if file.may_be_opened else "not opened"
            labels.append([*file.labels, ("", reason)])
        else:
            labels.append(file.labels)
        size = (SHEET_PIXELS, SHEET_PIXELS)
        square = ImageOps.pad(image, size, Image.Resampling.BICUBIC, color="white")
        squares.append(np.asarray(square))  # (S, S, 3)
    return labelled_images(np.stack(squares), labels, path, sheet.title, sheet.note)


def print_unreadable(problems: Sequence[DataError | str], total: int) -> None:
    """List on stderr which images were left out; DataError if all of them were."""
    if len(problems) == total:
        raise DataError(f"none of {total} images is readable: {a_few(problems)}")
    for problem in problems:
        print(f"left out: {shown(problem)}", file=sys.stderr)
