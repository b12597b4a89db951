"""Embedding images once and finding them, from the shell."""

import base64
import io
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from command_line import run
from image_folders import untrained_run, write_photos
from PIL import Image

from clip_np.cli import output as cli_output
from clip_np.evaluation import build_index, folders, read_index, search_index


@pytest.fixture
def model(tmp_path):
    """(model, preprocess, tokenizer) of the run in "run"."""
    return untrained_run(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


def test_embed_then_search(capsys, model, photos):
    (photos / "5.png").write_bytes(b"no image")
    output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz")
    errors = errors[errors.index("left out") :]  # after the bar of a slow machine
    assert output == "8 images in index.npz\n"
    assert errors == f"left out: {read_index('index.npz').files[str(photos / '5.png')][2]}\n"
    report = json.loads(
        run(capsys, "embed", "--model", "run", photos, "-o", "index.npz", "--json")[0]
    )
    assert report == {"images": 8, "unreadable": {str(photos / "5.png"): errors[10:-1]}}
    found = json.loads(run(capsys, "search", "index.npz", "a red circle", "--json", "-k", 3)[0])
    index = read_index("index.npz")
    expected = dict(search_index(index, "a red circle", *model, k=3))
    assert list(found) == list(expected)
    assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-5)
    table, _ = run(capsys, "search", "index.npz", "a red circle", "-k", 3)
    shown = [line.split() for line in table.splitlines()]
    here = [str(pathlib.Path(path).relative_to(pathlib.Path.cwd())) for path in found]
    assert shown == [[f"{c:.3f}", name] for name, c in zip(here, found.values())]
    table, _ = run(capsys, "search", "index.npz", "photos/3.png")
    assert table.splitlines()[0].split() == ["1.000", str(pathlib.Path("photos/3.png"))]
    assert len(table.splitlines()) == 8


def test_ctrl_c_saves_and_says_how_to_go_on(capsys, model, photos, monkeypatch):
    monkeypatch.setattr(folders, "BATCH_SIZE", 2)

    def interrupted(model, encode, inputs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folders, "unit_features", interrupted)
        output, errors = run(capsys, "embed", "run", "photos", "-o", "index.npz", status=130)
    assert output == "stopped, all that was seen is saved; the same command goes on\n"
    assert errors.endswith("clip-np: interrupted\n")
    run(capsys, "embed", "run", "photos", "-o", "index.npz")
    assert len(read_index("index.npz").paths) == 9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("embed run -o new.npz", "no images given: run is taken for the model"),
        ("embed run empty -o new.npz", "empty: holds no images (.apng"),
        ("embed run bad.png -o bad.npz", "none of 1 images is readable: "),
        ("embed nowhere photos -o new.npz", "nowhere: no such file or directory"),
        ("embed other photos -o index.npz", "the index holds what another model saw ("),
        ("embed run photos -o bad.png", "bad.png: damaged, or not an .npz file"),
        ("search index.npz red --model other", "the index holds what another model saw ("),
        ("search nowhere.npz red", "No such file or directory: 'nowhere.npz'"),
        ("search run/checkpoint.npz red", "run/checkpoint.npz: no index of clip_np"),
        ("search index.npz red -k 0", "k = 0 of 9 images"),
        ("search index.npz bad.png", "bad.png: cannot be read"),
        ("search moved.npz red", "no such file or directory; --model"),
    ],
)
def test_mistakes(capsys, model, photos, tmp_path, arguments, message):
    untrained_run(tmp_path / "other", seed=1)
    pathlib.Path("empty").mkdir()
    pathlib.Path("bad.png").write_bytes(b"no image")
    build_index("index.npz", [photos], *model[:2], "run")
    (tmp_path / "run").rename("gone")
    build_index("moved.npz", [photos], *model[:2], "gone")
    (tmp_path / "gone").rename("run")
    output, errors = run(capsys, *arguments.split(), status=1)
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("clip-np: error: ")]
    assert message in line
    assert not pathlib.Path("new.npz").exists()


def test_a_page_of_results(capsys, model, photos):
    awkward = photos / "<b> & \"ünïcode\" 🎈 'x' #1%.png"
    shutil.copy(photos / "0.png", awkward)
    Image.new("RGBA", (900, 300), (255, 0, 0, 0)).save(photos / "wide.png")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "1.png").unlink()
    query = "<script>alert('x')</script> & more"
    output, _ = run(capsys, "search", "index.npz", query, "-k", 50, "--html", "page.html")
    assert output.splitlines()[-1] == "page: page.html"
    page = pathlib.Path("page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more") == 2
    assert 'src="http' not in page
    assert "color-scheme: light dark" in page
    links = re.findall('href="([^"]*)"', page)
    assert len(links) == 11
    assert awkward.as_uri().replace("'", "&#x27;") in links
    name = "&lt;b&gt; &amp; &quot;ünïcode&quot; 🎈 &#x27;x&#x27; #1%.png"
    assert name in page
    assert "<b> &" not in page
    assert page.count("not found") == 1
    images = re.findall('src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(images) == 10
    sizes = set()
    for code in images:
        with Image.open(io.BytesIO(base64.b64decode(code, validate=True))) as image:
            sizes.add(image.size)
            if image.size == (256, 85):
                assert min(image.getpixel((100, 40))) > 250  # transparency is white
    assert sizes == {(32, 32), (256, 85)}


def test_a_contact_sheet_of_results(capsys, model, photos, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    sheet = cli_output.labelled_images
    monkeypatch.setattr(
        cli_output, "labelled_images", lambda *page: drawn.append(page) or sheet(*page)
    )
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    (photos / "1.png").unlink()
    output, _ = run(capsys, "search", "index.npz", photos / "2.png", "-k", 9, "--png", "sheet.png")
    assert output.splitlines()[-1] == "pictures: sheet.png"
    ((images, labels, path, title, note),) = drawn
    assert (str(path), title) == ("sheet.png", str(photos / "2.png"))
    assert note == "The best of 9 images, and their cosines."
    assert labels[0] == [("1.000", "2.png")]
    (gone,) = [row for row, below in enumerate(labels) if below[-1] == ("", "not found")]
    assert labels[gone][0][1] == "1.png"
    assert (images[gone] == images[gone][0, 0]).all()
    whole = Image.open(photos / "2.png").resize((224, 224), Image.Resampling.BICUBIC)
    assert (images[0] == np.asarray(whole)).all()
    with Image.open("sheet.png") as picture:
        assert min(picture.size) > 200


def test_names_that_are_no_unicode(capsys, model, photos):
    name = os.fsdecode(b"photos/caf\xe9.png")
    try:
        shutil.copy(photos / "0.png", name)
    except OSError:
        pytest.skip("this file system keeps no such names")
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    assert os.path.abspath(name) in read_index("index.npz").paths
    run(capsys, "search", "index.npz", name, "--html", "page.html")
    assert "caf%E9.png" in pathlib.Path("page.html").read_text(encoding="utf-8")
