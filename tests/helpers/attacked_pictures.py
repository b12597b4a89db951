"""Targets: pictures."""

import contextlib
import io
import pathlib
import random
import zlib

import numpy as np
from fuzz_files import NUMBERS, change_bytes
from PIL import Image

from clip_np.data import opened, preprocess, training_preprocess

TEXTS = ["a cat", "two dogs, and a hat", "réd 🐶", "a 1"]


def noise(size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Image.Image:
    """Colours that no compression makes very small."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode)


def encoded(form: str = "PNG", mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    noise(mode=mode).save(file, form, **options)
    return file.getvalue()


# Name: (Pillow's name, mode, options of `save`).
PICTURES: dict[str, tuple[str, str, dict]] = {
    "PNG": ("PNG", "RGB", {}),
    "PNG, palette": ("PNG", "P", {}),
    "JPEG": ("JPEG", "RGB", {}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True}),
    "GIF": ("GIF", "P", {}),
    "BMP": ("BMP", "RGB", {}),
    "PPM": ("PPM", "RGB", {}),
    "WebP": ("WEBP", "RGB", {}),
    "TIFF": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "AVIF": ("AVIF", "RGB", {}),
    "JPEG 2000": ("JPEG2000", "RGB", {}),
    "ICO": ("ICO", "RGB", {}),
    "PCX": ("PCX", "RGB", {}),
    "SGI": ("SGI", "RGB", {}),
    "TGA": ("TGA", "RGB", {"compression": "tga_rle"}),
}


class Picture:
    """A picture, used as training does and as published models do."""

    def __init__(self, folder: pathlib.Path, *, kind: str) -> None:
        self.folder = folder
        self.path = folder / "picture"
        self.names = ["picture"]
        form, mode, options = PICTURES[kind]
        exif = Image.Exif()
        exif[0x0112] = 6
        if form in ("JPEG", "PNG", "WEBP", "TIFF"):
            options = options | {"exif": exif}
        self.original = encoded(form, mode, **options)
        self.path.write_bytes(self.original)

    def damage(self, rng: random.Random) -> None:
        is_png = self.original.startswith(b"\x89PNG")
        change = change_chunks if is_png and rng.random() < 0.7 else change_bytes
        self.path.write_bytes(change(self.original, rng))

    def use(self) -> None:
        for use in (training_preprocess(32), preprocess(32)):
            assert opened(self.path, "picture", use).shape == (3, 32, 32)


def change_chunks(data: bytes, rng: random.Random) -> bytes:
    """A PNG with other chunks, whose checksums are right."""
    chunks = []
    start = 8
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(chunks))
        kind, content = chunks[place]
        match rng.randrange(6):
            case 0:
                chunks.insert(rng.randrange(len(chunks)), chunks[place])
            case 1:
                del chunks[place]
                chunks = chunks or [(kind, content)]
            case 2 if content:
                width = rng.choice((1, 2, 4))
                number = (rng.choice(NUMBERS) % 256**width).to_bytes(width, "big")
                at = rng.randrange(len(content))
                chunks[place] = (kind, content[:at] + number + content[at + width :])
            case 3 if kind == b"IDAT":
                with contextlib.suppress(zlib.error):  # it was damaged before
                    pixels = zlib.decompress(content)
                    chunks[place] = (kind, zlib.compress(change_bytes(pixels, rng)))
            case 4:
                names = (b"tRNS", b"PLTE", b"zTXt", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"gAMA")
                chunks.insert(place, (rng.choice(names), rng.randbytes(rng.choice((0, 1, 40)))))
            case _:
                chunks[place] = (kind, change_bytes(content, rng))
    parts = [data[:8]]
    for kind, content in chunks:
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        parts.append(len(content).to_bytes(4, "big") + kind + content + crc)
    return b"".join(parts)
