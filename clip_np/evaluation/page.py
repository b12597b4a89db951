"""How can results be looked at without any program but a browser?

As one HTML file that needs no other: every image is in it as a small copy, encoded as
text (base64), and links to the file it was made from. No matplotlib is needed.

Names come from files, so on the page they are `shown`. A picture that may not be opened
is neither read nor linked.
"""

import base64
import html
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from clip_np.data import opened
from clip_np.files import File, replace_file, shown

THUMBNAIL = 256  # pixels of the longer side
JPEG_QUALITY = 90
# {title} and {note} are filled in. Braces of the style sheet are doubled.
HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }}
body {{ max-width: 74rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }}
h1 {{ font-size: clamp(1.2rem, 5vw, 2rem); line-height: 1.2 }}
main {{ display: grid; gap: 1.5rem }}
main {{ grid-template-columns: repeat(auto-fill, minmax(min(10rem, 42vw), 1fr)) }}
a {{ min-width: 0 }}
a {{ color: inherit; text-decoration: none }}
img, i {{ display: grid; place-items: center; background: #8882 }}
img, i {{ width: 100%; aspect-ratio: 1; object-fit: contain }}
small {{ display: block; opacity: 0.7 }}
</style>
<h1>{title}</h1>
<p>{note}</p>
<main>
"""
TAIL = "</main></html>\n"
ENTRY = "<a{link}>{picture}<b>{mark}</b><small>{name}</small></a>\n"


def read_picture(path: str) -> Image.Image | None:
    """The image of a regular file, upright and RGB, or None if it cannot be read."""
    if not os.path.isfile(path):  # a pipe would never end
        return None
    image = opened(Path(path), path, skip_bad=True)
    return image if isinstance(image, Image.Image) else None


def html_page(
    files: Sequence[tuple[str, str]],
    path: File,
    title: str,
    note: str,
    may_open: Callable[[str], bool] = lambda path: True,
) -> Path:
    """Write a page of images, and return its path.

    files: for each image its absolute path and a mark, such as a score. An image that
    cannot be read is shown as "not found", and one that `may_open` refuses as "not
    opened".
    """
    page = HEAD.format(title=html.escape(shown(title)), note=html.escape(shown(note)))
    for name, mark in files:
        if may_open(name):
            link = f' href="{html.escape(Path(name).as_uri())}"'
            picture = _picture_element(read_picture(name))
        else:
            link = ""
            picture = "<i>not opened</i>"
        # Long paths may break after a slash.
        words = html.escape(shown(name)).replace("/", "/<wbr>")
        page += ENTRY.format(link=link, picture=picture, mark=html.escape(shown(mark)), name=words)
    with replace_file(path) as file:
        # File names may hold bytes that are not text; they are shown as "?".
        file.write((page + TAIL).encode("utf-8", "replace"))
    return Path(path)


def _picture_element(image: Image.Image | None) -> str:
    """A small copy of an image as an element of the page."""
    if image is None:
        return "<i>not found</i>"
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY)
    code = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{code}" alt="">'
