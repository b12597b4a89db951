"""Build a real, small, freely licensed data set: 7,153 drawings of emoji with their names.

    python examples/emoji_data.py emoji
    clip-np train --data emoji

The drawings are Google's Noto Emoji and Microsoft's Fluent Emoji (3D), the names and keywords
those of Unicode's CLDR. All three come as npm packages, fetched with `npm pack` (npm is part of
Node.js, https://nodejs.org); parquet files need pyarrow, from the extra `data`. The licences of
the packages are copied beside the data.

A test split is worth something if it asks for more than memory. Three kinds of questions are
withheld from training, each by a hash of the emoji's code, so the splits never change:

    style        an emoji that training shows in the other style only
    composition  a skin tone of an emoji that training shows in other tones only
    concept      an emoji that training does not show at all
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
from typing import Any

from PIL import Image
from tqdm import tqdm

from clip_np.files import replace_file

# What is taken from a package: pictures of a style, or the names; and its licence papers.
PACKAGES = {
    "noto": ("emoji-datasource-google@16.0.0", "package/img/google/64/"),
    "fluent": ("@lobehub/fluent-emoji-3d@1.1.0", "package/assets/"),
    "names": ("emojibase-data@17.0.0", "package/en/"),
}
PAPERS = ("LICENSE", "README.md", "package.json")
STYLES = ("noto", "fluent")
SIZE, COLOURS = 32, 64  # pixels, and how many colours a picture may have
NOTICE = """Drawings of emoji with their names, built from three npm packages:

- {noto}: Noto Emoji, copyright Google, Apache License 2.0
  (https://www.apache.org/licenses/LICENSE-2.0)
- {fluent}: Fluent Emoji, copyright Microsoft, MIT licence
- {names}: names and keywords of Unicode CLDR, Unicode licence
  (https://www.unicode.org/license.txt), collected by emojibase, MIT licence

The pictures are changed: put on white, made smaller, reduced to {colours} colours. "flag: X" has
become "flag of X", "keycap: X" has become "keycap X" and "X: A, B" has become "X with A and B".
The folders beside this file hold what the packages say about their licences; whoever passes the
data on passes them on too.
"""


def download(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Fetch the packages into `folder` with `npm pack`; what each is for -> its archive."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed; it comes with Node.js, https://nodejs.org")
    archives = {}
    for role, (package, _) in PACKAGES.items():
        print(f"npm pack {package}", flush=True)
        command = [npm, "pack", "--silent", package]
        packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        archives[role] = folder / packed.stdout.split()[-1]
    return archives


def read_archive(path: pathlib.Path, inside: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files directly in the folder `inside`, and of the licence papers."""
    with tarfile.open(path) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            wanted = f"{folder}/" == inside or (folder == "package" and name in PAPERS)
            if member.isfile() and wanted:
                yield member.name, archive.extractfile(member).read()


def normalised(code: str) -> str:
    """An emoji's code points without the one that only asks for colour: "1F3DD-FE0F" -> "1f3dd"."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def caption(label: str) -> str:
    """CLDR's short name as a phrase: "kiss: man, man" -> "kiss with man and man"."""
    if label.startswith("flag: "):
        return "flag of " + label.removeprefix("flag: ")
    what, _, details = label.partition(": ")
    if what == "keycap":
        return f"keycap {details}"
    return f"{what} with {' and '.join(details.rsplit(', ', 1))}" if details else what


def read_names(files: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Code -> what is known about the emoji; a skin tone has the code of its `base`."""
    messages = json.loads(files["messages.json"])
    groups = {group["order"]: group["message"] for group in messages["groups"]}
    tones = {group["order"] for group in messages["groups"] if group["key"] == "component"}
    known = {}
    for emoji in json.loads(files["data.json"]):
        if emoji.get("group") not in groups.keys() - tones:  # colours and letters by themselves
            continue
        for each in (emoji, *emoji.get("skins", [])):
            known[normalised(each["hexcode"])] = {
                "text_EN": caption(each["label"]),
                "tags": ", ".join(emoji.get("tags", [])),
                "group": groups[emoji["group"]],
                "emoji": each["emoji"],
                "base": normalised(emoji["hexcode"]),
            }
    return known


def small_picture(content: bytes) -> bytes:
    """An encoded picture on white, SIZE x SIZE pixels in COLOURS colours: a PNG file."""
    with Image.open(io.BytesIO(content)) as image:
        drawing = image.convert("RGBA")
    paper = Image.new("RGBA", drawing.size, "white")
    paper.alpha_composite(drawing)
    small = paper.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.quantize(COLOURS).save(file, "PNG", optimize=True)
    return file.getvalue()


def share(question: str, code: str) -> float:
    """A number in [0, 1) that looks random and is the same everywhere."""
    return int(hashlib.sha1(f"{question}:{code}".encode()).hexdigest(), 16) / 2**160


def kind_of(style: str, code: str, base: str, in_both: bool) -> str:
    """Which question a picture belongs to, or "train"; in_both: it is there in both styles."""
    if share("concept", base) < 0.05:
        return "concept"
    if code != base and share("comp", code) < 0.1:
        return "composition"
    withheld = "noto" if share("which", base) < 0.5 else "fluent"
    if in_both and style == withheld and share("style", base) < 0.1:
        return "style"
    return "train"


def build_rows(archives: Mapping[str, pathlib.Path], papers: pathlib.Path) -> list[dict[str, Any]]:
    """All rows of the data set, in a fixed random order; the licence papers go to `papers`."""
    files: dict[str, dict[str, bytes]] = {role: {} for role in PACKAGES}
    for role, (package, inside) in PACKAGES.items():
        for path, content in read_archive(archives[role], inside):
            name = path.rpartition("/")[2]
            if path.startswith(inside):
                files[role][name] = content
            else:
                target = papers / package.rpartition("@")[0].replace("/", "-") / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    known = read_names(files["names"])
    pictures = {
        style: {normalised(name.partition(".")[0]): files[style][name] for name in files[style]}
        for style in STYLES
    }
    rows = []
    for style in STYLES:
        for code in tqdm(sorted(known.keys() & pictures[style].keys()), style):
            facts = dict(known[code])
            in_both = all(code in pictures[each] for each in STYLES)
            kind = kind_of(style, code, facts.pop("base"), in_both)
            picture = small_picture(pictures[style][code])
            image = {"bytes": picture, "path": f"{style}_{code}.png"}
            rows.append({"img": image, **facts, "style": style, "kind": kind, "code": code})
    return sorted(rows, key=lambda row: share("shuffle", row["img"]["path"]))


def write_parquet(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Write rows as the `datasets` library does, so that it too sees pictures and texts."""
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
    """Write parquet/train-..., parquet/test-... and licences/ into `folder`; rows of each kind."""
    papers = folder / "licences"
    papers.mkdir(parents=True, exist_ok=True)
    packages = {role: package for role, (package, _) in PACKAGES.items()}
    (papers / "NOTICE.txt").write_text(NOTICE.format(**packages, colours=COLOURS), "utf-8")
    rows = build_rows(archives, papers)
    (folder / "parquet").mkdir(exist_ok=True)
    splits = {"train": [row for row in rows if row["kind"] == "train"]}
    splits["test"] = [row for row in rows if row["kind"] != "train"]
    for split, chosen in splits.items():
        write_parquet(chosen, folder / "parquet" / f"{split}-00000-of-00001.parquet")
    kinds = [row["kind"] for row in rows]
    return {kind: kinds.count(kind) for kind in ("train", "style", "composition", "concept")}


def main() -> None:
    """Fetch, build, and say what was built."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
