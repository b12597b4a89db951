"""Does the hub know this name, and does something here have a similar one?

Models and data sets on the Hugging Face hub have names such as owner/name. A mistyped
path looks the same. The libraries that fetch from the hub would ask it again and again,
for up to a minute, before they give up. So the hub is asked once, briefly, before they
begin. And a name that it does not know may have been meant for a path: what is here
under a similar one is named.

https://huggingface.co/docs/huggingface_hub/package_reference/hf_api
"""

import difflib
import re
from pathlib import Path
from typing import Any, Literal

ASK_SECONDS = 5.0  # to wait for an answer
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""What names on the Hugging Face hub look like, of data sets and models: owner/name."""
LIKENESS = 0.6  # of two names, from 0 to 1: one letter in four may differ
MOST_ENTRIES = 10_000  # of a folder that is looked through for similar names

KINDS = {"model": "model", "dataset": "data set"}


def ask_hub(library: Any, kind: Literal["model", "dataset"], name: str) -> Exception | None:
    """Ask the hub once for a model or a data set; why it did not answer, or None.

    library is the module huggingface_hub. If the hub has no such thing,
    FileNotFoundError, which names what has a similar path here.
    """
    api = library.HfApi()
    ask = api.model_info if kind == "model" else api.dataset_info
    try:
        ask(name, timeout=ASK_SECONDS)
    except library.errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{name} is not here{near(name)}, and the hub has no {KINDS[kind]} of that name for you"
        ) from error
    except Exception as error:  # libraries for networks share no class of errors
        return error
    return None


def near(path: str) -> str:
    """What is here under a similar path, in words; "" if nothing is.

    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     Path("photos").mkdir()
    ...     Path("photos", "holiday.tar").touch()
    ...     near("pohtos/holiday.tar"), near("photos/holidya.tar"), near("x/y")
    (' (photos/holiday.tar is)', ' (photos/holiday.tar is)', '')
    """
    reached = Path()
    for part in Path(path).parts:
        entry = part if (reached / part).exists() else _nearest(part, reached)
        if entry is None:
            return ""
        reached /= entry
    return f" ({reached.as_posix()} is)"


def _nearest(part: str, folder: Path) -> str | None:
    """The entry of a folder whose name is nearest to a part of a path, or None."""
    try:
        names = [entry.name for _, entry in zip(range(MOST_ENTRIES), folder.iterdir())]
    except OSError:
        return None
    nearest = difflib.get_close_matches(part, names, n=1, cutoff=LIKENESS)
    return nearest[0] if nearest else None
