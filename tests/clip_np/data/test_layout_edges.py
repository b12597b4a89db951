"""Shards with hidden files, and JSON that is damaged behind a whole list."""

import io
import tarfile

import pytest
from PIL import Image

from clip_np.data import DataError, open_dataset


def encoded() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


def write_shard(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("folder", ["", "./", "./pets/", "pets/"])
def test_hidden_files_in_a_shard_are_left_out(tmp_path, folder):
    """macOS packs "._a.png", which holds notes about "a.png", next to it."""
    members = [
        (f"{folder}._a.png", b"notes"),
        (f"{folder}a.png", encoded()),
        (f"{folder}._a.txt", b"notes"),
        (f"{folder}a.txt", b"a cat"),
        (f"{folder}.thumbs/b.png", encoded()),
    ]
    splits = open_dataset(write_shard(tmp_path / "0.tar", members), validation_fraction=0)
    assert list(splits["train"].captions) == ["a cat"]
    assert splits["train"].open_image(0).size == (4, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"images": [{"id": 1, "file_name": "a.png"},], "annotations": []}',
            "damaged JSON: after item 0 a comma is not followed by an item",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}] "annotations": []}',
            "damaged JSON: a comma",
        ),
        ('{"images": [{"id": 1, "file_name": "a.png"}], "annotations" []}', "damaged JSON: a key"),
        ('{"images": [{"id": 1, "file_name": "a.png"}], ', "damaged JSON: Expecting value"),
        ('{"images": [], "annotations": []', "damaged JSON: a comma or a closing brace"),
    ],
)
def test_damage_behind_a_list_is_called_damage(tmp_path, text, message):
    """It is not taken for a file with images alone, as Karpathy's splits are."""
    path = tmp_path / "captions.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"captions\.json is {message}"):
        open_dataset(path)
