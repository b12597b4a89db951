"""What does a sentence encoder do besides encoding?

The library sentence-transformers lists its steps in modules.json. A step with settings
has a folder of its own:

    [{"type": "sentence_transformers.models.Transformer", "path": ""},
     {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
     {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]

These three, in this order, are known here; the last one may be missing. The settings of
the first are in sentence_bert_config.json. Newer releases write other packages in front
of the names of the steps.

https://www.sbert.net
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from clip_np.files import FileError, file_errors, read_json, read_text
from clip_np.tokens import START_AND_END

STEPS_FILE = "modules.json"
SETTINGS_FILE = "sentence_bert_config.json"
PROMPTS_FILE = "config_sentence_transformers.json"
POOLING_FILE = "config.json"

KNOWN_STEPS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
MODE_PREFIX = "pooling_mode_"
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


class SentenceSteps(NamedTuple):
    """What the files say. The defaults are for folders without these files.

    They are what sentence-transformers does with such a folder. longest is the number
    of tokens in the longest row, or None if no file says it. lowercases: texts are made
    lower-case before the tokenizer sees them.
    """

    pooling: str = "mean"
    unit_length: bool = False
    longest: int | None = None
    lowercases: bool = False


def read_steps(folder: pathlib.Path) -> SentenceSteps:
    """The steps of the sentence encoder in a folder; FileError for unknown ones."""
    steps_file = folder / STEPS_FILE
    if not steps_file.exists():
        return SentenceSteps()
    with file_errors(steps_file, "not the steps of a sentence encoder"):
        names, pooling_folder = parse_steps(json.loads(read_text(steps_file)))
    pooling_file = folder / pooling_folder / POOLING_FILE
    with file_errors(pooling_file, "not a pooling that is known here"):
        pooling = parse_pooling(read_json(pooling_file))
    prompts_file = folder / PROMPTS_FILE
    if prompts_file.exists():
        name = read_json(prompts_file).get("default_prompt_name")
        if name is not None:
            raise FileError(
                f"{prompts_file}: default_prompt_name is {name!r:.60}, but no prompt is put before "
                "texts here",
                prompts_file,
            )
    settings_file = folder / SETTINGS_FILE
    settings = read_json(settings_file) if settings_file.exists() else {}
    with file_errors(settings_file, "not the settings of a sentence encoder"):
        return SentenceSteps(
            pooling=pooling,
            unit_length="Normalize" in names,
            longest=_longest(settings),
            lowercases=settings.get("do_lower_case") is True,
        )


def parse_steps(content: Any) -> tuple[list[str], str]:
    """The names of the steps, and the folder of the pooling.

    FileError for other steps, and for a folder that is not below this one.

    >>> encode = {"type": "models.Transformer", "path": ""}
    >>> pool = {"type": "models.Pooling", "path": "1_Pooling"}
    >>> parse_steps([encode, pool])
    (['Transformer', 'Pooling'], '1_Pooling')
    """
    if not isinstance(content, list) or not all(isinstance(step, dict) for step in content):
        raise FileError("expected a list of objects")
    names = [str(step["type"]).rpartition(".")[2] for step in content]
    if names not in KNOWN_STEPS:
        raise FileError(f"the steps are {names!r:.200}, expected one of {KNOWN_STEPS}")
    path = content[names.index("Pooling")]["path"]
    if not isinstance(path, str) or pathlib.PurePath(path).name != path or path in ("", ".."):
        raise FileError(f"{path!r:.60} is not the name of a folder next to it")
    return names, path


def parse_pooling(settings: Mapping[str, Any]) -> str:
    """One of POOLINGS. FileError for another pooling, or several at once.

    >>> parse_pooling({"pooling_mode_mean_tokens": True})
    'mean'
    >>> parse_pooling({"pooling_mode_max_tokens": True})
    Traceback (most recent call last):
    clip_np.files.errors.FileError: the pooling is pooling_mode_max_tokens, expected ...
    """
    chosen = [name for name, on in settings.items() if name.startswith(MODE_PREFIX) and on is True]
    if "pooling_mode" in settings:  # of the newest releases
        chosen.append(f"{MODE_PREFIX}{settings['pooling_mode']!s:.60}")
    by_short_name = {f"{MODE_PREFIX}{mode}": mode for mode in MODES.values()}
    known = MODES | by_short_name
    if len(chosen) != 1 or chosen[0] not in known:
        raise FileError(
            f"the pooling is {', '.join(chosen) or 'missing'}, expected one of {', '.join(MODES)}"
        )
    return known[chosen[0]]


def _longest(settings: Mapping[str, Any]) -> int | None:
    """The entry max_seq_length. FileError for what is no length."""
    longest = settings.get("max_seq_length")
    if longest is not None and (type(longest) is not int or longest < START_AND_END):
        raise FileError(f"max_seq_length is {longest!r:.60}, expected at least {START_AND_END}")
    return longest
