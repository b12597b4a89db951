"""How are thousands of image files embedded without waiting for the disk?

Two kinds of work take turns: to read and decode an image, and to pass a batch of images
through the model. Threads decode the next batch while the model computes the present
one. No more than two batches of images are in memory at any time.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from warnings import warn

import numpy as np

import minigrad as mg
from clip_np.data import (
    BAR_SECONDS,
    DataError,
    DataWarning,
    ImageSource,
    Preprocess,
    a_few,
    files_below,
    image_suffixes,
    is_image_name,
    left_out,
    opened,
)
from clip_np.evaluation.features import unit_features
from clip_np.files import File
from clip_np.model import CLIP
from minigrad.threads import map_ahead

BATCH_SIZE = 64  # images that pass through the model together, and that wait decoded
DECODING_THREADS = 4


def image_files(sources: Iterable[File]) -> list[str]:
    """The images in folders, at any depth, and all sources that are not folders.

    Each path comes once. A source that is not a folder is taken for an image
    file, whatever its name. DataError for a folder without images.

    >>> image_files(["cat.png", "dog.png", "cat.png"])
    ['cat.png', 'dog.png']
    """
    paths: list[str] = []
    for source in map(Path, sources):
        if source.is_dir():
            paths += _images_below(source)
        else:
            paths.append(str(source))
    return list(dict.fromkeys(paths))


def _images_below(folder: Path) -> list[str]:
    """The image files in a folder and the folders in it, sorted; DataError for none."""
    files = files_below(folder)
    images = [str(file) for file in files if is_image_name(file)]
    unread = left_out(files)
    if not images:
        raise DataError(
            f"{folder}: holds no images"
            + (f" that are read, but {unread}" if unread else "")
            + f" ({a_few(sorted(image_suffixes()))})"
        )
    if unread:
        warn(
            f"{folder}: pictures that are not read are left out: {unread}",
            DataWarning,
            stacklevel=3,
        )
    return images


def embed_files(
    model: CLIP, preprocess: Preprocess, paths: Sequence[str]
) -> Iterator[tuple[str, np.ndarray | DataError]]:
    """Each path with the unit features (E,) of its image, or with the error it raised.

    The results come in the order of the paths. A progress bar shows after a few
    seconds.
    """
    sources = [Path(path) for path in paths]
    with contextlib.closing(embed_sources(model, preprocess, sources, paths)) as results:
        yield from zip(paths, results)


def embed_sources(
    model: CLIP,
    preprocess: Preprocess,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    encode: Callable[[np.ndarray], mg.Tensor] | None = None,
    shows_bar: bool = True,
) -> Generator[np.ndarray | DataError, None, None]:
    """The unit features (E,) of each source, or the error it raised; as `embed_files`.

    A source is a path, the bytes of a file, or an array; its name is for the error.
    encode stands for `model.encode_image`.
    """
    encode = model.encode_image if encode is None else encode

    def decode(row: int) -> np.ndarray | DataError:
        """The preprocessed image (3, S, S), or why it cannot be read."""
        return opened(sources[row], names[row], preprocess, skip_bad=True)

    from tqdm import tqdm  # here, since it takes 20 ms

    rows = range(len(sources))
    decoded = map_ahead(decode, rows, workers=DECODING_THREADS, ahead=BATCH_SIZE)
    bar = tqdm(total=len(rows), desc="images", delay=BAR_SECONDS, disable=not shows_bar)
    with bar, contextlib.closing(decoded):
        for start in range(0, len(rows), BATCH_SIZE):
            results = list(itertools.islice(decoded, len(rows[start : start + BATCH_SIZE])))
            images = [result for result in results if isinstance(result, np.ndarray)]
            features = iter(unit_features(model, encode, np.array(images)))
            for result in results:
                yield next(features) if isinstance(result, np.ndarray) else result
            bar.update(len(results))
