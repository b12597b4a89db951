"""The pages that `python -m book` has made: links, and how they look in a browser.

These tests read build/book, and are skipped while it is not there. Those with a browser
are skipped without playwright and Chromium (tests/helpers/browser.py).
"""

import html.parser
import urllib.parse
from functools import cache
from pathlib import Path

import pytest
from browser import chromium, opened, overflow
from paths import ROOT

from book.graph import page_of, read_imports

SITE = ROOT / "build" / "book"
FEWEST_PAGES = 250
WIDTHS = (1400, 390)
KINDS = (
    "index", "README", "map", "exercises", "docs/figures", "docs/reading_order",
    "minigrad/ops/attention", "minigrad/tape", "clip_np/__init__", "clip_np/losses/contrastive",
    "examples/steps/step_06_attention", "examples/steps/step_11_embedding_space",
    "examples/exercises/problems/exercise_14_window", "api/minigrad", "api/clip_np", "search",
)  # fmt: skip
"""A page or two of each kind, looked at in dark and light. The others: in light."""

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the book is not there: python -m book makes it"
)


class Reader(html.parser.HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif values.get("src"):
            self.loaded.append(values["src"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(values["href"])


@cache
def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def pages() -> list[Path]:
    return sorted(SITE.rglob("*.html"))


def broken(page: Path, link: str) -> bool:
    """Whether a link leads to a file of the site, or an anchor, that is not there."""
    address = urllib.parse.urlsplit(link)
    if address.scheme or address.netloc:
        return False
    target = (page.parent / urllib.parse.unquote(address.path)) if address.path else page
    if not target.exists():
        return True
    anchor = urllib.parse.unquote(address.fragment)
    return bool(anchor) and target.suffix == ".html" and anchor not in read(target).anchors


# --- without a browser ---


def test_every_link_and_anchor_leads_somewhere():
    wrong = {
        str(page.relative_to(SITE)): links
        for page in pages()
        if (links := [link for link in read(page).links if broken(page, link)])
    }
    assert len(pages()) > FEWEST_PAGES
    assert wrong == {}


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<a href="#x" id="y">a</a>', encoding="utf-8")
    assert broken(page, "#x") and broken(page, "b.html") and broken(page, "a.html#x")
    assert not broken(page, "#y") and not broken(page, "https://example.org/#x")


def test_nothing_is_loaded_from_the_network():
    loaded = {address for page in pages() for address in read(page).loaded}
    assert {address for address in loaded if urllib.parse.urlsplit(address).netloc} == set()
    styles = [path.read_text(encoding="utf-8") for path in SITE.rglob("*.css")]
    assert not any("url(http" in style or "@import" in style for style in styles)
    wrong = {page: files for page in pages() if (files := missing(page))}
    assert wrong == {}


def missing(page: Path) -> list[str]:
    """What a page loads that is not there."""
    local = [link for link in read(page).loaded if not link.startswith("data:")]
    return [link for link in local if broken(page, link)]


def test_a_page_has_its_text_its_code_and_its_neighbours():
    text = (SITE / "minigrad" / "ops" / "attention.html").read_text(encoding="utf-8")
    assert "How does a token look at the other tokens?" in text
    assert 'href="../plain.html#attention"' in text  # the plain form
    assert 'id="self_attention"' in text
    assert 'rel="prev"' in text and 'rel="next"' in text
    step = (SITE / "examples" / "steps" / "step_06_attention.html").read_text(encoding="utf-8")
    assert "mg.attention agrees: True" in step
    step = (SITE / "examples" / "steps" / "step_07_patches.html").read_text(encoding="utf-8")
    assert "step_07_patches.png" in step


# --- in a browser ---


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def faults(browser, scheme: str, addresses: list[str]) -> list[str]:
    """What is wrong with pages in a browser: errors, and text wider than the window."""
    wrong: list[str] = []
    with opened(browser, SITE / "index.html", scheme=scheme) as window:
        for address in addresses:
            window.page.goto((SITE / f"{address}.html").as_uri())
            for width in WIDTHS:
                window.page.set_viewport_size({"width": width, "height": 900})
                if overflow(window.page) > 0:
                    wrong.append(f"{address}: wider than {width} pixels")
            wrong += [f"{address}: {complaint}" for complaint in window.complaints]
            window.complaints.clear()
        wrong += [address for address in window.asked if not address.startswith(("file:", "data:"))]
    return wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_kind_of_page_fits_and_has_no_error(browser, scheme):
    assert faults(browser, scheme, list(KINDS)) == []


def test_all_pages_fit_and_have_no_error(browser):
    names = [page.relative_to(SITE).with_suffix("").as_posix() for page in pages()]
    assert faults(browser, "light", [name for name in names if name not in KINDS]) == []


def test_a_page_that_is_too_wide_and_complains_is_noticed(browser, tmp_path):
    text = '<div style="width: 500px">x</div><script>console.error("no")</script>'
    (tmp_path / "wide.html").write_text(text, encoding="utf-8")
    with opened(browser, tmp_path / "wide.html", width=390) as window:
        assert overflow(window.page) > 0
        assert window.complaints == ["no"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_system(browser, scheme):
    with opened(browser, SITE / "minigrad" / "tape.html", scheme=scheme) as window:
        colours = window.page.evaluate(
            "['body', '.annotated .code'].map(s => getComputedStyle(document.querySelector(s)))"
            ".map(style => style.backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number))"
        )
    is_dark = [sum(colour) / 3 < 128 for colour in colours]
    assert is_dark == [scheme == "dark"] * 2


def boxes(page) -> list[list[float]]:
    """Left, top and right of the first text and the first code of a function."""
    return page.evaluate(
        "['.text', '.code'].map(s => document.querySelector('#_forward ' + s))"
        ".map(e => e.getBoundingClientRect()).map(box => [box.left, box.top, box.right])"
    )


def test_text_and_code_stand_side_by_side_where_there_is_room(browser):
    with opened(browser, SITE / "minigrad" / "ops" / "attention.html") as window:
        text, code = boxes(window.page)
        assert text[2] <= code[0] and abs(text[1] - code[1]) < 60
        window.page.set_viewport_size({"width": 390, "height": 900})
        text, code = boxes(window.page)
        assert text[0] == code[0] and text[1] < code[1]


def test_the_search_finds_a_name_without_a_network(browser):
    with opened(browser, SITE / "index.html") as window:
        window.page.goto((SITE / "search.html").as_uri() + "?q=cotangent")
        window.page.wait_for_selector("ul.search li a")
        addresses = window.page.eval_on_selector_all(
            "ul.search li a", "links => links.map(link => link.href)"
        )
        assert any("minigrad/" in address for address in addresses)
        assert window.complaints == []


def test_pointing_at_a_file_of_the_map_shows_what_it_uses(browser):
    with opened(browser, SITE / "map.html") as window:
        page = window.page
        page.hover("a[href='minigrad/tape.html']")
        uses = page.eval_on_selector_all("a.uses", "all => all.map(a => a.getAttribute('href'))")
        used = read_imports()["minigrad.tape"]
        assert set(uses) == {f"{page_of(module)}.html" for module in used}
        page.click("a[href='minigrad/tape.html']")
        page.wait_for_url("**/minigrad/tape.html")
