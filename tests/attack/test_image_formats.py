"""A file that is no harmless picture runs nothing, opens nothing, and stops nothing."""

import io
import os
import re
import struct

import pytest
from bounds import run_bounded
from paths import ROOT
from PIL import Image
from small_data import save

from clip_np.data import DataError, Pairs, load_images, opened
from clip_np.data.formats import FORMATS, known_formats, open_regular
from clip_np.evaluation import read_picture

# Why a format that Pillow knows is not opened. A new Pillow may know another one: read
# its plugin, and put it here or into FORMATS.
REFUSED = {
    "EPS": "starts Ghostscript, which runs the file",
    "WMF": "is drawn by the operating system, or by a program that was registered",
    "BUFR": "is read by another package",
    "GRIB": "is read by another package",
    "HDF5": "is read by another package",
    "FPX": "is read by the package olefile",
    "MIC": "is read by the package olefile",
    "IPTC": "opens any picture inside, an EPS as well",
    "ICNS": "its header does not say the size of the picture inside",
    "FITS": "is scientific, and unpacks all of a compressed part at once",
    "BLP": "a texture of games, unpacked in Python",
    "FTEX": "a texture of games",
    "DDS": "a texture of games, unpacked in Python: 16 million pixels take 16 seconds",
    "DCX": "pages of a fax",
    "FLI": "an animation",
    "GBR": "a brush",
    "IM": "has no mark, so every file is tried",
    "IMT": "has no mark, so every file is tried",
    "MCIDAS": "is scientific",
    "MPEG": "a film, which Pillow cannot decode",
    "MPO": "is opened as the JPEG that it begins with",
    "MSP": "of Windows 1",
    "PCD": "has no mark, so every file is tried",
    "PIXAR": "of a studio",
    "SPIDER": "is scientific, and has no mark",
    "XVTHUMB": "thumbnails of a program",
}

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
{ } loop
%%EOF
"""


def test_each_format_of_pillow_is_allowed_or_refused():
    Image.init()
    assert not set(FORMATS) & REFUSED.keys()
    undecided = set(Image.OPEN) - set(FORMATS) - REFUSED.keys()
    assert not undecided, f"read these plugins of Pillow, and decide: {sorted(undecided)}"


def test_the_usual_formats_are_known():
    usual = {"PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO"}
    assert usual < set(known_formats()) <= set(FORMATS)


def test_pictures_are_opened_in_one_place():
    callers = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("clip_np/**/*.py")
        if re.search(r"= Image\.(open\(|OPEN)|with Image\.open\(", path.read_text(encoding="utf-8"))
    ]
    assert callers == ["clip_np/data/formats.py"]


def iptc_with(content: bytes) -> bytes:
    """A picture in the format IPTC that holds another one."""

    def field(record: int, dataset: int, data: bytes) -> bytes:
        return bytes((0x1C, record, dataset)) + struct.pack(">H", len(data)) + data

    return (
        field(3, 20, b"\0\x08")
        + field(3, 30, b"\0\x08")
        + field(3, 60, b"\x01\x00")
        + field(3, 120, b"\x05")
        + field(8, 10, content)
    )


@pytest.mark.skipif(os.name == "nt", reason="the false Ghostscript is a shell script")
@pytest.mark.parametrize("content", [EPS, iptc_with(EPS)], ids=["EPS", "EPS in IPTC"])
def test_no_program_is_started(tmp_path, monkeypatch, content):
    """By training, by a cell of a table, by a command, and by the page of results."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "cat.png"
    file.write_bytes(content)
    for source in (file, content, lambda: {"bytes": content}):
        with pytest.raises(DataError, match=r"cat: .*cannot identify image file.*are PNG, JPEG"):
            opened(source, "cat")
        with pytest.raises(DataError):
            load_images(Pairs(["a cat"], ["cat"], None, [source]), 8)
    assert read_picture(str(file)) is None
    assert not (tmp_path / "started").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_does_not_hang():
    program = """
import os, tempfile
from pathlib import Path
from clip_np.data import opened
with tempfile.TemporaryDirectory() as folder:
    os.mkfifo(folder + "/cat.png")
    for path in (folder + "/cat.png", "/dev/zero", "/dev/null", folder):
        print(opened(Path(path), "cat", skip_bad=True))
"""
    outcome = run_bounded(program, timeout=20)
    assert outcome.status == 0
    assert outcome.output.count("cat: cannot be read (") == 4
    assert outcome.output.count("not a regular file") == 4


def test_links_to_regular_files_are_followed(tmp_path):
    save(tmp_path / "cat.png", size=(4, 4))
    (tmp_path / "link.png").symlink_to(tmp_path / "cat.png")
    with open_regular(tmp_path / "link.png") as file:
        assert file.read(4) == b"\x89PNG"


def icon_with(picture: bytes) -> bytes:
    """An icon that says it is 16 pixels wide, and holds a picture."""
    header = struct.pack("<HHH", 0, 1, 1)
    return header + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


@pytest.mark.parametrize("kind", ["PNG", "DIB"])
def test_an_icon_is_no_larger_than_icons_are(kind):
    """Its header says 16 pixels; what is inside is decoded when it is opened."""
    buffer = io.BytesIO()
    Image.new("RGBA", (3000, 2000)).save(buffer, kind)
    with pytest.raises(DataError, match=r"cat: .*an icon of 3000x\d+ pixels"):
        opened(icon_with(buffer.getvalue()), "cat")


@pytest.mark.parametrize("bitmap", ["png", "bmp"])
def test_icons_are_read(bitmap):
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), "red").save(buffer, "ICO", bitmap_format=bitmap, sizes=[(64, 64)])
    assert opened(buffer.getvalue(), "icon").getpixel((9, 9)) == (255, 0, 0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_data_leave_the_photograph():
    """A photograph is worth more than its notes: it is shown as it is stored."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    Image.new("RGB", (16, 8)).save(buffer, "JPEG", exif=exif)
    photograph = buffer.getvalue()
    assert opened(photograph, "whole").size == (8, 16)
    start = photograph.index(b"Exif\0\0") + 6
    sizes = set()
    for place in range(start, photograph.index(b"a camera")):
        for value in (0, 0x7F, 0xFF):
            damaged = bytearray(photograph)
            damaged[place] = value
            sizes.add(opened(bytes(damaged), f"byte {place}").size)
    assert sizes == {(16, 8), (8, 16)}


def test_an_unknown_type_of_tag_leaves_the_orientation():
    """The orientation is read alone: other tags may hold anything."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = b"\xff" * 8
    Image.new("RGB", (16, 8)).save(buffer, "JPEG", exif=exif)
    assert opened(buffer.getvalue(), "photograph").size == (8, 16)
