"""Targets: tables, tars, parquet files and saved sets."""

import csv
import io
import json
import pathlib
import random
import shutil
import tarfile

import pyarrow
import pyarrow.parquet
from attacked_pictures import TEXTS, encoded, noise
from attacked_weights import change_json
from attacks import repeated
from fuzz_files import change_bytes, change_value

from clip_np.data import open_dataset


def use_pairs(path: pathlib.Path) -> None:
    """Open a set, and read all captions and images in it."""
    for pairs in open_dataset(path, validation_fraction=0.25).values():
        assert len(pairs.captions) == len(pairs.names) == len(pairs)
        for row in range(len(pairs)):
            assert isinstance(pairs.captions[row], str)
            assert pairs.open_image(row).mode == "RGB"


class Table:
    """captions.csv, with the pictures next to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "captions.csv"
        self.names = ["captions.csv", str(folder)]
        self.rows = [["file_name", "caption", "split", "tags"]]
        for number, text in enumerate(TEXTS):
            noise().save(folder / f"{number}.png")
            self.rows.append([f"{number}.png", text, "train", "fur, pet"])
        self.write(self.rows)
        self.original = self.path.read_bytes()

    def write(self, rows: list[list[str]]) -> None:
        with open(self.path, "w", encoding="utf-8", newline="", errors="surrogatepass") as file:
            csv.writer(file, escapechar="\\").writerows(rows)

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        rows = repeated(change_value, [list(row) for row in self.rows], rng)
        rows = rows if isinstance(rows, list) else [rows]
        self.write([row if isinstance(row, list) else [row] for row in rows])

    def use(self) -> None:
        use_pairs(self.folder)


class JsonLines(Table):
    """metadata.jsonl, with the pictures next to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "metadata.jsonl"
        self.names = ["metadata.jsonl", str(folder)]
        for number in range(len(TEXTS)):
            noise().save(folder / f"{number}.png")
        self.objects = [
            {"file_name": f"{number}.png", "text": [text, "other"], "split": "train"}
            for number, text in enumerate(TEXTS)
        ]
        lines = "".join(json.dumps(item) + "\n" for item in self.objects)
        self.path.write_text(lines, encoding="utf-8")
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        objects = repeated(change_value, json.loads(json.dumps(self.objects)), rng)
        lines = objects if isinstance(objects, list) else [objects]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))


class Coco(Table):
    """annotations/captions_train.json, and the pictures in a folder beside it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "annotations").mkdir()
        (folder / "train").mkdir()
        self.path = folder / "annotations" / "captions_train.json"
        self.names = ["captions_train.json", str(folder)]
        for number in range(len(TEXTS)):
            noise().save(folder / "train" / f"{number}.png")
        self.content = {
            "info": {"year": [2014]},
            "images": [{"id": n, "file_name": f"{n}.png"} for n in range(len(TEXTS))],
            "annotations": [{"image_id": n, "caption": text} for n, text in enumerate(TEXTS)],
        }
        self.path.write_text(json.dumps(self.content), encoding="utf-8")
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        content = repeated(change_value, json.loads(json.dumps(self.content)), rng)
        self.path.write_text(json.dumps(content))


class Tar:
    """A shard of webdataset, in one of the forms of tar."""

    def __init__(self, folder: pathlib.Path, *, form: int) -> None:
        self.folder = folder
        self.path = folder / "00000.tar"
        self.names = ["00000.tar", str(folder)]
        with tarfile.open(self.path, "w", format=form) as file:
            for number, text in enumerate(TEXTS):
                is_long = number % 2 and form != tarfile.USTAR_FORMAT
                key = f"{number:09}" + "é" * (99 if is_long else 9)
                notes = json.dumps({"caption": text, "tags": ["fur"]}).encode()
                contents = {"png": encoded(), "txt": text.encode(), "json": notes}
                for ending, content in contents.items():
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        """Change bytes; of a header, its checksum is put right again."""
        if rng.random() < 0.3:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        content = bytearray(self.original)
        for _ in range(rng.choice((1, 1, 2, 4))):
            start = 512 * rng.randrange(len(content) // 512)
            field, length = rng.choice(
                [(0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (0, 512)]
            )
            place = start + field + rng.randrange(length)
            value = rng.choice((0, 47, 46, 48, 49, 50, 55, 76, 83, 103, 120, 128, 255))
            content[place] = value
            header = content[start : start + 512]
            total = sum(header) - sum(header[148:156]) + 8 * 32
            if header[257:262] == b"ustar":
                content[start + 148 : start + 156] = b"%06o\0 " % total
        self.path.write_bytes(bytes(content))

    def use(self) -> None:
        use_pairs(self.folder)


COLUMN_TYPES = ["string", "binary", "large_string", "int64", "float64", "bool", "null", "date32"]


class Parquet:
    """A parquet file that holds its pictures."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "a.parquet"
        self.names = ["a.parquet", str(folder)]
        self.columns = {
            "image": [{"bytes": encoded(), "path": None}] * len(TEXTS),
            "caption": [[text, "other"] for text in TEXTS],
            "tags": ["fur, pet"] * len(TEXTS),
        }
        pyarrow.parquet.write_table(pyarrow.table(self.columns), self.path)
        self.original = self.path.read_bytes()
        self.footer = int.from_bytes(self.original[-8:-4], "little")

    def damage(self, rng: random.Random) -> None:
        match rng.randrange(4):
            case 0:
                self.path.write_bytes(change_bytes(self.original, rng))
            case 1:  # the table of contents, with its right length
                end = len(self.original) - 8
                start = end - self.footer
                footer = change_bytes(self.original[start:end], rng)
                length = len(footer).to_bytes(4, "little")
                self.path.write_bytes(self.original[:start] + footer + length + b"PAR1")
            case 2:  # what is in front of it: headers of pages, and pages
                start = len(self.original) - 8 - self.footer
                self.path.write_bytes(
                    change_bytes(self.original[:start], rng)[:start].ljust(start, b"\0")
                    + self.original[start:]
                )
            case _:
                self.write_other_values(rng)

    def write_other_values(self, rng: random.Random) -> None:
        """A file that is right, with other types and values in it."""
        columns = {name: list(cells) for name, cells in self.columns.items()}
        name = rng.choice(list(columns))
        if rng.random() < 0.5:
            columns[name] = repeated(change_value, json.loads(json.dumps(TEXTS)), rng)
        else:
            columns[rng.choice(["image", "split", "x", "path"])] = columns.pop(name)
        try:
            arrays = {
                name: pyarrow.array(cells, rng.choice(COLUMN_TYPES) if rng.random() < 0.2 else None)
                for name, cells in columns.items()
            }
            pyarrow.parquet.write_table(
                pyarrow.table(arrays),
                self.path,
                compression=rng.choice(("none", "snappy", "zstd", "gzip")),
                use_dictionary=rng.random() < 0.5,
                row_group_size=rng.choice((1, 2, 100)),
            )
        except (pyarrow.ArrowException, TypeError, OverflowError, ValueError):
            self.path.write_bytes(change_bytes(self.original, rng))  # no such column exists

    def use(self) -> None:
        use_pairs(self.path)


class SavedSet:
    """A folder that the `datasets` library saved: Arrow and JSON files."""

    def __init__(self, folder: pathlib.Path) -> None:
        import datasets

        self.folder = folder
        self.path = folder / "set"
        self.names = ["set"]
        features = datasets.Features(
            {"image": datasets.Image(), "caption": datasets.Value("string")}
        )
        cells = {"image": [{"bytes": encoded(), "path": None}] * 4, "caption": TEXTS}
        datasets.Dataset.from_dict(cells, features=features).save_to_disk(self.path)
        self.originals = {path.name: path.read_bytes() for path in self.path.iterdir()}

    def damage(self, rng: random.Random) -> None:
        name = rng.choice(list(self.originals))
        for other, content in self.originals.items():
            (self.path / other).write_bytes(content)
        change = change_json if name.endswith(".json") else change_bytes
        (self.path / name).write_bytes(change(self.originals[name], rng))
        for path in self.path.iterdir():
            if path.name not in self.originals:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def use(self) -> None:
        use_pairs(self.path)
