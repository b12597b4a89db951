"""Thousands of damaged files of each kind: each is used, or refused with its name.

    pytest tests/attack/test_mutated_files.py                            200 of each
    pytest tests/attack/test_mutated_files.py --damaged-files=1000       as .ci/run does
    pytest tests/attack/test_mutated_files.py --damaged-files=20000      the long form

docs/attacks.md has the figures.
"""

import functools
import sys
import tarfile

import pytest
from attacked_commands import Commands
from attacked_data import Coco, JsonLines, Parquet, SavedSet, Table, Tar
from attacked_pictures import PICTURES, Picture
from attacked_runs import Index, Metrics
from attacked_weights import Checkpoint, OpenAI, Published, TrainingRecord, Vocabulary
from attacks import attack

SETTINGS = ("config.json", "preprocessor_config.json")
SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
INDEX = "model.safetensors.index.json"

TARGETS = {
    "checkpoint.npz": Checkpoint,
    "training record of a checkpoint": TrainingRecord,
    "model.safetensors": functools.partial(Published, weights=SAFETENSORS, damaged=SAFETENSORS),
    "pytorch_model.bin": functools.partial(Published, weights=TORCH, damaged=TORCH),
    "TorchScript (.pt)": OpenAI,
    **{name: functools.partial(Published, weights=SAFETENSORS, damaged=name) for name in SETTINGS},
    INDEX: functools.partial(Published, weights=INDEX, damaged=INDEX),
    "tokenizer.json": functools.partial(Vocabulary, form="clip_np", damaged="tokenizer.json"),
    "tokenizer.json of Hugging Face": functools.partial(
        Vocabulary, form="single", damaged="tokenizer.json"
    ),
    **{
        name: functools.partial(Vocabulary, form="pair", damaged=name)
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json")
    },
    "captions.csv": Table,
    "metadata.jsonl": JsonLines,
    "captions of COCO": Coco,
    "tar": functools.partial(Tar, form=tarfile.USTAR_FORMAT),
    "tar, GNU": functools.partial(Tar, form=tarfile.GNU_FORMAT),
    "tar, pax": functools.partial(Tar, form=tarfile.PAX_FORMAT),
    "parquet": Parquet,
    "saved set (Arrow and JSON)": SavedSet,
    **{f"{kind} picture": functools.partial(Picture, kind=kind) for kind in PICTURES},
    "index.npz": functools.partial(Index, form=2),
    "index.npz, first format": functools.partial(Index, form=1),
    "metrics.jsonl": Metrics,
    "commands": Commands,
}
"""What is damaged -> what makes its Target in a folder."""

SLOW = {"commands": 5, "saved set (Arrow and JSON)": 4, "index.npz": 2}
"""Of these, only a part of the files is tried, for a command takes 50 ms and the
`datasets` library 15 ms to open a set. A thousand of each would take over a minute."""


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_used_or_refused(name, tmp_path, monkeypatch, pytestconfig):
    monkeypatch.chdir(tmp_path)  # a command may open what a damaged record names
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no pictures: a second each
    count = pytestconfig.getoption("damaged_files") // SLOW.get(name, 1)
    try:
        target = TARGETS[name](tmp_path)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow writes no such pictures: {error}")
    result = attack(name, target, count)
    assert result.read + result.refused == count
    # Ids contradict the merges as soon as one is changed. Odd metrics are left out.
    assert result.read > 0 or name == "vocab.json"
    assert result.refused > 0 or name == "metrics.jsonl"
    print(
        f"| {name} | {count:,} | {result.read:,} | {result.refused:,} "
        f"| {result.seconds:.2f} s | {result.megabytes:.0f} MB |"
    )
