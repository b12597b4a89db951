"""Small files that become large images, and large images that are honest."""

import io
import threading
import zlib

import numpy as np
import pytest
from bounds import run_bounded
from PIL import Image

from clip_np.data import DataError, decoding, images, opened, to_rgb, training_preprocess
from clip_np.data.decoding import Budget, shrink_factor
from clip_np.data.orientation import turned

MOST_MEGABYTES = 300
MOST_SECONDS = 5.0

# Reads a file in both ways, in as many threads as it is told.
READ = """
import sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from clip_np.data import opened, preprocess, training_preprocess
path, threads = Path(sys.argv[1]), int(sys.argv[2])
with ThreadPoolExecutor(threads) as pool:
    for use in (training_preprocess(224), preprocess(224)):
        for result in pool.map(lambda _: opened(path, "bomb", use, skip_bad=True), range(threads)):
            print(result if isinstance(result, Exception) else "read")
"""


def png(path, side: int, depth: int, colour: int, channels: int) -> None:
    """A black PNG file, made without its pixels in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return len(data).to_bytes(4, "big") + kind + data + check.to_bytes(4, "big")

    size = side.to_bytes(4, "big")
    row = bytes(1 + side * channels * depth // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join([packer.compress(row) for _ in range(side)] + [packer.flush()])
    header = size + size + bytes((depth, colour, 0, 0, 0))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    ("side", "depth", "colour", "channels"),
    [
        pytest.param(9400, 16, 0, 1, id="16 bits grey"),
        pytest.param(9400, 8, 0, 1, id="grey"),
        pytest.param(9400, 8, 6, 4, id="RGBA"),
        pytest.param(5100, 8, 2, 3, id="RGB, decoded in full"),
        pytest.param(5100, 16, 6, 4, id="16 bits RGBA, decoded in full"),
    ],
)
def test_png_bombs(tmp_path, side, depth, colour, channels):
    png(tmp_path / "bomb.png", side, depth, colour, channels)
    check_bounds(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("F", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("L", "WEBP", {"lossless": True}),
        ("L", "GIF", {}),
        ("L", "JPEG", {"progressive": True}),
        ("L", "JPEG2000", {}),
    ],
)
def test_bombs_of_other_formats(tmp_path, mode, form, options):
    try:
        Image.new(mode, (6000, 6000)).save(tmp_path / "bomb", form, **options)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow writes no {form}: {error}")
    check_bounds(tmp_path / "bomb")


def check_bounds(path) -> None:
    assert path.stat().st_size < 1_000_000
    outcome = run_bounded(READ, str(path), "1")
    assert outcome.status == 0, outcome.errors
    for line in outcome.output.splitlines():
        assert line == "read" or "bomb: cannot be read (DataError: " in line
    assert outcome.peak_mb < MOST_MEGABYTES
    assert outcome.seconds < 2 * MOST_SECONDS  # it is read twice


@pytest.mark.parametrize("repeated", [5, 20_000])
def test_jpegs_of_many_scans(tmp_path, repeated):
    """Each scan walks over all pixels. 20,000 took two minutes."""
    file = io.BytesIO()
    Image.new("L", (3000, 3000)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    start = content.rindex(decoding.START_OF_SCAN)
    scan = content[start:-2]
    (tmp_path / "bomb.jpg").write_bytes(content[:start] + scan * repeated + content[-2:])
    if repeated < 100:
        assert opened(tmp_path / "bomb.jpg", "bomb").size == (3000, 3000)
        return
    with pytest.raises(DataError, match=r"bomb: .*more than 100 scans \(MAX_SCANS\)"):
        opened(tmp_path / "bomb.jpg", "bomb")


@pytest.mark.filterwarnings("error")
def test_a_jpeg_of_more_than_twice_the_pixels(tmp_path):
    """Decoded at an eighth of its size it would fit, but it would take minutes."""
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    small, large = (16).to_bytes(2, "big") * 2, (60_000).to_bytes(2, "big") * 2
    (tmp_path / "bomb.jpg").write_bytes(file.getvalue().replace(small, large, 1))
    with pytest.raises(
        DataError, match=r"bomb: .*60000x60000 pixels are too many: at most 178,956,970"
    ):
        opened(tmp_path / "bomb.jpg", "bomb")


def test_four_bombs_at_once_share_one_bound(tmp_path):
    png(tmp_path / "bomb.png", 5100, 8, 2, 3)
    outcome = run_bounded(READ, str(tmp_path / "bomb.png"), "4")
    assert outcome.output.split() == ["read"] * 8
    assert outcome.peak_mb < decoding.DECODED.total / 2**20 + MOST_MEGABYTES


def test_a_photograph_of_100_megapixels_opens(tmp_path):
    """Decoded at half its size, as upright as ever, and without a warning of Pillow."""
    program = """
import sys, warnings
warnings.simplefilter("error")
from pathlib import Path
from clip_np.data import opened
print(opened(Path(sys.argv[1]), "photograph").size)
"""
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    photograph = Image.fromarray(noise).resize((11500, 8650))
    photograph.save(tmp_path / "photograph.jpg", exif=exif)
    outcome = run_bounded(program, str(tmp_path / "photograph.jpg"))
    assert outcome.output.strip() == "(4325, 5750)", outcome.errors
    assert outcome.peak_mb < MOST_MEGABYTES


def test_a_large_honest_image_may_unpack_to_more(monkeypatch):
    """What is refused as a bomb is read if the file is as large as photographs are."""
    monkeypatch.setattr(decoding, "BOMB_BYTES", 50_000)
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert opened(buffer.getvalue(), "noise").size == (100, 100)
    black = io.BytesIO()
    Image.new("RGB", (500, 500)).save(black, "PNG")
    with pytest.raises(DataError, match=r"black: .*500x500 pixels in [\d,]+ bytes need 2 MiB"):
        opened(black.getvalue(), "black")


def test_the_limit_is_said_and_can_be_raised(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", compress_level=1)
    monkeypatch.setenv(decoding.MEMORY_VARIABLE, "10")
    with pytest.raises(
        DataError,
        match=r"a\.png: .*1200x1200 pixels need 11 MiB of memory, at most 10 MiB are allowed: .*"
        "set the environment variable CLIP_NP_IMAGE_MIB=11",
    ):
        opened(tmp_path / "a.png", "a.png")
    monkeypatch.setenv(decoding.MEMORY_VARIABLE, "11")
    assert opened(tmp_path / "a.png", "a.png").size == (1200, 1200)
    monkeypatch.setenv(decoding.MEMORY_VARIABLE, "a lot")
    with pytest.raises(DataError, match=r"CLIP_NP_IMAGE_MIB is 'a lot', expected a number of MiB"):
        opened(tmp_path / "a.png", "a.png")


def test_a_picture_of_108_megapixels_opens(tmp_path):
    Image.new("L", (12000, 9000), 90).save(tmp_path / "a.png", compress_level=9)
    outcome = run_bounded(READ, str(tmp_path / "a.png"), "1")
    assert outcome.output.split() == ["read"] * 2, outcome.errors
    assert outcome.peak_mb < MOST_MEGABYTES


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16", "I", "F", "RGBA", "LA", "PA", "1"])
def test_strips_change_nothing(monkeypatch, mode):
    noise = np.random.default_rng(0).integers(0, 256, (53, 37, 4), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise[:, :, 0].astype(np.uint16) * 200)
    elif mode == "F":
        image = Image.fromarray(noise[:, :, 0] / np.float32(255))
    elif mode == "PA":
        image = image.convert("LA").convert("PA")
    else:
        image = image.convert("RGB" if mode == "P" else "RGBA").convert(mode)
    for orientation in range(1, 9):
        image.getexif()[0x0112] = orientation
        monkeypatch.setattr(images, "STRIP_PIXELS", 2**20)
        whole = to_rgb(image)
        for strip in (100, 1):
            monkeypatch.setattr(images, "STRIP_PIXELS", strip)
            assert to_rgb(image).tobytes() == whole.tobytes()
            assert to_rgb(image).size == whole.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_image_is_the_mean_of_squares(monkeypatch, orientation):
    noise = np.random.default_rng(0).integers(0, 256, (50, 39, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.getexif()[0x0112] = orientation
    expected = to_rgb(Image.fromarray(noise).reduce(3))
    expected = turned(expected, orientation)
    monkeypatch.setattr(decoding, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(decoding, "REDUCED_PIXELS", 300)
    monkeypatch.setattr(images, "STRIP_PIXELS", 200)
    assert shrink_factor(image.size) == 3
    found = to_rgb(image)
    assert found.size == expected.size
    assert found.tobytes() == expected.tobytes()


def test_images_up_to_the_bound_keep_their_size():
    assert shrink_factor((6000, 4000)) == 1
    assert training_preprocess(8)(Image.new("L", (6000, 4000))).shape == (3, 8, 8)


def test_the_budget_is_never_exceeded():
    """Eight threads want more than there is, and one of them more than all."""
    budget, most, lock = Budget(total=100), [], threading.Lock()

    def work(size: int) -> None:
        for _ in range(50):
            with budget.hold(size), lock:
                most.append((budget.in_use, size))

    sizes = [10, 30, 50, 70, 90, 100, 150, 20]
    threads = [threading.Thread(target=work, args=(size,), daemon=True) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(most) == 50 * len(sizes)
    assert max(in_use for in_use, size in most if size <= 100) <= 100
    assert {in_use for in_use, size in most if size == 150} == {150}
    assert budget.in_use == 0


def test_the_budget_is_free_again_after_an_error():
    budget = Budget(total=100)
    with pytest.raises(ZeroDivisionError), budget.hold(100):
        raise ZeroDivisionError
    assert budget.in_use == 0
