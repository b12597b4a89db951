"""How are pairs read from image files with text files of the same name?

    photos/
        train/tom.png        train/tom.txt       "a cat on a sofa"
        test/jerry.jpg       test/jerry.txt      "a mouse"

The text file holds the caption. The nearest folder with the name of a split says which
split it is. Where there are no text files at all, and all images lie in folders, the
folders are classes, and their names become captions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from warnings import warn

from clip_np.data.columns import STRICT, Reading, caption_of
from clip_np.data.errors import DataError, DataWarning, a_few
from clip_np.data.formats import is_image_name, left_out
from clip_np.data.pairs import Row
from clip_np.data.places import Places
from clip_np.data.splits import is_split_name, split_of
from clip_np.data.tables import read_utf8


def read_paired_files(
    files: Sequence[Path], inside: Places, reading: Reading = STRICT
) -> Iterator[Row]:
    """A row for each image among `files`, which all lie in the folder of `inside`.

    Files that are neither images nor texts are ignored. Raises DataError for an image
    without text, a text without image or letters, or a link to a file outside of the
    folder. If `reading.skipped` is a list, the message is added to it, and they are
    left out.
    """
    images = [file for file in files if is_image_name(file)]
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    if images and not texts and _are_classes(images, inside.folder):
        yield from _rows_of_classes(images, inside, reading)
        return
    alone = {image.with_suffix("") for image in images} ^ texts.keys()  # in one, not in both
    if alone:
        unread = left_out(files)
        problem = (
            f"{len(alone)} images have no .txt file of the same name next to them, or .txt files "
            f"no image: {a_few(sorted(alone))}. Add what is missing, or write a captions.csv."
            + (f" Pictures that are not read: {unread}" if unread else "")
        )
        if reading.skipped is None:
            raise DataError(problem)
        reading.skipped.extend([f"{file}: has no image or no text" for file in sorted(alone)])
    for image in images:
        if image.with_suffix("") in alone:
            continue
        text = texts[image.with_suffix("")]
        for file in (image, text):
            if file.is_symlink():
                inside(str(file))
        try:
            caption = read_utf8(text).strip()
        except DataError as error:
            if reading.skipped is None:
                raise
            reading.skipped.append(str(error))
            continue
        if not caption and reading.skipped is not None:
            reading.skipped.append(f"{text}: the caption is empty")
            continue
        folders = image.relative_to(inside.folder).parts[:-1]
        yield Row(
            caption=caption,
            name=str(image),
            tags="",
            source=image,
            split=split_of(reversed(folders)),
        )


def _class_of(image: Path, root: str) -> str:
    """The nearest folder of an image, or "" if that is a split or the root."""
    folders = image.relative_to(root).parts[:-1]
    nearest = folders[-1] if folders else ""
    return "" if is_split_name(nearest) else nearest


def _are_classes(images: Sequence[Path], root: str) -> bool:
    """Whether folders are classes: there are two or more, and no image is outside."""
    classes = {_class_of(image, root) for image in images}
    return len(classes) > 1 and "" not in classes


def _rows_of_classes(images: Sequence[Path], inside: Places, reading: Reading) -> Iterator[Row]:
    """A row for each image; the name of its folder becomes its caption."""
    root = inside.folder
    classes = sorted({_class_of(image, root) for image in images})
    warn(
        f"{root}: there are no captions, so the names of {len(classes)} folders become captions "
        f"({a_few(classes)}), in the sentence of `template` if there is one",
        DataWarning,
        stacklevel=2,
    )
    for image in images:
        if image.is_symlink():
            inside(str(image))
        folders = image.relative_to(root).parts[:-1]
        yield Row(
            caption=caption_of(_class_of(image, root), reading.template),
            name=str(image),
            tags="",
            source=image,
            split=split_of(reversed(folders[:-1])),
        )
