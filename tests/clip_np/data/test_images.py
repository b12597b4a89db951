"""Pictures of every mode become RGB; broken, huge and long ones are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import save, write

from clip_np.data import DataError, Pairs, to_rgb


def opened(path: Path) -> np.ndarray:
    return np.asarray(Pairs(["a"], [str(path)], None, [path]).open_image(0)).astype(int)


GREY = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)  # (4, 4)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "png"), ("L", "bmp"), ("P", "png"), ("P", "gif"), ("CMYK", "tif"),
     ("YCbCr", "tif"), ("I", "tif"), ("F", "tif"), ("RGB", "webp")],
)  # fmt: skip
def test_modes_without_transparency(tmp_path, mode, suffix):
    values = (GREY > 100).astype(np.uint8) * 255 if mode == "1" else GREY
    image = Image.fromarray(values).convert(mode)
    assert image.mode == mode
    image.save(tmp_path / f"a.{suffix}", lossless=True)
    assert np.abs(opened(tmp_path / f"a.{suffix}") - values[..., np.newaxis]).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    assert (opened(tmp_path / f"a.{suffix}") == GREY[..., np.newaxis]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[-5, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.float32), [0, 100, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[-5, 25700, 65535]], np.int32), [0, 100, 255]),
    ],
)
def test_ranges_of_deep_modes(values, expected):
    assert np.asarray(to_rgb(Image.fromarray(values)))[0].T.tolist() == [expected] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_deep_modes_without_a_range(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: .*mode F pixels reach .* more than 65535"):
        opened(tmp_path / "a.tif")


def with_alpha(mode: str) -> Image.Image:
    """Left: grey 40, opaque. Right: grey 40 or black, fully transparent."""
    image = Image.new("RGBA", (2, 1), (40, 40, 40, 255))
    image.putpixel((1, 0), (40, 40, 40, 0))
    if mode in ("RGBa", "La"):
        return image.convert({"RGBa": "RGBa", "La": "LA"}[mode]).convert(mode)
    if mode == "RGBA palette":
        image = Image.new("P", (2, 1))
        image.putpalette([40, 40, 40, 255, 40, 40, 40, 0], "RGBA")
        image.putpixel((1, 0), 1)
        return image
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA", "RGBA palette"])
def test_transparency_becomes_white(mode):
    assert np.asarray(to_rgb(with_alpha(mode)))[0].tolist() == [[40] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("mode", "clear", "transparency"),
    [("P", 1, 1), ("P", 1, b"\xff\x00"), ("L", 1, 1), ("RGB", (1, 1, 1), (1, 1, 1)), ("1", 1, 1)],
)
def test_transparency_beside_the_pixels(tmp_path, mode, clear, transparency):
    image = Image.new(mode, (2, 1), 0)
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1])
    image.putpixel((1, 0), clear)
    image.save(tmp_path / "a.png", transparency=transparency)
    assert opened(tmp_path / "a.png")[0].tolist() == [[0] * 3, [255] * 3]


def test_half_transparent_is_mixed_with_white():
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 51))
    assert to_rgb(image).getpixel((0, 0)) == (204, 204, 204)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_exif_orientation_is_applied(tmp_path, mode):
    image = Image.new(mode, (8, 16), 0)
    image.paste(255 if mode == "L" else (255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    image.save(tmp_path / "a.png", exif=exif)
    pixels = opened(tmp_path / "a.png")
    assert pixels.shape == (8, 16, 3)
    assert (pixels[:, :8] == 0).all() and (pixels[:, 8:] == 255).all()


def test_unreadable_files_are_named_with_the_cause(tmp_path):
    with pytest.raises(DataError, match=r"no\.png: cannot be read \(FileNotFoundError: "):
        opened(tmp_path / "no.png")
    write(tmp_path / "text.png", "I am no image")
    with pytest.raises(DataError, match=r"text\.png: .*cannot identify image file"):
        opened(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "webp"):
        whole = tmp_path / f"whole.{suffix}"
        Image.fromarray(noise).save(whole)
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"cut\.{suffix}: cannot be read \("):
            opened(cut)
    damaged = bytearray((tmp_path / "whole.png").read_bytes())
    damaged[200:400] = bytes(200)
    (tmp_path / "damaged.png").write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged\.png: cannot be read \("):
        opened(tmp_path / "damaged.png")


@pytest.mark.parametrize("size", [(1, 1001), (1001, 1)])
def test_strips_that_would_be_bombs_when_resized_are_errors(tmp_path, size):
    save(tmp_path / "strip.png", size=size)
    with pytest.raises(DataError, match=f"{size[0]}x{size[1]} pixels are too elon"):
        opened(tmp_path / "strip.png")
