"""`clip-np explain`: where in an image a model sees what a text says."""

import pathlib

import pytest
from command_line import fail, report_of, run, untrained
from PIL import ExifTags, Image

from clip_np.evaluation import METHODS


def test_explain_an_image_and_texts(capsys, photos):
    pytest.importorskip("matplotlib")
    untrained("run")
    words = ["a red circle", "a ring", "a ring"]
    output, errors = run(capsys, "explain", "run", photos / "3.png", *words, "--json")
    report = report_of(output)
    assert report["size"] == [32, 32]
    assert list(report["texts"]) == words[:2]
    for text in report["texts"].values():
        assert list(text["maps"]) == list(METHODS)
        for points in text["maps"].values():
            assert points["largest"] >= 0
            for name in ("centre", "strongest"):
                assert points[name] is None or all(0 <= number <= 32 for number in points[name])
    assert "pictures: explain.png" in errors
    with Image.open("explain.png") as picture:
        assert min(picture.size) > 200
    table, _ = run(
        capsys, "explain", photos / "3.png", "a ring", "--model", "run", "--picture", "a.png"
    )
    assert "a ring: " in table and pathlib.Path("a.png").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_photograph_is_upright_and_points_are_in_its_pixels(capsys):
    """A camera that was held sideways: 20 x 60 pixels are stored, 60 x 20 are seen."""
    untrained("run")
    image = Image.new("RGB", (20, 60), "red")
    image.paste((0, 0, 255), (0, 25, 20, 35))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save("photo.jpg", exif=exif)
    output, errors = run(capsys, "explain", "run", "photo.jpg", "a blue square", "--json")
    report = report_of(output)
    assert report["size"] == [60, 20]
    for points in report["texts"]["a blue square"]["maps"].values():
        if points["centre"] is not None:
            assert 20 <= points["centre"][0] <= 40 and 0 <= points["centre"][1] <= 20
    assert "matplotlib" in errors


@pytest.mark.usefixtures("no_pictures")
def test_explain_at_another_size(capsys, photos):
    untrained("run")
    output, _ = run(
        capsys, "explain", "run", photos / "3.png", "a ring", "--image-size", 64, "--json"
    )
    assert set(report_of(output)["texts"]["a ring"]["maps"]) == set(METHODS)
    error = fail(capsys, "explain", "run", photos / "3.png", "a ring", "--image-size", 40)
    assert "cannot see --image-size 40" in error and "patch_size 16" in error


def test_what_is_missing_is_named(capsys, photos):
    untrained("run")
    assert "no text" in fail(capsys, "explain", "run", photos / "3.png")
    assert "nothing.png: cannot be read" in fail(capsys, "explain", "run", "nothing.png", "a dog")
