"""In which files does a WordPiece vocabulary come?

    vocab.txt                     BERT's own: a piece on each line, the line is the id
    tokenizer.json, with "model"  Hugging Face's: pieces, their ids, and the cleaning
    tokenizer_config.json         next to them: the cleaning, the longest row
    to_json                       written here by `WordPieceTokenizer`

If both vocab.txt and tokenizer.json are there, tokenizer.json counts, as in the library
transformers. About the cleaning, tokenizer_config.json has the last word. A file is
refused if it asks for something that BERT's published tokenizers do not do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clip_np.files import FileError, file_errors, parse_json, read_text
from clip_np.tokens.bert_words import UNCASED, Cleaning
from clip_np.tokens.ids import PUBLISHED_CONTEXT_LENGTH, START_AND_END
from clip_np.tokens.vocabularies import NO_LIMIT

WORDPIECE_FORMAT = "clip_np wordpiece tokenizer 1"
PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
CONTINUES = "##"  # begins a piece that does not begin a word
LONGEST_WORD = 100  # letters; a longer word is unknown

PIECES_FILE = "vocab.txt"
SINGLE_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_config.json"

# The words of tokenizer_config.json for the fields of `Cleaning`.
CLEANING_WORDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


class WordPieceVocabulary(NamedTuple):
    """What files say: pieces by id, the length of rows, and the cleaning."""

    pieces: list[str]
    context_length: int
    cleaning: Cleaning


def find_wordpiece(path: str | Path) -> Path:
    """The file that stands for a vocabulary: `path`, or the one in the folder `path`.

    >>> find_wordpiece("model/vocab.txt").as_posix()
    'model/vocab.txt'
    """
    path = Path(path)
    if not path.is_dir():
        return path
    return path / (SINGLE_FILE if (path / SINGLE_FILE).exists() else PIECES_FILE)


def read_wordpiece(path: Path) -> WordPieceVocabulary:
    """The contents of a file that `find_wordpiece` found. FileError for damage."""
    settings: dict[str, Any] = {}
    settings_file = path.with_name(SETTINGS_FILE)
    if settings_file.exists():
        with file_errors(settings_file, "not the settings of a tokenizer"):
            settings = parse_json(read_text(settings_file))
    with file_errors(path, "not a WordPiece vocabulary"):
        text = read_text(path)
        if path.suffix == ".txt":
            pieces = _parse_lines(text)
            cleaning = UNCASED
        else:
            content = parse_json(text)
            if content.get("format") == WORDPIECE_FORMAT:
                return parse_saved(content)
            pieces, cleaning = parse_single(content)
    with file_errors(settings_file, "not the settings of a tokenizer"):
        named = CLEANING_WORDS.items()
        changes = {field: settings[word] for word, field in named if word in settings}
        cleaning = _checked_cleaning({**cleaning._asdict(), **changes})
        return WordPieceVocabulary(pieces, _context_length(settings), cleaning)


def parse_saved(content: Mapping[str, Any]) -> WordPieceVocabulary:
    """The vocabulary in an object that `WordPieceTokenizer.to_json` wrote.

    Raises ValueError, KeyError or TypeError for others.
    """
    if content["format"] != WORDPIECE_FORMAT:
        raise ValueError(f"the format is {content['format']!r:.60}, not {WORDPIECE_FORMAT!r}")
    pieces = content["pieces"]
    context_length = content["context_length"]
    if type(pieces) is not list:
        raise ValueError(f"pieces must be a list, got a {type(pieces).__name__}")
    if type(context_length) is not int or context_length >= NO_LIMIT:
        raise ValueError(f"context_length must be below {NO_LIMIT:,}, got {context_length!r:.60}")
    return WordPieceVocabulary(pieces, context_length, _checked_cleaning(content["cleaning"]))


def parse_single(content: Mapping[str, Any]) -> tuple[list[str], Cleaning]:
    """The pieces and the cleaning in tokenizer.json. FileError for another tokenizer.

    >>> model = {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}}
    >>> normalizer = {"type": "BertNormalizer", "lowercase": False}
    >>> splitting = {"type": "BertPreTokenizer"}
    >>> content = {"model": model, "normalizer": normalizer, "pre_tokenizer": splitting}
    >>> pieces, cleaning = parse_single(content)
    >>> pieces, cleaning.lowercase
    (['[UNK]', 'a'], False)
    """
    model = content["model"]
    normalizer = content["normalizer"]
    expected = [
        ("the type of the model", model.get("type", "WordPiece"), "WordPiece"),
        ("the unknown token", model.get("unk_token", UNK), UNK),
        ("the mark of pieces inside words", model.get("continuing_subword_prefix", "##"), "##"),
        ("the longest word", model.get("max_input_chars_per_word", LONGEST_WORD), LONGEST_WORD),
        ("the normalizer", (normalizer or {}).get("type"), "BertNormalizer"),
        ("the pre-tokenizer", (content["pre_tokenizer"] or {}).get("type"), "BertPreTokenizer"),
    ]
    for what, value, wanted in expected:
        if value != wanted:
            raise FileError(f"{what} is {value!r:.60}, expected {wanted!r}")
    pieces = _pieces_by_id(model["vocab"])
    for added in content.get("added_tokens", []):
        _check_added(added, pieces)
    steps = {field: normalizer[field] for field in Cleaning._fields if field in normalizer}
    return pieces, _checked_cleaning(steps)


def _parse_lines(text: str) -> list[str]:
    """A piece on each line. The last line may end with the file."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _pieces_by_id(ids: Mapping[str, Any]) -> list[str]:
    """The pieces in the order of their ids. FileError unless these are 0, 1, 2, ..."""
    pieces: list[str | None] = [None] * len(ids)
    for piece, token_id in ids.items():
        if type(token_id) is not int or not 0 <= token_id < len(ids):
            raise FileError(
                f"the id of {piece!r:.60} is {token_id!r:.60}, "
                f"expected one of 0..{len(ids) - 1} for {len(ids)} pieces"
            )
        if pieces[token_id] is not None:
            raise FileError(f"{piece!r:.60} and {pieces[token_id]!r:.60} both have id {token_id}")
        pieces[token_id] = piece
    return [piece for piece in pieces if piece is not None]


def _check_added(added: Mapping[str, Any], pieces: list[str]) -> None:
    """FileError for a token outside the rules of this file.

    An added token is searched in the text before anything else is done. BERT's are the
    special ones; they stand as they are, next to anything.
    """
    token = added["content"]
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    changes = [flag for flag in flags if added.get(flag, False)]
    if token not in SPECIAL_TOKENS or changes:
        raise FileError(
            f"the added token {token!r:.60} is none of {', '.join(SPECIAL_TOKENS)}, or has "
            f"settings that are unknown here {changes}"
        )
    token_id = added["id"]
    if type(token_id) is not int or pieces[token_id : token_id + 1] != [token]:
        raise FileError(f"the added token {token} has id {token_id!r:.60} outside the vocabulary")


def _checked_cleaning(settings: Mapping[str, Any]) -> Cleaning:
    """The settings as a `Cleaning`. ValueError or TypeError for others."""
    cleaning = Cleaning(**settings)
    for name, value in cleaning._asdict().items():
        if type(value) is not bool and not (name == "strip_accents" and value is None):
            raise ValueError(f"{name} must be true or false, got {value!r:.60}")
    return cleaning


def _context_length(settings: Mapping[str, Any]) -> int:
    """The entry model_max_length, or PUBLISHED_CONTEXT_LENGTH if there is no limit."""
    length = settings.get("model_max_length")
    if isinstance(length, int) and START_AND_END <= length < NO_LIMIT:
        return length
    return PUBLISHED_CONTEXT_LENGTH
