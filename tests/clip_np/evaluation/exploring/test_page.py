"""The page of the explorer: one file, no network, and words that stay words."""

import base64
import configparser
import hashlib
import html.parser
import math
import re
from importlib.resources import files
from pathlib import PurePath

import pytest
from exploring import data_of_page, small
from paths import ROOT

from clip_np.evaluation import Chart, Line
from clip_np.evaluation.exploring import explore, explorer_page
from clip_np.evaluation.exploring.page import SCRIPTS

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{title}<!--\x1b[2J\u202e"
CHART = Chart("Loss", [Line("training", [(0.0, 5.0), (10.0, 2.0)]), Line("none", [])])


class Page(html.parser.HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def exploration():
    return explore(*small(), count=5)


def write(folder, exploration, title="a run", charts=(CHART,)) -> str:
    path = explorer_page(folder / "page.html", exploration, title, "a note", charts)
    return path.read_text(encoding="utf-8")


def test_the_page_holds_the_numbers(tmp_path, exploration):
    data = data_of_page(write(tmp_path, exploration))
    assert data["captions"] == exploration.captions
    assert data["cosines"] == exploration.cosines.astype(float).round(4).tolist()
    assert data["captionOf"] == exploration.caption_of.tolist()
    assert (
        data["nearest"]["image"]["captions"]["rows"] == exploration.image_to_captions.rows.tolist()
    )
    assert data["imageAttention"]["shape"] == [5, 2, 2, 17]
    assert len(base64.b64decode(data["imageAttention"]["shares"])) == 5 * 2 * 2 * 17
    assert [line["name"] for line in data["charts"][0]["lines"]] == ["training"]


def test_points_without_a_value_are_left_out(tmp_path, exploration):
    chart = Chart("Loss", [Line("training", [(0.0, math.nan), (1.0, 2.0), (2.0, math.inf)])])
    (drawn,) = data_of_page(write(tmp_path, exploration, charts=[chart]))["charts"]
    assert drawn["lines"] == [{"name": "training", "points": [[1.0, 2.0]]}]


def test_the_page_needs_nobody(tmp_path, exploration):
    text = write(tmp_path, exploration)
    page = Page(text)
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset", "data")
    ]
    assert addresses == ["data:,"]  # no icon is asked for
    allowed = ("http://www.w3.org/2000/svg",)  # a name, not an address
    found = [word for word in re.findall(r"https?:[^\s\"'`)]+", text) if word not in allowed]
    assert found == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", text)
    assert all(picture.startswith("data:image/") for picture in data_of_page(text)["thumbnails"])


def test_the_policy_names_the_script_and_the_style_and_nothing_else(tmp_path, exploration):
    written = write(tmp_path, exploration)
    page = Page(written)
    (policy,) = [
        meta["content"]
        for meta in page.attributes("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    _, script = re.findall(r"<script[^>]*>(.*?)</script>", written, re.S)  # after the numbers
    (style,) = re.findall(r"<style>(.*?)</style>", written, re.S)
    for name, text in (("script-src", script), ("style-src", style)):
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        assert rules[name] == f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
    # Nothing but the encoding stands before it: the policy holds for what comes after.
    assert [tag for tag, _ in page.tags][:4] == ["html", "head", "meta", "meta"]


def test_words_of_strangers_stay_words(tmp_path, exploration):
    plain = Page(write(tmp_path, exploration))
    evil = exploration._replace(
        captions=[f"{caption} {EVIL}" for caption in exploration.captions],
        names=[EVIL for _ in exploration.names],
        text_attention=[
            caption._replace(words=[EVIL for _ in caption.words])
            for caption in exploration.text_attention
        ],
    )
    chart = Chart(EVIL, [Line(EVIL, [(1.0, 1.0)])])
    text = write(tmp_path, evil, title=EVIL, charts=[chart])
    page = Page(text)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert "\x1b" not in text and "\u202e" not in text
    data = data_of_page(text)
    told = EVIL.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert data["names"][0] == told and data["captions"][0].endswith(told)
    assert data["textAttention"][0]["words"][0] == told
    assert data["charts"][0]["title"] == told


def test_half_a_character_in_a_file_name_can_be_written(tmp_path, exploration):
    odd = exploration._replace(names=["caf\udce9.png"] * 5)
    assert data_of_page(write(tmp_path, odd))["names"][0] == "caf\udce9.png"


def test_the_scripts_make_no_html_of_words():
    """Words are put on the page as text: the ways in which a string becomes markup are
    not used."""
    folder = files("clip_np.evaluation.exploring")
    for name in SCRIPTS:
        script = folder.joinpath("scripts", name).read_text(encoding="utf-8")
        ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|\.style ="
        assert not re.search(ways, script), name
        # A script that ends its own block, or opens a comment, would not be a script.
        assert not re.search(r"</script|<!--", script, re.I)
        assert len(script.splitlines()) <= 400
        assert re.search(r"^(\"use strict\";\n\n)?/\* [^*]+\?\n", script), "no question opens it"


def test_every_script_is_on_the_page_and_in_the_folder():
    folder = files("clip_np.evaluation.exploring").joinpath("scripts")
    assert sorted(SCRIPTS) == sorted(path.name for path in folder.iterdir())


def test_all_files_of_the_page_are_in_a_wheel():
    """setup.cfg names what is no Python."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = configuration["options.package_data"]["clip_np"].split()
    folder = ROOT / "clip_np" / "evaluation" / "exploring"
    for path in [*folder.glob("*.html"), *folder.glob("*.css"), *folder.rglob("*.js")]:
        name = PurePath(path.relative_to(ROOT / "clip_np"))
        assert any(name.match(pattern) for pattern in patterns), name


def test_a_failed_page_leaves_the_old_one(tmp_path, exploration):
    write(tmp_path, exploration)
    before = (tmp_path / "page.html").read_bytes()
    broken = exploration._replace(gap=math.nan)
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, broken)
    assert (tmp_path / "page.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
