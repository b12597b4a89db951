"""How are images embedded once, and found again from a shell?

`clip-np embed` builds an index file, and `clip-np search` asks it. The index names the
model that made it, so a search needs no --model unless that has moved.
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
from clip_np.evaluation import build_index, html_page, read_index, search_index
from clip_np.weights import load


def embed_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at images once and keep what the model sees, for clip-np search."""
    loaded = load_model(arguments)
    try:
        index = build_index(
            arguments.index, loaded.inputs, loaded.model, loaded.preprocess, name=loaded.path
        )
    except KeyboardInterrupt:
        print_text(arguments, "stopped, all that was seen is saved; the same command goes on")
        raise
    unreadable = {path: file.problem for path, file in index.files.items() if file.problem}
    print_unreadable(list(unreadable.values()), len(index.files))
    count = len(index.paths)
    print_text(arguments, f"{count:,} images in {arguments.index}")
    return {"images": count, "unreadable": unreadable}


def search_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find the images of an index that fit a sentence, or that resemble an image."""
    index = read_index(arguments.index)
    try:
        model, preprocess, tokenizer = load(
            arguments.model or index.model, arguments.backend or "numpy"
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --model PATH says where the model is") from error
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

    note = f"The best of {len(index.paths):,} images, and their cosines."
    if arguments.html:
        page = html_page(list(marks.items()), arguments.html, title=arguments.query, note=note)
        print_text(arguments, f"page: {page}")
    if arguments.png:
        files = [LabelledFile(path, [(mark, Path(path).name)]) for path, mark in marks.items()]
        sheet = Sheet(title=arguments.query, note=note, files=files)
        draw_pictures(arguments, lambda: [draw_sheet(sheet, arguments.png)])
    return {match.path: match.cosine for match in matches}
