"""Text and JSON from strangers: not too long, an object, one value for a key."""

import gzip
import tracemalloc

import pytest

from clip_np.files import FileError, file_errors, parse_json, read_json, read_text, write_json
from clip_np.files.text_files import TEXT_LIMIT


def test_an_object_comes_back_as_it_was(tmp_path):
    content = {"name": "ü", "sizes": [1, 2.5, None], "inner": {"a": True}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert (tmp_path / "a.json").read_text(encoding="utf-8").startswith('{\n  "name": "ü",\n')


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected a JSON object"),
        ("[1]", "it holds a list"),
        ('"text"', "it holds a str"),
        ("null", "it holds a NoneType"),
        ('{"a": 1, "a": 1}', "two values for one key: 'a' appears twice"),
        ('{"b": {"a": 1, "\\u0061": 2}}', "two values for one key: 'a' appears twice"),
        ("[" * 100_000, "expected a JSON object"),
        ("9" * 10_000, "expected a JSON object"),
    ],
)
def test_other_texts_are_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FileError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_a_key_of_a_thousand_letters_is_cut_in_the_message():
    key = '"' + "x" * 1000 + '"'
    with pytest.raises(ValueError) as caught:
        parse_json(f"{{{key}: 1, {key}: 2}}")
    assert len(str(caught.value)) < 200


def test_packed_text_is_unpacked_and_a_byte_order_mark_dropped(tmp_path):
    for name, pack in (("a.txt", bytes), ("a.txt.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack("\ufeffü\n".encode()))
        assert read_text(tmp_path / name) == "ü\n"


def test_text_that_unpacks_to_more_than_the_limit_is_refused(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(bytes(50 * 2**20)))
    tracemalloc.start()
    with pytest.raises(FileError, match="more than 6,291,456 bytes"), file_errors(path, "no text"):
        read_text(path)
    assert tracemalloc.get_traced_memory()[1] < 4 * TEXT_LIMIT
    tracemalloc.stop()
