"""How are pairs read from image files with text files of the same name?

    photos/
        train/tom.png        train/tom.txt       "a cat on a sofa"
        test/jerry.jpg       test/jerry.txt      "a mouse"

The text file holds the caption. The nearest folder with the name of a split says which
split it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from clip_np.data.errors import DataError, a_few
from clip_np.data.images import IMAGE_SUFFIXES
from clip_np.data.pairs import Row
from clip_np.data.splits import split_of
from clip_np.data.tables import read_utf8


def read_paired_files(files: Sequence[Path], root: Path) -> Iterator[Row]:
    """A row for each image among `files`, which all lie below the folder `root`.

    Files that are neither images nor texts are ignored. Raises DataError for an image
    without text or a text without image."""
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    texts = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".txt"}
    alone = {image.with_suffix("") for image in images} ^ texts.keys()
    if alone:
        raise DataError(
            f"{len(alone)} images have no .txt file of the same name next to them, or .txt files "
            f"no image: {a_few(sorted(alone))}. Add what is missing, or write a captions.csv."
        )
    for image in images:
        folders = image.relative_to(root).parts[:-1]
        yield Row(
            caption=read_utf8(texts[image.with_suffix("")]).strip(),
            name=str(image),
            tags="",
            source=image,
            split=split_of(reversed(folders)),
        )
