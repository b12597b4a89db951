"""The explorer in a browser: what is pointed at is told, what is clicked is chosen."""

import re

import numpy as np
import pytest
from browser import chromium, contrast, opened, overflow
from exploring import data_of_page, small

from clip_np.evaluation import Chart, Line
from clip_np.evaluation.exploring import explore, explorer_page

CURVES = [
    Chart("Loss", [Line("training", [(10, 5.0), (20, 3.0)]), Line("knows nothing", [(10, 5.1)])]),
    Chart("Recall", [Line("recall", [(10, 0.1), (20, 0.4)]), Line("chance", [(10, 0.01)])]),
]
EVIL = '</script><img src=x onerror="window.hacked = 1"><b>bold</b>'


@pytest.fixture(scope="module")
def browser():
    with chromium() as program:
        yield program


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def exploration():
    return explore(*small(count=12), count=12)


@pytest.fixture(scope="module")
def path(folder, exploration):
    return explorer_page(folder / "page.html", exploration, "Explorer: a run", "Test.", CURVES)


@pytest.fixture(scope="module")
def data(path):
    return data_of_page(path.read_text(encoding="utf-8"))


@pytest.fixture
def window(browser, path):
    """The page in a wide window; at the end nobody was asked and nothing went wrong."""
    with opened(browser, path) as result:
        result.page.wait_for_selector("#pair img")
        yield result
        assert result.complaints == []
        assert {address.partition(":")[0] for address in result.asked} <= {"file", "data"}


def near(numbers, expected) -> bool:
    """Whether shares are those that were packed as bytes."""
    return np.allclose(numbers, np.asarray(expected).ravel(), atol=1 / 255)


def test_the_scripts_read_the_shares_that_were_computed(window, exploration):
    page = window.page
    looks = exploration.image_attention
    for image, layer, head in ((0, 0, 0), (3, 1, 0), (11, 0, 1)):
        shares = looks.shares[image, layer]
        row = f"[...sharesShown({image}, {layer}, {head})]"
        assert near(page.evaluate(row), shares[head])
        mean = f"[...sharesShown({image}, {layer}, 2)]"
        assert near(page.evaluate(mean), shares.mean(axis=0))
    assert near(page.evaluate("sharesShown(5, 2, 2).slice(1)"), looks.rollout[5])
    for caption, layer, head, asking in ((0, 0, 0, 2), (7, 1, 1, 4), (9, 1, 0, 1)):
        shares = exploration.text_attention[caption].shares[layer]
        place = f"{caption}, {layer}, {head}, {asking}"
        assert near(page.evaluate(f"wordShares({place})"), shares[head, asking])
        place = f"{caption}, {layer}, 2, null"  # all heads, all tokens
        assert near(page.evaluate(f"wordShares({place})"), shares.mean(axis=(0, 1)))


def words_of(page, selector: str) -> str:
    return page.locator(selector).inner_text()


def cell(page, image: int, caption: int) -> dict[str, float]:
    """The middle of a cell of the matrix, inside of the canvas."""
    width = page.evaluate("cellSize()")
    row = page.evaluate(f"rowOrder.indexOf({image})")
    column = page.evaluate(f"columnOrder.indexOf({caption})")
    return {"x": (column + 0.5) * width, "y": (row + 0.5) * width}


@pytest.mark.parametrize("order", ["map", "data"])
def test_a_cell_tells_its_pair(window, data, order):
    page = window.page
    page.select_option("#order", order)
    image, caption = 4, 7
    page.hover("#matrix", position=cell(page, image, caption))
    told = words_of(page, "#pair")
    assert data["captions"][caption] in told
    assert f"similarity {data['cosines'][image][caption]:.3f}" in told
    assert f"no. {data['captionRanks'][image][caption]} of 12 captions" in told
    assert f"no. {data['imageRanks'][image][caption]} of 12 pictures" in told
    assert page.get_attribute("#pair img", "src") == data["thumbnails"][image]
    columns = page.evaluate("columnOrder")
    if order == "map":  # along the first axis, a caption below its picture
        along = [data["planes"]["centred"]["images"][row][0] for row in page.evaluate("rowOrder")]
        assert along == sorted(along)
    else:
        assert columns == list(range(12))
    page.focus("#matrix")
    page.keyboard.press("ArrowRight")
    right = columns[min(columns.index(caption) + 1, 11)]
    assert data["captions"][right] in words_of(page, "#pair")
    page.keyboard.press("Enter")
    assert page.input_value("#caption-choice") == str(right)


def test_a_picture_shows_what_lies_nearest(window, data):
    page = window.page
    page.click("#gallery button >> nth=5")
    assert page.get_attribute("#gallery button >> nth=5", "aria-checked") == "true"
    assert page.locator('#gallery button[aria-checked="true"]').count() == 1
    nearest = data["nearest"]["image"]["captions"]
    told = page.locator("#nearest .captions li").all_inner_texts()
    for line, caption, cosine in zip(told, nearest["rows"][5], nearest["cosines"][5], strict=True):
        assert data["captions"][caption] in line and f"{cosine:.2f}" in line
    page.click("#nearest .captions button >> nth=2")  # walk on to a caption
    chosen = nearest["rows"][5][2]
    assert page.input_value("#caption-choice") == str(chosen)
    first = data["nearest"]["caption"]["images"]["rows"][chosen][0]
    source = page.get_attribute("#nearest .pictures img >> nth=0", "src")
    assert source == data["thumbnails"][first]
    page.click("#nearest .pictures button >> nth=0")
    assert page.get_attribute(f"#gallery button >> nth={first}", "aria-checked") == "true"


def test_the_row_of_pictures_is_one_stop_of_the_keyboard(window):
    page = window.page
    page.focus('#gallery button[aria-checked="true"]')
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#gallery button >> nth=2", "aria-checked") == "true"
    page.keyboard.press("End")
    assert page.get_attribute("#gallery button >> nth=11", "aria-checked") == "true"
    page.keyboard.press("Home")
    page.keyboard.press("Tab")  # past all other pictures
    for part in ("caption-choice", "order", "matrix"):
        assert page.evaluate("document.activeElement.id") == part
        page.keyboard.press("Tab")


def test_layers_and_heads(window):
    page = window.page
    drawn = "document.getElementById('attention').toDataURL()"
    seen = {page.evaluate(drawn)}
    for layer, head in ((0, 0), (1, 0), (1, 1), (2, 2)):  # the last: rollout
        page.select_option("#layer", str(layer))
        if layer < 2:
            page.select_option("#head", str(head))
        seen.add(page.evaluate(drawn))
    assert len(seen) == 5
    assert page.locator("#head").is_disabled()
    step = page.evaluate("mapOfHeads().step")
    page.click("#heads", position={"x": 1.5 * step, "y": 0.5 * step})
    assert (page.input_value("#layer"), page.input_value("#head")) == ("0", "1")
    assert not page.locator("#head").is_disabled()
    page.keyboard.press("ArrowDown")
    assert (page.input_value("#layer"), page.input_value("#head")) == ("1", "1")
    page.hover("#attention", position={"x": 3, "y": 3})
    assert re.search(r"row 1, column 1\) gets [\d.]+ %", words_of(page, "#attention-read"))


def test_tokens_ask(window, data):
    page = window.page
    words = data["textAttention"][0]["words"]
    buttons = page.locator("#words button")
    assert buttons.count() == len(words)
    assert buttons.nth(len(words) - 1).get_attribute("aria-pressed") == "true"
    buttons.nth(1).click()
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    shares = [float(text) for text in re.findall(r"([\d.]+) %", words_of(page, "#words"))]
    assert sum(shares) == pytest.approx(100, abs=3)
    assert shares[2:] == [0.0] * (len(words) - 2)  # it sees itself and those before it
    page.click("#words-reset")
    assert buttons.nth(len(words) - 1).get_attribute("aria-pressed") == "true"


def test_the_map_zooms_pans_and_chooses(window):
    page = window.page
    dots = page.locator("#map .point")
    page.locator("#map").scroll_into_view_if_needed()

    def places() -> list[tuple[str | None, str | None]]:
        return [(dot.get_attribute("cx"), dot.get_attribute("cy")) for dot in dots.all()]

    whole = places()
    page.focus("#map")
    page.keyboard.press("+")
    near = places()
    assert near != whole
    page.keyboard.press("ArrowLeft")
    panned = places()
    assert panned != near and [y for _, y in panned] == [y for _, y in near]
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    chosen = page.evaluate("JSON.stringify(choice)")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 25)
    page.mouse.up()
    assert places() != panned
    assert page.evaluate("JSON.stringify(choice)") == chosen  # a drag is no click
    zoom = page.evaluate("view.zoom")
    page.mouse.wheel(0, -100)  # the map has the focus
    page.wait_for_function(f"view.zoom > {zoom}")
    page.keyboard.press("0")
    assert places() == whole
    page.click("#zoom-in")
    page.click("#zoom-reset")
    assert places() == whole
    page.check("#show-gap")
    assert places() != whole
    page.locator('#map .thing[data-kind="caption"][data-number="3"]').first.dispatch_event("click")
    assert page.input_value("#caption-choice") == "3"


def test_curves_are_read_at_a_step(window):
    page = window.page
    assert page.locator("#curves svg").count() == 2
    page.focus("#curves svg >> nth=1")
    page.keyboard.press("Home")
    told = page.locator("#curves .read").nth(1).inner_text()
    assert told == "step 10: recall 0.100, chance 0.0100"
    page.keyboard.press("ArrowRight")
    assert "step 20: recall 0.400" in page.locator("#curves .read").nth(1).inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_is_readable_on_narrow_and_wide_screens_by_day_and_night(browser, path, width, scheme):
    with opened(browser, path, width, scheme) as result:
        page = result.page
        page.wait_for_selector("#pair img")
        assert overflow(page) <= 0
        for words in ("ink", "quiet", "accent", "caption"):
            for ground in ("paper", "card"):
                assert contrast(page, words, ground) >= 4.5
        page.set_viewport_size({"width": 1790 - width, "height": 900})  # to the other width
        assert overflow(page) <= 0
        unnamed = page.evaluate(
            "[...document.images].filter((image) => !image.alt || !image.complete).length"
        )
        assert unnamed == 0
        assert result.complaints == []


@pytest.mark.parametrize(
    "vision, text, count", [("resnet", "bert-mean", 5), ("vit", "bert-cls", 1)]
)
def test_other_encoders_and_a_single_image(browser, folder, vision, text, count):
    exploration = explore(*small(vision, text, count=5), count=count)
    path = explorer_page(folder / f"{vision}.html", exploration, "a run", "Test.", charts=[])
    with opened(browser, path, width=390) as result:
        page = result.page
        page.wait_for_selector("#pair img")
        assert page.locator("#layer option").count() == (1 if vision == "resnet" else 3)
        note = words_of(page, "#attention-note") + words_of(page, "#words-note")
        assert ("attention pool" in note) == (vision == "resnet")
        assert ("mean of all tokens" in note) == (text == "bert-mean")
        assert "There is no log" in words_of(page, "#curves-note")
        assert overflow(page) <= 0 and result.complaints == []


def test_images_beyond_the_budget_say_so(browser, folder):
    exploration = explore(*small(count=5), count=5)
    looks = exploration.image_attention
    few = exploration._replace(
        image_attention=looks._replace(shares=looks.shares[:2], rollout=looks.rollout[:2]),
        text_attention=exploration.text_attention[:1],
    )
    path = explorer_page(folder / "few.html", few, "a run", "Test.", charts=[])
    with opened(browser, path) as result:
        result.page.click("#gallery button >> nth=3")
        assert "the first 2 pictures only" in words_of(result.page, "#attention-note")
        assert "the first 1 captions only" in words_of(result.page, "#words-note")
        assert result.complaints == []


def test_words_of_strangers_do_nothing(browser, folder):
    exploration = explore(*small(count=5), count=5)
    captions = [EVIL + "x" * 500 + caption for caption in exploration.captions]
    evil = exploration._replace(captions=captions, names=["y" * 300] * 5)
    path = explorer_page(folder / "evil.html", evil, EVIL, EVIL, charts=CURVES)
    with opened(browser, path, width=390) as result:
        page = result.page
        page.click("#gallery button >> nth=3")
        assert EVIL in words_of(page, "#nearest") and EVIL in words_of(page, "h1")
        assert page.locator("b", has_text="bold").count() == 0
        assert page.evaluate("window.hacked") is None
        assert overflow(page) <= 0  # a word of 500 letters is broken
        assert result.complaints == []


def test_the_policy_stops_other_scripts_and_the_network(browser, path):
    with opened(browser, path) as result:
        page = result.page
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), "
            "{textContent: 'window.hacked = 1'}))"
        )
        assert page.evaluate("window.hacked") is None
        answer = page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'stopped')")
        assert answer == "stopped"
        assert any("Content Security Policy" in complaint for complaint in result.complaints)
        assert not any(address.startswith("http") for address in result.asked)
