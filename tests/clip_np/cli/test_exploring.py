"""`clip-np explore`: whose images the page shows, and what is said where it cannot."""

import pathlib
import shutil

import pytest
from command_line import SHORT, fail, report_of, run, untrained
from exploring import data_of_page


def page_of(path: str) -> dict:
    return data_of_page(pathlib.Path(path).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("no_pictures", "few_test_shapes")
def test_a_run_of_shapes(capsys):
    run(capsys, "train", "--out", "run", *SHORT)
    output, errors = run(capsys, "explore", "run", "--images", 7, "--json")
    report = report_of(output)
    assert report["page"] == "explore.html" and report["images"] == 7
    assert report["bytes"] == pathlib.Path("explore.html").stat().st_size
    assert "page: explore.html, 0." in errors and "MB" in errors
    data = page_of("explore.html")
    assert len(data["thumbnails"]) == 7 and len(data["captions"]) == report["captions"]
    loss, recall = data["charts"]
    assert [line["name"] for line in recall["lines"]] == ["recall", "chance"]
    assert "knows nothing" in [line["name"] for line in loss["lines"]]
    text = pathlib.Path("explore.html").read_text(encoding="utf-8")
    assert "<h1>Explorer: run</h1>" in text and "7 images and " in text


@pytest.mark.usefixtures("no_pictures")
def test_a_run_on_files_shows_what_was_held_out(capsys, photos):
    run(capsys, "train", "--data", photos, "--out", "run", *SHORT, "--text", "bert")
    run(capsys, "explore", "run", "--out", "page.html")
    names = page_of("page.html")["names"]
    assert {pathlib.Path(name).name for name in names} == {f"{row}.png" for row in range(12)}
    moved = photos.rename("moved")
    assert "photos" in fail(capsys, "explore", "run")
    run(capsys, "explore", "run", "--data", moved, "--out", "page.html")
    assert page_of("page.html")["names"][0].startswith("moved")


@pytest.mark.usefixtures("no_pictures")
def test_any_model_on_other_data(capsys, photos):
    untrained("run")
    output, _ = run(capsys, "explore", "run", "--data", photos, "--json")
    assert report_of(output)["images"] == 12
    assert page_of("explore.html")["charts"] == []  # no log
    run(capsys, "convert", "run", "published")
    output, _ = run(capsys, "explore", "published", "--data", photos, "--images", 3, "--json")
    assert report_of(output)["images"] == 3


def test_the_page_does_not_replace_the_run(capsys):
    untrained("run")
    before = pathlib.Path("run/checkpoint.npz").read_bytes()
    text = fail(capsys, "explore", "run", "--out", "./run/checkpoint.npz")
    assert "./run/checkpoint.npz: is read for this, and would be replaced" in text
    assert pathlib.Path("run/checkpoint.npz").read_bytes() == before


def test_what_is_wrong_is_said(capsys, photos):
    untrained("run")
    assert "names no data to measure on; pass --data PATH" in fail(capsys, "explore", "run")
    assert "nowhere" in fail(capsys, "explore", "nowhere")
    data = ("--data", photos)
    assert "--images is 0, expected 1 to 400" in fail(
        capsys, "explore", "run", *data, "--images", 0
    )
    (photos / "3.png").write_bytes(b"no image")
    assert "3.png: cannot be read" in fail(capsys, "explore", "run", *data)
    assert "missing/page.html" in fail(
        capsys, "explore", "run", *data, "--skip-bad", "--out", "missing/page.html"
    )
    assert not pathlib.Path("explore.html").exists()
    with pytest.warns(UserWarning, match="1 unreadable"):
        run(capsys, "explore", "run", *data, "--skip-bad")
    assert len(page_of("explore.html")["names"]) == 11


def test_a_damaged_log_is_no_reason_to_stop(capsys, photos):
    untrained("run")
    pathlib.Path("run", "metrics.jsonl").write_bytes(b'{"step": 10, "loss": 2.0}\n{"ste')
    run(capsys, "explore", "run", "--data", photos)
    (chart, _) = page_of("explore.html")["charts"]
    assert chart["lines"] == [{"name": "training", "points": [[10, 2.0]]}]
    shutil.rmtree("run")
    assert "run" in fail(capsys, "explore", "run", "--data", photos)
