"""A headless Chromium for tests of pages, or the reason why there is none.

The package `playwright` drives it. The program itself is the system's, or the one that
`playwright install chromium` downloads. `.ci/run` installs both where that works.
"""

import contextlib
import importlib.util
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 15_000  # milliseconds, until something on a page is taken for missing
REASON = "needs the package playwright and Chromium: see tests/helpers/browser.py"


class Opened(NamedTuple):
    """A page in the browser, what it complained of, and the addresses that it asked."""

    page: Any
    complaints: list[str]
    asked: list[str]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped if there is none."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip(REASON)
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None and not pathlib.Path(playwright.chromium.executable_path).exists():
            pytest.skip(REASON)
        try:
            browser = playwright.chromium.launch(executable_path=program)
        except Error as error:  # a library of the system is missing
            pytest.skip(f"Chromium does not start: {error}")
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Any, path: pathlib.Path, width: int = 1400, scheme: str = "light"
) -> Iterator[Opened]:
    """A file in a window of its own, that wide, in the light or the dark scheme."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    result = Opened(page, complaints=[], asked=[])
    page.on("console", lambda message: _note(result, message))
    page.on("pageerror", lambda error: result.complaints.append(str(error)))
    page.on("request", lambda request: result.asked.append(request.url))
    page.goto(path.absolute().as_uri())
    try:
        yield result
    finally:
        context.close()


def _note(result: Opened, message: Any) -> None:
    if message.type in ("error", "warning"):
        result.complaints.append(message.text)


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    root = "document.documentElement"
    pixels: int = page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    return pixels


def contrast(page: Any, one: str, other: str) -> float:
    """The contrast of two colours of the page's style, from 1 to 21 (WCAG 2.2)."""

    def luminance(name: str) -> float:
        text = page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()",
            f"--{name}",
        )
        channels = [int(text[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        red, green, blue = linear
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
