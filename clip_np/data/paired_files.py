"""How are pairs read from image files with text files of the same name?

    photos/
        train/tom.png        train/tom.txt       "a cat on a sofa"
        test/jerry.jpg       test/jerry.txt      "a mouse"

The text file holds the caption. The nearest folder with the name of a split says which
split it is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from clip_np.data.errors import DataError, a_few
from clip_np.data.formats import is_image_name, left_out
from clip_np.data.pairs import Row
from clip_np.data.places import Places
from clip_np.data.splits import split_of
from clip_np.data.tables import read_utf8


def read_paired_files(
    files: Sequence[Path], inside: Places, skipped: list[str] | None = None
) -> Iterator[Row]:
    """A row for each image among `files`, which all lie in the folder of `inside`.

    Files that are neither images nor texts are ignored. Raises DataError for an image
    without text, a text without image or letters, or a link to a file outside of the
    folder. If `skipped` is a list, the message is added to it, and they are left out.
    """
    images = [file for file in files if is_image_name(file)]
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    alone = {image.with_suffix("") for image in images} ^ texts.keys()
    if alone:
        unread = left_out(files)
        problem = (
            f"{len(alone)} images have no .txt file of the same name next to them, or .txt files "
            f"no image: {a_few(sorted(alone))}. Add what is missing, or write a captions.csv."
            + (f" Pictures that are not read: {unread}" if unread else "")
        )
        if skipped is None:
            raise DataError(problem)
        skipped += [f"{file}: has no image or no text" for file in sorted(alone)]
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
            if skipped is None:
                raise
            skipped.append(str(error))
            continue
        if not caption and skipped is not None:
            skipped.append(f"{text}: the caption is empty")
            continue
        folders = image.relative_to(inside.folder).parts[:-1]
        yield Row(
            caption=caption,
            name=str(image),
            tags="",
            source=image,
            split=split_of(reversed(folders)),
        )
