"""Files of weights that ask for too much: refused, in little time and memory."""

import json
import struct

import numpy as np
import pytest
import torch_zip
from bounds import run_bounded

from clip_np import CLIP, PRESETS, Tokenizer
from clip_np.files import FileError, read_npz, write_npz
from clip_np.weights import load, read_checkpoint, save_checkpoint, save_pretrained

MEMORY_LIMIT = 300  # MB, Python, NumPy and Pillow included
TIME_LIMIT = 5.0  # seconds of the processor

LOAD = """
import sys
from clip_np.files import FileError
from clip_np.weights import load
try:
    model, preprocess, tokenizer = load(sys.argv[1])
    tokenizer("a red circle")
    print("read")
except FileError as error:
    print(error)
"""


def assert_refused_cheaply(path, message: str) -> None:
    outcome = run_bounded(LOAD, str(path))
    assert outcome.status == 0, outcome.errors
    assert message in outcome.output, outcome.output[:2000]
    assert str(path) in outcome.output or str(path.parent) in outcome.output
    assert outcome.peak_mb < MEMORY_LIMIT, outcome
    assert outcome.seconds < TIME_LIMIT, outcome


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "a.npz"
    save_checkpoint(path, CLIP(PRESETS["tiny"], np.random.default_rng(0)), Tokenizer([]))
    return path


def change_header(path, change) -> None:
    """Write a checkpoint again with other settings, as a forger would."""
    arrays = read_npz(path)
    header = json.loads(arrays["header"].tobytes())
    header.pop("contents", None)
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz(path, arrays)


# --- a file's word --------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoder, name, value",
    [
        ("vision", "layers", 30_000),
        ("text", "layers", 10**12),
        ("text", "vocab_size", 10**9),
        ("text", "context_length", 10**9),
        ("vision", "image_size", 8 * 10**9),
        ("text", "eos_token_id", 514),
        ("text", "eos_token_id", 7),
    ],
)
def test_sizes_that_the_weights_do_not_have(checkpoint, encoder, name, value):
    change_header(checkpoint, lambda header: header["config"][encoder].update({name: value}))
    assert_refused_cheaply(checkpoint, "a.npz")
    with pytest.raises(FileError, match=f"disagree|{name}|end token"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        {"context_length": 10**9},
        {"context_length": 78},
        {"merges": [["a", "b"]]},
        {"context_length": "77"},
    ],
)
def test_a_tokenizer_that_does_not_fit_the_model(checkpoint, change):
    def forge(header):
        header["tokenizer"] = json.dumps(json.loads(header["tokenizer"]) | change)

    change_header(checkpoint, forge)
    assert_refused_cheaply(checkpoint, "no checkpoint of clip_np")


def test_what_cannot_be_read_again_is_not_saved(tmp_path):
    model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    with pytest.raises(FileError, match="context_length is 78"):
        save_checkpoint(tmp_path / "a.npz", model, Tokenizer([], context_length=78))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("training", [3, [], "x", [["step", 3]], True])
def test_a_training_entry_is_an_object(checkpoint, training):
    change_header(checkpoint, lambda header: header.update(training=training))
    with pytest.raises(FileError, match="training"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "part, name, value",
    [
        ("vision_config", "num_hidden_layers", 30_000),
        ("text_config", "max_position_embeddings", 10**9),
        ("text_config", "eos_token_id", 10**12),
        ("text_config", "eos_token_id", 400),
        ("vision_config", "image_size", 10**9),
    ],
)
def test_sizes_that_published_weights_do_not_have(tmp_path, part, name, value):
    model = CLIP(PRESETS["tiny"], np.random.default_rng(0))
    save_pretrained(model, tmp_path, tokenizer=Tokenizer([]))
    config = json.loads((tmp_path / "config.json").read_text())
    config[part][name] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_refused_cheaply(tmp_path / "model.safetensors", str(tmp_path))


@pytest.mark.parametrize("length", [10**9, 100_000])
def test_a_vocabulary_with_rows_of_a_billion(tmp_path, length):
    Tokenizer([]).save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"context_length": length}))
    with pytest.raises(FileError, match="context_length"):
        Tokenizer.load(tmp_path)


# --- views and conversions ------------------------------------------------------------


def views_of_one_storage(names, size: int, storage: str = "HalfStorage") -> dict:
    numbers = np.zeros(size, np.float16)
    shared = torch_zip.Tensor(numbers, key="0", storage=storage)
    return dict.fromkeys(names, shared)


def test_many_names_over_one_storage(tmp_path):
    """12 MB, and 200 names for them; they took 4.8 GB."""
    names = [f"visual.transformer.resblocks.{i}.mlp.c_fc.weight" for i in range(200)]
    state = views_of_one_storage([*names, "visual.conv1.weight"], 6_000_000)
    torch_zip.save(tmp_path / "a.pt", state)
    assert_refused_cheaply(tmp_path / "a.pt", "arrays share their bytes")


def test_layers_that_are_one_layer(tmp_path):
    """Names and shapes of a real model, and one storage for all layers."""
    width, layers = 512, 100
    blocks = [f"visual.transformer.resblocks.{i}.attn.in_proj_weight" for i in range(layers)]
    numbers = np.zeros((3 * width, width), np.float16)
    state: dict = {name: torch_zip.Tensor(numbers, key="0") for name in blocks}
    state["visual.conv1.weight"] = np.zeros((width, 3, 8, 8), np.float16)
    torch_zip.save(tmp_path / "a.pt", state)
    assert_refused_cheaply(tmp_path / "a.pt", "arrays share their bytes")


def test_parts_of_hugging_face_that_share_a_storage(tmp_path):
    numbers = np.zeros((2000, 2000), np.float16)
    shared = torch_zip.Tensor(numbers, key="0")
    names = [
        f"vision_model.encoder.layers.{i}.self_attn.{letter}_proj.weight"
        for i in range(60)
        for letter in "qkv"
    ]
    state: dict = dict.fromkeys([*names, "vision_model.embeddings.patch_embedding.weight"], shared)
    torch_zip.save(tmp_path / "pytorch_model.bin", state)
    assert_refused_cheaply(tmp_path / "pytorch_model.bin", "arrays share their bytes")


# --- tables of contents ---------------------------------------------------------------

MEGABYTE = 1_000_000
JSON_BOMBS = {
    "lists": lambda size: '{"a":[' + "[]," * (size // 3) + "[]]}",
    "keys": lambda size: "{" + ",".join(f'"{i:x}":{{}}' for i in range(size // 11)) + "}",
    "entries": lambda size: (
        "{"
        + ",".join(
            f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(size // 57)
        )
        + "}"
    ),
}


@pytest.mark.parametrize("size", [4 * MEGABYTE, 99 * MEGABYTE])
@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_headers_of_safetensors(tmp_path, kind, size):
    """99 MB took 2.6 GB and 45 s; 4 MB is just below the limit."""
    if size > 10 * MEGABYTE and kind != "lists":
        pytest.skip("refused by its length alone, whatever is in it")
    text = JSON_BOMBS[kind](size).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert_refused_cheaply(path, "a.safetensors")


@pytest.mark.parametrize("size", [4 * MEGABYTE, 50 * MEGABYTE])
def test_headers_of_npz(tmp_path, size):
    """50 MB took 1.2 GB."""
    text = JSON_BOMBS["lists"](size).encode()
    write_npz(tmp_path / "a.npz", {"header": np.frombuffer(text, np.uint8)})
    assert_refused_cheaply(tmp_path / "a.npz", "no checkpoint" if size < 10**7 else "its header")


@pytest.mark.parametrize("name", ["config.json"])
def test_long_json_next_to_weights(tmp_path, name):
    save_pretrained(
        CLIP(PRESETS["tiny"], np.random.default_rng(0)), tmp_path, tokenizer=Tokenizer([])
    )
    text = (tmp_path / name).read_text().rstrip()
    bomb = JSON_BOMBS["lists"](6 * MEGABYTE)
    (tmp_path / name).write_text(text[:-1] + "," + bomb[1:])
    outcome = run_bounded(LOAD, str(tmp_path))
    assert outcome.status == 0, outcome.errors
    assert outcome.peak_mb < MEMORY_LIMIT, outcome
    assert outcome.seconds < TIME_LIMIT, outcome


@pytest.mark.parametrize("suffix, count", [("npz", 82_000), ("pt", 400_000)])
def test_zip_archives_of_entries_without_end(tmp_path, suffix, count):
    """46 bytes in the table of contents, some 700 in memory."""
    fields = (b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0x21, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s4B4HL2L5H2L", *fields)
    table = b"".join(entry + b"%05x" % number for number in range(count))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(table), 0, 0)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(table + end)
    assert_refused_cheaply(path, path.name)


@pytest.mark.parametrize("instruction", [b"}"])
def test_pickles_of_nothing_but_containers(tmp_path, instruction):
    code = b"\x80\x02](" + instruction * 1_950_000 + b"e."
    torch_zip.pack(tmp_path / "a.pt", code, {"0": bytes(100)})
    assert_refused_cheaply(tmp_path / "a.pt", "a.pt")


# --- text that is none ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "vocab.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b"[]"])
def test_bytes_and_halves_of_characters(tmp_path, name, content):
    save_pretrained(
        CLIP(PRESETS["tiny"], np.random.default_rng(0)), tmp_path, tokenizer=Tokenizer([])
    )
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=name.replace(".", r"\.")) as caught:
        load(tmp_path)
    str(caught.value).encode()


def test_half_a_character_in_a_name(tmp_path):
    """The bytes ED A0 80 would be D800, which is the first half of some characters."""
    path = tmp_path / "a.pt"
    storages: dict[str, bytes] = {}
    numbers = torch_zip.encode(np.ones(2), storages)
    torch_zip.pack(path, b"\x80\x02}(X\x03\0\0\0\xed\xa0\x80" + numbers + b"u.", storages)
    with pytest.raises(FileError, match=r"a\.pt") as caught:
        load(path)
    str(caught.value).encode()
