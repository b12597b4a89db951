"""The notebooks run from top to bottom, and what is committed of them was run."""

import base64
import io
import pathlib

import numpy as np
import pytest
from paths import EXAMPLES
from PIL import Image

from clip_np.data import training_pairs
from clip_np.training import read_metrics

MISSING = "notebooks need nbclient, ipykernel and matplotlib; one of them is missing"
nbformat = pytest.importorskip("nbformat", reason=MISSING)
nbclient = pytest.importorskip("nbclient", reason=MISSING)
for needed in ("ipykernel", "matplotlib"):
    pytest.importorskip(needed, reason=MISSING)

NAMES = ("train", "predict")
DATA_LINE = 'task, preset = ShapesTask(seed=0), "tiny"'


def read(name: str):
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def execute(notebook, folder: pathlib.Path):
    """Run a notebook in `folder`; CellExecutionError where a cell raises."""
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    return notebook


def printed(notebook) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def pictures(notebook) -> list[Image.Image]:
    data = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return [Image.open(io.BytesIO(base64.b64decode(code))) for code in data]


@pytest.fixture
def few_steps(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP_NP_STEPS", "15")
    monkeypatch.setenv("CLIP_NP_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_both_run_one_after_the_other(few_steps):
    train = execute(read("train"), few_steps)
    assert len(pictures(train)) == 3
    assert "60,000 pairs to train on" in printed(train)
    assert read_metrics(few_steps / "run" / "metrics.jsonl")[-1]["step"] == 15
    saved = (few_steps / "run" / "checkpoint.npz").read_bytes()
    predict = execute(read("predict"), few_steps)
    assert len(pictures(predict)) == 2
    assert "right: " in printed(predict)
    assert (few_steps / "run" / "checkpoint.npz").read_bytes() == saved  # it was used, not trained


def test_one_line_changes_the_data(few_steps):
    data = few_steps / "data"
    data.mkdir()
    images, captions = training_pairs(120, np.random.default_rng(0))
    for number, (image, caption) in enumerate(zip(images, captions)):
        Image.fromarray(image).save(data / f"{number}.png")
        (data / f"{number}.txt").write_text(caption)
    for name in NAMES:  # the second finds the data in the run
        notebook = read(name)
        cells = [cell for cell in notebook.cells if DATA_LINE in cell.source]
        assert len(cells) == 1
        changed = f'task, preset = FilesTask({str(data)!r}), "tiny"'
        cells[0].source = cells[0].source.replace(DATA_LINE, changed)
        text = printed(execute(notebook, few_steps))
        assert {"train": "114 pairs to train on, 6 to", "predict": "6 test pictures"}[name] in text


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_one_was_run(name):
    path, notebook = EXAMPLES / f"{name}.ipynb", read(name)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len(pictures(notebook)) == {"train": 3, "predict": 2}[name]
    assert path.stat().st_size < 500_000
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in kinds
