"""The report of a run: complete, in one file, and no word from outside is markup."""

import html.parser
import json
import pathlib
import re

import pytest
from command_line import SHORT, run

from clip_np.cli.reporting import write_report
from clip_np.training import METRICS, REPORT
from clip_np.training.description import DESCRIPTION, read_description
from clip_np.weights import read_checkpoint


class Page(html.parser.HTMLParser):
    """The tags, the words and the addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.words += data + " "


def page_of(folder: str) -> Page:
    return Page(pathlib.Path(folder, REPORT).read_text(encoding="utf-8"))


def test_a_run_writes_its_report(capsys, photos, no_pictures):
    _, errors = run(capsys, "train", "--data", photos, "--out", "here", *SHORT)
    assert f"report: {pathlib.Path('here', REPORT)}" in errors
    page = page_of("here")
    for words in ("Figures on the test split, 12 pairs", "recall at 1", "chance", "batch_size"):
        assert words in page.words
    low, high = read_description(pathlib.Path("here"))["intervals"]["recall_at_1"]
    assert f"{low:.3g} to {high:.3g}" in page.words
    for words in ("knows nothing", "numpy", "python", "training_pairs", str(photos)):
        assert words in page.words
    assert page.tags.count("svg") == 2
    assert page.tags.count("polyline") >= 5


def test_the_report_needs_no_network_and_no_other_file(capsys, photos):
    pytest.importorskip("matplotlib")
    run(capsys, "train", "--data", photos, "--out", "here", *SHORT)
    page = page_of("here")
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:", page.words)


def test_plot_writes_the_report_again_with_its_figures(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, "--out", "here", *SHORT)
    before = pathlib.Path("here", REPORT).read_bytes()
    pathlib.Path("here", REPORT).unlink()
    run(capsys, "plot", "here", status=1)  # without matplotlib there is no picture
    assert pathlib.Path("here", REPORT).read_bytes() == before


def test_words_from_files_are_no_markup(tmp_path):
    evil = "<script>alert(1)</script>\x1b[31m\" onload='x'"
    description = {
        "options": {evil: evil},
        "data": {"measured_on": evil, "path": [evil, {"a": evil}]},
        "versions": {"numpy": evil},
        "figures": {evil: evil, "recall_at_1": 1.0},
        "chance": {"recall_at_1": 1},
        "intervals": {evil: [evil, None], "recall_at_1": 0},
    }
    (tmp_path / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    (tmp_path / METRICS).write_text('{"step": 0, "loss": 0}\n{"step": 0, "loss": 1e308}\n')
    write_report(tmp_path)
    page = page_of(str(tmp_path))
    assert not {"script", "onload"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.words
    assert "\x1b" not in page.words
    assert "1: says nothing" in page.words


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"options": 1}' + b" " * 2**21]
)
def test_a_damaged_description_is_named(tmp_path, content):
    (tmp_path / DESCRIPTION).write_bytes(content)
    with pytest.raises(ValueError, match=DESCRIPTION):
        read_description(tmp_path)


def test_sections_of_another_kind_are_left_out(tmp_path):
    (tmp_path / DESCRIPTION).write_text('{"options": 1, "data": {"path": "x"}, "more": {}}')
    assert read_description(tmp_path) == {"data": {"path": "x"}}


def test_an_early_run_has_no_description(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 10, "loss": 2.0}\n', encoding="utf-8")
    write_report(tmp_path)
    page = page_of(str(tmp_path))
    assert "10 steps" in page.words
    assert page.tags.count("svg") == 1


def test_what_a_run_was_made_of_stands_beside_it(capsys, photos, no_pictures):
    run(capsys, "train", "--data", photos, "--out", "here", *SHORT)
    description = read_description(pathlib.Path("here"))
    assert description["options"]["batch_size"] == 16
    assert description["data"]["path"] == str(photos.resolve())
    assert description["data"]["training_pairs"] == 27
    checkpoint = read_checkpoint("here")
    assert description["data"]["checksum"] == checkpoint.training["data"]["checksum"]
    names = {"minigrad-clip", "numpy", "python", "Pillow", "system", "processor"}
    assert set(description["versions"]) == names
    assert re.search(r"\w+, \d+ cores$", description["versions"]["processor"])
    assert 0 < description["chance"]["recall_at_1"] < description["chance"]["recall_at_5"] <= 1
