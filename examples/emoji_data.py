"""How is a small, real, freely licensed data set made?

This program builds one of 7,153 drawings of emoji with their names:

    python examples/emoji_data.py emoji
    clip-np train --data emoji

The drawings are Google's Noto Emoji and Microsoft's Fluent Emoji (3D). The names and
keywords come from Unicode's CLDR. All three are npm packages and are fetched with `npm
pack` (npm is part of Node.js, https://nodejs.org). To write parquet files takes
pyarrow, from the extra `data`. The licences of the packages are copied next to the
data.

A test split is worth something if it asks for more than memory. Three kinds of
questions are withheld from training. A hash of the emoji's code decides which, so the
splits never change:

    style          an emoji that training shows in the other style only
    composition    a skin tone of an emoji that training shows in other tones only
    concept        an emoji that training does not show at all
"""

import argparse
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from clip_np.files import replace_file


class Package(NamedTuple):
    """An npm package, and the folder in its archive whose files are wanted."""

    name: str
    folder: str


# What a package is for -> the package. Two are styles of pictures, one holds the names.
PACKAGES = {
    "noto": Package("emoji-datasource-google@16.0.0", "package/img/google/64/"),
    "fluent": Package("@lobehub/fluent-emoji-3d@1.1.0", "package/assets/"),
    "names": Package("emojibase-data@17.0.0", "package/en/"),
}
STYLES = ("noto", "fluent")
LICENCE_FILES = ("LICENSE", "README.md", "package.json")
SIZE = 32  # pixels, width and height
COLOURS = 64  # in a picture, at most

# Shares of the pictures that each kind of question withholds from training.
CONCEPT_SHARE = 0.05
COMPOSITION_SHARE = 0.1
STYLE_SHARE = 0.1
KINDS = ("train", "style", "composition", "concept")
NOTICE = """Drawings of emoji with their names, built from three npm packages:

- {noto}: Noto Emoji, copyright Google, Apache License 2.0
  (https://www.apache.org/licenses/LICENSE-2.0)
- {fluent}: Fluent Emoji, copyright Microsoft, MIT licence
- {names}: names and keywords of Unicode CLDR, Unicode licence
  (https://www.unicode.org/license.txt), collected by emojibase, MIT licence

The pictures are changed: put on white, made smaller, reduced to {colours} colours. "flag: X" has
become "flag of X", "keycap: X" has become "keycap X" and "X: A, B" has become "X with A and B".
The folders next to this file hold what the packages say about their licences; whoever passes the
data on passes them on too.
"""


def download(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Fetch the packages into `folder` with `npm pack`: role -> archive."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed; it comes with Node.js, https://nodejs.org")
    archives = {}
    for role, package in PACKAGES.items():
        print(f"npm pack {package.name}", flush=True)
        command = [npm, "pack", "--silent", package.name]
        packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        archives[role] = folder / packed.stdout.split()[-1]
    return archives


def read_archive(path: pathlib.Path, wanted_folder: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files directly in a folder, and of the licence files."""
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            is_licence = folder == "package" and name in LICENCE_FILES
            is_wanted = f"{folder}/" == wanted_folder or is_licence
            if member.isfile() and is_wanted:
                yield member.name, archive.extractfile(member).read()


def normalised(code: str) -> str:
    """The code points of an emoji, without the one that only asks for colour.

    >>> normalised("1F3DD-FE0F")
    '1f3dd'
    """
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def caption(label: str) -> str:
    """CLDR's short name as a phrase.

    >>> caption("kiss: man, man")
    'kiss with man and man'
    >>> caption("flag: Malta")
    'flag of Malta'
    """
    if label.startswith("flag: "):
        return "flag of " + label.removeprefix("flag: ")
    what, _, details = label.partition(": ")
    if what == "keycap":
        return f"keycap {details}"
    if details:
        return f"{what} with {' and '.join(details.rsplit(', ', 1))}"
    return what


def read_names(files: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Code -> what is known about the emoji. A skin tone has the code of its `base`."""
    messages = json.loads(files["messages.json"])
    groups = {group["order"]: group["message"] for group in messages["groups"]}
    tones = {group["order"] for group in messages["groups"] if group["key"] == "component"}
    known = {}
    for emoji in json.loads(files["data.json"]):
        if emoji.get("group") not in groups.keys() - tones:  # colours and letters by themselves
            continue
        for variant in (emoji, *emoji.get("skins", [])):
            known[normalised(variant["hexcode"])] = {
                "text_EN": caption(variant["label"]),
                "tags": ", ".join(emoji.get("tags", [])),
                "group": groups[emoji["group"]],
                "emoji": variant["emoji"],
                "base": normalised(emoji["hexcode"]),
            }
    return known


def small_picture(content: bytes) -> bytes:
    """An encoded picture as a small PNG file, on white and with few colours."""
    with Image.open(io.BytesIO(content), formats=["PNG", "WEBP", "JPEG"]) as image:
        drawing = image.convert("RGBA")
    paper = Image.new("RGBA", drawing.size, "white")
    paper.alpha_composite(drawing)
    small = paper.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.quantize(COLOURS).save(file, "PNG", optimize=True)
    return file.getvalue()


def share(question: str, code: str) -> float:
    """A number in [0, 1) that looks random and is the same on every computer.

    >>> round(share("concept", "1f600"), 3)
    0.972
    """
    digest = hashlib.sha1(f"{question}:{code}".encode()).hexdigest()
    return int(digest, 16) / 2**160


def kind_of(style: str, code: str, base: str, in_both: bool) -> str:
    """Which question a picture belongs to, or "train".

    base: the code without skin tone. in_both: the emoji is there in both styles.
    """
    if share("concept", base) < CONCEPT_SHARE:
        return "concept"
    if code != base and share("comp", code) < COMPOSITION_SHARE:
        return "composition"
    withheld_style = "noto" if share("which", base) < 0.5 else "fluent"
    if in_both and style == withheld_style and share("style", base) < STYLE_SHARE:
        return "style"
    return "train"


def unpack(archives: Mapping[str, pathlib.Path], licences: pathlib.Path) -> dict[str, dict]:
    """Role of each package -> its wanted files by name. Licences go to a folder."""
    files: dict[str, dict[str, bytes]] = {role: {} for role in PACKAGES}
    for role, package in PACKAGES.items():
        folder_name = package.name.rpartition("@")[0].replace("/", "-")
        for path, content in read_archive(archives[role], package.folder):
            name = path.rpartition("/")[2]
            if path.startswith(package.folder):
                files[role][name] = content
            else:
                target = licences / folder_name / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    return files


def build_rows(
    archives: Mapping[str, pathlib.Path], licences: pathlib.Path
) -> list[dict[str, Any]]:
    """All rows of the data set, in a fixed random order. Licences go to a folder."""
    files = unpack(archives, licences)
    known = read_names(files["names"])
    pictures = {
        style: {normalised(name.partition(".")[0]): files[style][name] for name in files[style]}
        for style in STYLES
    }
    rows = []
    for style in STYLES:
        for code in tqdm(sorted(known.keys() & pictures[style].keys()), style):
            facts = dict(known[code])
            base = facts.pop("base")
            in_both = code in pictures["noto"] and code in pictures["fluent"]
            image = {"bytes": small_picture(pictures[style][code]), "path": f"{style}_{code}.png"}
            kind = kind_of(style, code, base, in_both)
            rows.append({"img": image, **facts, "style": style, "kind": kind, "code": code})
    return sorted(rows, key=lambda row: share("shuffle", row["img"]["path"]))


def write_parquet(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Write rows as the `datasets` library does, so that it sees pictures and texts."""
    import pyarrow
    import pyarrow.parquet

    texts = ("text_EN", "tags", "group", "style", "kind", "emoji", "code")
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("img", image), *((name, pyarrow.string()) for name in texts)])
    features = {name: {"dtype": "string", "_type": "Value"} for name in texts}
    features = {"img": {"_type": "Image"}, **features}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with replace_file(path) as file:
        table = pyarrow.Table.from_pylist(rows, schema)
        pyarrow.parquet.write_table(table, file, compression="zstd")


def build(archives: Mapping[str, pathlib.Path], folder: pathlib.Path) -> dict[str, int]:
    """Write the data set into `folder`; the number of rows of each kind.

    It writes parquet/train-..., parquet/test-... and licences/.
    """
    licences = folder / "licences"
    licences.mkdir(parents=True, exist_ok=True)
    package_names = {role: package.name for role, package in PACKAGES.items()}
    notice = NOTICE.format(**package_names, colours=COLOURS)
    (licences / "NOTICE.txt").write_text(notice, "utf-8")
    rows = build_rows(archives, licences)
    splits = {
        "train": [row for row in rows if row["kind"] == "train"],
        "test": [row for row in rows if row["kind"] != "train"],
    }
    (folder / "parquet").mkdir(exist_ok=True)
    for split, rows_of_split in splits.items():
        write_parquet(rows_of_split, folder / "parquet" / f"{split}-00000-of-00001.parquet")
    kinds = [row["kind"] for row in rows]
    return {kind: kinds.count(kind) for kind in KINDS}


def main() -> None:
    """Fetch, build, and say what was built."""
    parser = argparse.ArgumentParser(
        description="Build a data set of 7,153 drawings of emoji with their names."
    )
    parser.add_argument("folder", type=pathlib.Path, help="where to put the data set")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        try:
            counts = build(download(pathlib.Path(scratch)), folder)
        except subprocess.CalledProcessError as error:
            sys.exit(f"npm pack failed: {error.stderr.strip() or error.returncode}")
        except (OSError, ImportError) as error:
            sys.exit(f"emoji_data: {error}")
    print(f"{folder}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    print(f"train on it with: clip-np train --data {folder}")


if __name__ == "__main__":
    main()
