"""The emoji data set, built from small packages made here in the form of npm's."""

import importlib.util
import io
import json
import os
import pathlib
import sys
import tarfile

import numpy as np
import pytest
from paths import EXAMPLES
from PIL import Image

from clip_np.data import open_dataset

parquet = pytest.importorskip("pyarrow.parquet", reason="parquet files need pyarrow")
PATH = EXAMPLES / "emoji_data.py"
SPEC = importlib.util.spec_from_file_location("emoji_data", PATH)
emoji_data = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(emoji_data)

TONES = {"1F3FB": "light skin tone", "1F3FF": "dark skin tone"}
GROUPS = [
    {"key": "smileys-emotion", "message": "smileys & emotion", "order": 0},
    {"key": "component", "message": "components", "order": 2},
    {"key": "flags", "message": "flags", "order": 9},
]
ENTRIES = [
    {"label": "grinning face", "hexcode": "1F600", "emoji": "A", "group": 0, "tags": ["joy", "ha"]},
    {"label": "desert island", "hexcode": "1F3DD-FE0F", "emoji": "B", "group": 0, "tags": []},
    {"label": "flag: Åland Islands", "hexcode": "1F1E6-1F1FD", "emoji": "C", "group": 9},
    {"label": "keycap: #", "hexcode": "0023-FE0F-20E3", "emoji": "D", "group": 0},
    {"label": "light skin tone", "hexcode": "1F3FB", "emoji": "E", "group": 2},
    {"label": "regional indicator A", "hexcode": "1F1E6", "emoji": "F"},
    {"label": "drawn by nobody", "hexcode": "1F601", "emoji": "G", "group": 0},
]
for number in range(240):  # enough for every kind of question
    code = f"{0x1F700 + number:X}"
    skins = [
        {"label": f"thing {number}: {tone}", "hexcode": f"{code}-{point}", "emoji": "T"}
        for point, tone in TONES.items()
    ]
    ENTRIES.append({"label": f"thing {number}", "hexcode": code, "emoji": "S", "group": 0})
    ENTRIES[-1] |= {"skins": skins} if number % 4 == 0 else {}


def picture(form: str, size: int, alpha: int) -> bytes:
    """A red square whose left half has this opacity, the right half all."""
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[:, :, 0], pixels[:, :, 3] = 255, 255
    pixels[:, : size // 2, 3] = alpha
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **({"lossless": True} if form == "WEBP" else {}))
    return file.getvalue()


def write_package(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, pathlib.Path]:
    folder = tmp_path_factory.mktemp("packages")
    codes = [each["hexcode"] for entry in ENTRIES for each in (entry, *entry.get("skins", []))]
    codes = [code for code in codes if code != "1F601"]
    papers = {"LICENSE": b"Do as you like", "package.json": b"{}", "CHANGES.md": b"none"}
    noto = {f"img/google/64/{code.lower()}.png": picture("PNG", 64, 0) for code in codes}
    noto["img/google/sheets/32.png"] = b"not wanted"
    # The second style lacks the flag, and writes some codes without FE0F.
    fluent = {
        f"assets/{code.lower().replace('-fe0f', '')}.webp": picture("WEBP", 256, 255)
        for code in codes
        if code != "1F1E6-1F1FD"
    }
    data, messages = json.dumps(ENTRIES), json.dumps({"groups": GROUPS})
    names = {"en/data.json": data.encode(), "en/messages.json": messages.encode()}
    names["de/data.json"] = b"[]"
    return {
        "noto": write_package(folder / "noto.tgz", noto | papers),
        "fluent": write_package(folder / "fluent.tgz", fluent | {"README.md": b"MIT"}),
        "names": write_package(folder / "names.tgz", names | papers),
    }


@pytest.fixture(scope="module")
def built(archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("emoji")
    counts = emoji_data.build(archives, folder)
    rows = []
    for split in ("train", "test"):
        path = folder / "parquet" / f"{split}-00000-of-00001.parquet"
        rows += [row | {"split": split} for row in parquet.read_table(path).to_pylist()]
    return folder, counts, rows


def test_captions_and_pictures(built):
    _, _, rows = built
    by_code = {(row["style"], row["code"]): row for row in rows}
    assert by_code["noto", "1f600"]["text_EN"] == "grinning face"
    assert by_code["noto", "1f600"]["tags"] == "joy, ha"
    assert by_code["noto", "1f1e6-1f1fd"]["text_EN"] == "flag of Åland Islands"
    assert by_code["noto", "1f1e6-1f1fd"]["group"] == "flags"
    assert by_code["fluent", "0023-20e3"]["text_EN"] == "keycap #"
    assert by_code["fluent", "1f3dd"]["img"]["path"] == "fluent_1f3dd.png"
    assert by_code["noto", "1f700-1f3ff"]["text_EN"] == "thing 0 with dark skin tone"
    for absent in ("1f3fb", "1f1e6", "1f601"):
        assert ("noto", absent) not in by_code
    assert ("fluent", "1f1e6-1f1fd") not in by_code
    with Image.open(io.BytesIO(by_code["noto", "1f600"]["img"]["bytes"])) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (32, 32))
        pixels = np.asarray(image.convert("RGB"))
    # What was transparent is white; around the edge, shrinking leaves its traces.
    assert (pixels[:, :12] == 255).all()
    assert (pixels[:, 20:] == (255, 0, 0)).all()


def test_captions_with_several_details():
    label = "kiss: man, man, light skin tone"
    assert emoji_data.caption(label) == "kiss with man, man and light skin tone"


def test_every_kind_withholds_what_it_says(built):
    _, counts, rows = built
    base = {
        emoji_data.normalised(each["hexcode"]): emoji_data.normalised(entry["hexcode"])
        for entry in ENTRIES
        for each in (entry, *entry.get("skins", []))
    }
    shown = {(row["style"], row["code"]) for row in rows if row["kind"] == "train"}
    shown_codes = {code for _, code in shown}
    shown_bases = {base[code] for code in shown_codes}
    assert sum(counts.values()) == len(rows)
    assert min(counts.values()) > 3, counts
    for row in rows:
        code, other = row["code"], {"noto": "fluent", "fluent": "noto"}[row["style"]]
        assert (row["kind"] == "train") == (row["split"] == "train")
        if row["kind"] == "style":
            assert (other, code) in shown
        if row["kind"] == "composition":
            assert code not in shown_codes
            assert code != base[code]
        if row["kind"] == "concept":
            assert base[code] not in shown_bases


def test_the_order_is_mixed_and_the_same_every_time(built, archives, tmp_path):
    folder, counts, rows = built
    styles = [row["style"] for row in rows]
    assert styles != sorted(styles)
    assert emoji_data.build(archives, tmp_path) == counts
    for path in sorted(folder.rglob("*.parquet")):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_licences_come_along(built):
    folder, _, _ = built
    assert (folder / "licences" / "@lobehub-fluent-emoji-3d" / "README.md").exists()
    assert (folder / "licences" / "emojibase-data" / "LICENSE").read_text() == "Do as you like"
    assert not list(folder.rglob("CHANGES.md"))
    notice = (folder / "licences" / "NOTICE.txt").read_text(encoding="utf-8")
    assert "emoji-datasource-google@16.0.0" in notice


def test_training_can_open_it(built):
    folder, counts, _ = built
    splits = open_dataset(folder)
    assert len(splits["train"]) + len(splits["validation"]) == counts["train"]
    assert splits["test"].open_image(0).size == (32, 32)
    assert splits["train"].tags is not None


@pytest.mark.skipif(os.name == "nt", reason="the program that plays npm is a shell script")
def test_packages_are_fetched_with_npm_pack(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(
        '#!/bin/sh\n[ "$1" = pack ] || exit 1\nfor last; do :; done\n'
        'case "$last" in *lobehub*) echo "no such package" >&2; exit 1;; esac\n'
        'touch "${last%@*}.tgz"; echo "${last%@*}.tgz"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(emoji_data.subprocess.CalledProcessError) as raised:
        emoji_data.download(tmp_path)
    assert "no such package" in raised.value.stderr
    monkeypatch.setitem(
        emoji_data.PACKAGES, "fluent", emoji_data.Package("fluent@1.0.0", "package/assets/")
    )
    found = emoji_data.download(tmp_path)
    assert {role: path.name for role, path in found.items()} == {
        "noto": "emoji-datasource-google.tgz",
        "fluent": "fluent.tgz",
        "names": "emojibase-data.tgz",
    }
    assert all(path.exists() for path in found.values())


def test_without_npm_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["emoji_data.py", str(tmp_path / "emoji")])
    with pytest.raises(SystemExit, match=r"npm is not installed; it comes with Node\.js"):
        emoji_data.main()
    assert not (tmp_path / "emoji").exists()
