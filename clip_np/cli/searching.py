"""How are images embedded once, and found again from a shell?

`clip-np embed` builds an index, `clip-np search` asks it, `clip-np duplicates` lists
what it holds twice, and `clip-np export` hands it to another search engine. The index
names the model that made it, so a search needs no --model unless that has moved.

An index may come from a stranger. It decides neither which pictures of this computer
are opened (see `Index.may_open`), nor which model is fetched from the hub.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from clip_np.cli.launch import EMBEDDING_DEADLINE, join_launch
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
from clip_np.evaluation import (
    EQUAL,
    Index,
    build_index,
    export_index,
    find_duplicates,
    fingerprint,
    help_to_embed,
    html_page,
    is_there,
    names_an_image,
    read_index,
    search_index,
)
from clip_np.files import refuse_to_replace, shown
from clip_np.training import require_alike
from clip_np.weights import load

ASKED = "query"  # the mark of an image that was asked with


def embed_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at images once and keep what the model sees, for clip-np search."""
    comm = join_launch(arguments, EMBEDDING_DEADLINE)
    loaded = load_model(arguments)
    if comm is not None:
        require_alike(comm, "models", fingerprint(loaded.model, loaded.preprocess))
        if comm.rank > 0:
            help_to_embed(comm, loaded.model, loaded.preprocess)
            return {}
    try:
        index = build_index(
            arguments.index,
            loaded.inputs,
            loaded.model,
            loaded.preprocess,
            name=loaded.path,
            allow_outside=bool(arguments.allow_outside),
            root=arguments.root or "",
            drop_missing=bool(arguments.drop_missing),
            comm=comm,
        )
    except KeyboardInterrupt:
        print_text(arguments, "stopped, all that was seen is saved; the same command goes on")
        raise
    unreadable = index.unreadable
    print_unreadable(list(unreadable.values()), len(index) + len(unreadable))
    growth = index.growth
    print_text(arguments, f"+{growth.new:,} new, {growth.changed:,} changed, {growth.gone:,} gone")
    print_text(arguments, f"{len(index):,} images in {shown(arguments.index)}")
    if growth.missing:
        print_text(
            arguments,
            f"{growth.missing:,} of them, in folders that were not named, are not there just now "
            "and stay (--drop-missing drops them)",
        )
    return {"images": len(index), "unreadable": unreadable, **growth._asdict()}


def search_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find the images of an index that fit a sentence, or that resemble an image."""
    index = read_index(arguments.index, root=arguments.root or "")
    for output in filter(None, (arguments.html, arguments.png)):
        asked = filter(names_an_image, [*arguments.query, *(arguments.minus or [])])
        refuse_to_replace(output, inputs=[*index.own_files, *asked])
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
        minus=arguments.minus or [],
        fold=bool(arguments.fold),
    )
    marks = {match.path: f"{match.cosine:.3f}" for match in matches}
    gone = [path for path in marks if not is_there(index, path)]
    table = [
        LabelledFile(path, [(mark, _from_here(path) + (" (gone)" if path in gone else ""))])
        for path, mark in marks.items()
    ]
    print_labels(arguments, table)
    if gone:
        print_text(
            arguments,
            f"{len(gone)} of {len(marks)} images are not there any more; if they were moved: "
            f"--root FOLDER, for what was {shown(index.folder)}",
        )
    if arguments.html or arguments.png:
        _show(arguments, index, marks)
    return {match.path: match.cosine for match in matches}


def duplicates_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """List the images of an index that are the same."""
    index = read_index(arguments.index, root=arguments.root or "")
    cosine = EQUAL if arguments.cosine is None else arguments.cosine
    groups = find_duplicates(index, cosine)
    for group in groups:
        for path in group:
            print_text(arguments, shown(_from_here(path)))
        print_text(arguments, "")
    copies = sum(len(group) - 1 for group in groups)
    print_text(arguments, f"{copies:,} of {len(index):,} images are copies of another one")
    return {"groups": groups}


def export_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write an index in the layout of another search engine."""
    index = read_index(arguments.index, root=arguments.root or "")
    export_index(index, arguments.output, to=arguments.to)
    print_text(arguments, f"{len(index):,} images in {shown(arguments.output)}")
    return {"images": len(index), "embed_dim": index.width, "file": arguments.output}


def _from_here(path: str) -> str:
    """A path as it is printed: without the present folder, if it lies below it."""
    return path.removeprefix(os.path.join(os.getcwd(), ""))


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


def _title(arguments: argparse.Namespace) -> str:
    """The query in one line."""
    parts = [" + ".join(arguments.query), *(arguments.minus or [])]
    return " - ".join(parts)


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
    title = _title(arguments)
    note = f"The best of {len(index):,} images, and their cosines."
    asked = [os.path.abspath(part) for part in arguments.query if names_an_image(part)]
    if asked:
        note = f"First what was asked with, then the best of {len(index):,} images."
    if arguments.html:
        page = html_page(
            [*((path, ASKED) for path in asked), *marks.items()],
            arguments.html,
            title=title,
            note=note,
            may_open={*asked, *allowed}.__contains__,
        )
        print_text(arguments, f"page: {shown(page)}")
    if arguments.png:
        files = [LabelledFile(path, [(ASKED, Path(path).name)]) for path in asked]
        files += [
            LabelledFile(path, [(mark, _from(index, path))], may_be_opened=path in allowed)
            for path, mark in marks.items()
        ]
        sheet = Sheet(title=title, note=note, files=files)
        draw_pictures(arguments, lambda: [draw_sheet(sheet, arguments.png)], is_asked=True)


def _from(index: Index, path: str) -> str:
    """A path as it stands below a picture: from the root of the index."""
    return path.removeprefix(os.path.join(index.folder, ""))
