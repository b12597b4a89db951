"""How are images embedded once, and found again from a shell?

`clip-np embed` builds an index file, and `clip-np search` asks it. The index names the
model that made it, so a search needs no --model unless that has moved.

An index may come from a stranger. It decides neither which pictures of this computer
are opened (see `Index.may_open`), nor which model is fetched from the hub.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from clip_np.cli.models import load_model
from clip_np.cli.output import (
    LabelledFile,
    Sheet,
    draw_pictures,
    draw_sheet,
    print_labels,
    print_text,
    print_unreadable,
)
from clip_np.evaluation import Index, build_index, html_page, read_index, search_index
from clip_np.files import shown
from clip_np.weights import load


def embed_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at images once and keep what the model sees, for clip-np search."""
    loaded = load_model(arguments)
    try:
        index = build_index(
            arguments.index,
            loaded.inputs,
            loaded.model,
            loaded.preprocess,
            name=loaded.path,
            allow_outside=bool(arguments.allow_outside),
        )
    except KeyboardInterrupt:
        print_text(arguments, "stopped, all that was seen is saved; the same command goes on")
        raise
    unreadable = index.unreadable
    print_unreadable(list(unreadable.values()), len(index) + len(unreadable))
    print_text(arguments, f"{len(index):,} images in {shown(arguments.index)}")
    return {"images": len(index), "unreadable": unreadable}


def search_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find the images of an index that fit a sentence, or that resemble an image."""
    index = read_index(arguments.index)
    model_path = arguments.model or _model_on_disk(index)
    model, preprocess, tokenizer = load(
        model_path,
        arguments.backend or "numpy",
        activation=arguments.activation,
        image_size=arguments.image_size,
    )
    matches = search_index(
        index,
        query=arguments.query,
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        k=arguments.k,
    )
    marks = {match.path: f"{match.cosine:.3f}" for match in matches}
    here = os.path.join(os.getcwd(), "")  # paths below it are printed without it
    table = [LabelledFile(path, [(mark, path.removeprefix(here))]) for path, mark in marks.items()]
    print_labels(arguments, table)
    if arguments.html or arguments.png:
        _show(arguments, index, marks)
    return {match.path: match.cosine for match in matches}


def _model_on_disk(index: Index) -> str:
    """The model that an index names, if it is here; FileNotFoundError if it is not."""
    # A name on the hub is fetched only for a person who writes it down.
    if not os.path.exists(index.model):
        raise FileNotFoundError(
            f"{index.model or 'its model'}: no such file or directory; --model PATH says where the "
            "model is, and --model OWNER/NAME fetches one from the hub (the model is named by "
            f"{index.file})"
        )
    return index.model


def _show(arguments: argparse.Namespace, index: Index, marks: dict[str, str]) -> None:
    """Show what was found, each path with its mark, on a page or a picture."""
    allowed = {path for path in marks if arguments.allow_outside or index.may_open(path)}
    if len(allowed) < len(marks):
        print_text(
            arguments,
            f"not opened: {len(marks) - len(allowed)} of {len(marks)} images, outside of the "
            f"folder of {shown(arguments.index)}, which is not known to be yours "
            "(--allow-outside opens them)",
        )
    note = f"The best of {len(index):,} images, and their cosines."
    if arguments.html:
        page = html_page(
            list(marks.items()),
            arguments.html,
            title=arguments.query,
            note=note,
            may_open=allowed.__contains__,
        )
        print_text(arguments, f"page: {shown(page)}")
    if arguments.png:
        files = [
            LabelledFile(path, [(mark, Path(path).name)], may_be_opened=path in allowed)
            for path, mark in marks.items()
        ]
        sheet = Sheet(title=arguments.query, note=note, files=files)
        draw_pictures(arguments, lambda: [draw_sheet(sheet, arguments.png)])
