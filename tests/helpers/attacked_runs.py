"""Targets: what `embed` and `train` write, indexes and metrics."""

import json
import pathlib
import random

import numpy as np
from attacked_weights import WORDS, change_json, write_arrays
from attacks import change_numbers
from fuzz_files import change_bytes
from image_folders import untrained_run, write_first_format, write_photos

import clip_np
from clip_np.evaluation import build_index, html_page, read_index, search_index
from clip_np.files import read_npz
from clip_np.training import read_metrics


class Index:
    """index.npz, in either of its formats."""

    def __init__(self, folder: pathlib.Path, *, form: int, run: pathlib.Path | None = None) -> None:
        self.folder = folder
        self.path = folder / "index.npz"
        self.names = ["index.npz"]
        if run is None:
            untrained_run(run := folder / "run")
        self.model = clip_np.load(run)
        photos = write_photos(folder / "photos")
        index = build_index(self.path, [photos], *self.model[:2], str(run))
        if form == 1:
            write_first_format(self.path, index)
        self.original = self.path.read_bytes()
        self.arrays = read_npz(self.path)

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.4:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        arrays = dict(self.arrays)
        if rng.random() < 0.6:
            text = change_json(arrays["header"].tobytes(), rng)
            arrays["header"] = np.frombuffer(text, np.uint8)
        else:
            change_numbers(arrays, rng)
        write_arrays(self.path, arrays)

    def use(self) -> None:
        index = read_index(self.path)
        assert len(index.paths) == len(index)
        assert set(index.unreadable) <= set(index.files)
        try:
            matches = search_index(index, WORDS[0], *self.model)
        except ValueError as error:
            if "the index holds what another model saw" in str(error):
                return  # it may be right for that model
            raise
        marks = [(match.path, f"{match.cosine:.3f}") for match in matches]
        page = self.folder / "page.html"
        html_page(marks, page, title="", note="", may_open=index.may_open)


class Metrics:
    """metrics.jsonl, the diary of a run. Odd lines are left out, with a warning."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "metrics.jsonl"
        self.names = ["metrics.jsonl"]
        entry = {"seconds": 1.5, "loss": 5.0, "temperature": 14.2, "learning_rate": 1e-3}
        self.entries = [{"step": 10 * number, **entry} for number in range(6)]
        self.path.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        self.original = self.path.read_bytes()

    def damage(self, rng: random.Random) -> None:
        if rng.random() < 0.4:
            self.path.write_bytes(change_bytes(self.original, rng))
            return
        lines = [json.dumps(entry).encode() for entry in self.entries]
        for _ in range(rng.choice((1, 2, 6))):
            number = rng.randrange(len(lines))
            try:
                lines[number] = change_json(lines[number], rng)
            except (ValueError, RecursionError):  # it is no JSON any more
                lines[number] = change_bytes(lines[number], rng)
        self.path.write_bytes(b"\n".join(lines) + b"\n")

    def use(self) -> None:
        for entry in read_metrics(self.path):
            assert entry["step"] >= 0
            assert all(np.isfinite(float(value)) for value in entry.values())
