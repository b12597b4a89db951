"""A photograph is upright, whatever else its notes hold, for every kind of model."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, features
from small_data import noise

from clip_np.data import Preprocess, opened, preprocess, to_rgb, training_preprocess

ORIENTATION = 0x0112
HELD = (ORIENTATION, 3, 1, struct.pack("<H", 6))
WIDE, HIGH = (24, 16), (16, 24)


def tiff_block(entries) -> bytes:
    """EXIF data of (tag, type, count, value) as they are, right or wrong."""
    start = 8 + 2 + 12 * len(entries) + 4
    table, values = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            value, values = struct.pack("<I", start + len(values)), values + value
        table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", 8) + table + bytes(4) + values


TAGS = [0x0100, 0x010F, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x0213, 0x02BC, 0x829A]
TAGS += [0x8769, 0x8825, 0x9000, 0x9003, 0x9286, 0x927C, 0xA005, 0xA300, 0xC4A5]
VALUES = [b"", b"abc\0", bytes(8), b"\xff" * 8, struct.pack("<II", 1, 0), struct.pack("<I", 70000)]
ODD = list(itertools.product(TAGS, range(14), VALUES))


def photograph(form: str, exif: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", WIDE, (200, 30, 30)).save(file, form, exif=exif)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_beside_the_orientation(form):
    for number, (tag, kind, value) in enumerate(ODD):
        for count in (1, len(value)):
            exif = b"Exif\0\0" + tiff_block([HELD, (tag, kind, count, value)])
            name = f"{tag:x} of type {kind}, {count} of {value!r}"
            assert opened(photograph(form, exif), name).size == HIGH
        if form != "JPEG" and number > 300:
            break


def tiff_file(entries) -> bytes:
    """A picture of WIDE grey pixels with notes of any kind."""
    width, height = WIDE
    usual = {0x0100: width, 0x0101: height, 0x0102: 8, 0x0103: 1, 0x0106: 1, 0x0116: height}
    usual[0x0117] = width * height
    tags = [(tag, 4, 1, struct.pack("<I", value)) for tag, value in usual.items()]
    block = tiff_block([*tags, (0x0111, 4, 1, bytes(4)), *entries])
    pixels_at = struct.pack("<HHII", 0x0111, 4, 1, len(block))
    return block.replace(struct.pack("<HHII", 0x0111, 4, 1, 0), pixels_at) + bytes(width * height)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_odd_tag_in_a_tiff():
    """Pillow turns a TIFF itself, and writes its notes again."""
    assert opened(tiff_file([HELD]), "whole").size == HIGH
    for tag, kind, value in ODD:
        # Without the width there is no picture. A value of 8 bytes never ends outside.
        if tag != 0x0100 and len(value) == 8:
            name = f"{tag:x} of type {kind}, {value!r}"
            assert opened(tiff_file([HELD, (tag, kind, 1, value)]), name).size == HIGH


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", range(14))
def test_an_orientation_that_cannot_be_read_means_as_stored(kind):
    sizes = set()
    for value in (b"", b"\0\0\0\0", b"\xff" * 4, b"\x09\0\0\0", b"abcdefgh"):
        for count in (0, 1, 2, 2**31):
            entry = (ORIENTATION, kind, count, value)
            sizes.add(opened(photograph("JPEG", b"Exif\0\0" + tiff_block([entry])), "odd").size)
            sizes.add(opened(tiff_file([entry]), "odd").size)
    assert sizes == {WIDE}


RAW_PROFILES = [
    "",
    "\nexif\n      10\nzzzz",
    "\n\n\n",
    "\nexif\n 4\n45",
    "\nexif\n 6\n457869660000",
]


@pytest.mark.parametrize("key", ["Raw profile type exif", "Raw profile type APP1"])
@pytest.mark.parametrize("text", RAW_PROFILES)
def test_damaged_raw_profiles_of_png(key, text):
    notes = PngImagePlugin.PngInfo()
    notes.add_text(key, text)
    file = io.BytesIO()
    Image.new("RGB", WIDE).save(file, "PNG", pnginfo=notes)
    assert opened(file.getvalue(), "raw").size == WIDE


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>'


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    "xmp", [b"<x>\xa8\xff</x>", b"", b"\0", XMP % b"tiff:Orientation='six'", XMP % b"\xff" * 99]
)
def test_damaged_xmp(form, xmp):
    file = io.BytesIO()
    image = Image.new("RGB", WIDE)
    if form == "PNG":
        notes = PngImagePlugin.PngInfo()
        notes.add_itxt("XML:com.adobe.xmp", xmp.decode("latin-1"))
        image.save(file, form, pnginfo=notes)
    elif form == "TIFF":
        image.save(file, form, tiffinfo={700: xmp})
    else:
        image.save(file, form, xmp=xmp)
    assert opened(file.getvalue(), "xmp").size == WIDE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("pipeline", [preprocess, training_preprocess])
def test_what_models_see_of_a_file_is_upright(form, orientation, pipeline):
    """As `transformers.image_utils.load_image` has it."""
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    smooth = Image.fromarray(noise(5, 7, 3)).resize((60, 40), Image.Resampling.BICUBIC)
    smooth.save(file, form, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    expected = pipeline(16)(Image.fromarray(np.asarray(upright)))
    seen = opened(file.getvalue(), "phone", pipeline(16))
    np.testing.assert_array_equal(seen, expected)
    assert opened(file.getvalue(), "phone").size == upright.size


def test_an_image_in_memory_stays_as_published():
    image = Image.fromarray(noise(4, 8, 3))
    image.getexif()[ORIENTATION] = 6
    plain = Image.fromarray(np.asarray(image))
    np.testing.assert_array_equal(preprocess(4)(image), preprocess(4)(plain))
    assert image.getexif()[ORIENTATION] == 6
    assert [to_rgb(image).size for _ in range(2)] == [(4, 8)] * 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("kind", ["u2", "i4", "f4"])
def test_deep_grey_is_scaled_for_published_models(tmp_path, suffix, kind):
    values = (np.arange(32 * 32).reshape(32, 32) * 60).astype(kind)
    if suffix == "png" and kind != "u2":
        values = values.astype("u2")
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    seen = opened(tmp_path / f"a.{suffix}", "a", Preprocess(32))
    assert len(np.unique(seen[0].round(3))) > 200
    np.testing.assert_array_equal(seen, Preprocess(32)(to_rgb(Image.fromarray(values))))


def test_deep_grey_in_memory_is_warned_of():
    image = Image.fromarray(np.full((8, 8), 60_000, np.uint16))
    with pytest.warns(UserWarning, match="above 255 become white, as in the published pipeline"):
        preprocess(8)(image)
