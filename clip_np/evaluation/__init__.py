"""Vectors become figures and pictures: how good is a model, and what does it see?

    images ── embed_images ──> unit rows (N, E) ─┬─ retrieval_metrics ──> figures
    captions ─ embed_texts ──> unit rows (N, E) ─┼─ similarity_matrix ──> a picture
    files ─── build_index ───> unit rows (N, E) ─┴─ search_index ───────> nearest images

Everything here starts from unit features, whose products are cosines. It knows no data
set and trains nothing.

    >>> import numpy as np
    >>> from clip_np.evaluation import retrieval_metrics
    >>> features = np.eye(4)  # four images; each caption points where its image does
    >>> retrieval_metrics(features, features)["recall_at_1"]
    1.0

features            images and texts as unit rows
metrics             recall, median rank, multiple choice
chance              the recall of a model that knows nothing
zero_shot           classes and captions as sentences to choose from
reports             the figures of a set of pairs
folders             image files as unit rows, decoded by threads
index, search       the rows kept in files, and asked for the nearest
queries             sentences and images, added up and taken away
duplicates          images that are the same
building, contents  how an index grows, and knows pictures again
index_files, index_parts, index_writer      how an index is opened, divided, added to
index_table, seals, old_index        its files, who made it, and its earlier format
exports                              an index for other search engines
fingerprints, index_paths            which model made it, and what lies below a folder
fonts               which fonts have the letters of a caption
drawing             figures whose coordinates are inches
curves, matrices, galleries, attention_pictures      a kind of picture each
explaining          where an image speaks for a text: maps, and a picture of them
page                a web page of results
run_pages           a web page about a run

Pictures need matplotlib, which is imported when the first one is drawn. The page does
not.
"""

from clip_np.evaluation.features import (
    AnyTokenizer,
    CutTextWarning,
    embed_images,
    embed_texts,
    unit_features,
)
from clip_np.evaluation.metrics import TIE, multiple_choice_accuracy, ranks, retrieval_metrics
from clip_np.evaluation.chance import chance_of_recall
from clip_np.evaluation.zero_shot import caption_probabilities, zero_shot_classifier
from clip_np.evaluation.folders import embed_files, image_files
from clip_np.evaluation.reports import pairs_chance, pairs_report, prepared_pairs_report
from clip_np.evaluation.index_table import IndexedFile
from clip_np.evaluation.fingerprints import fingerprint
from clip_np.evaluation.index import Growth, Index
from clip_np.evaluation.index_files import is_index, read_index, write_index
from clip_np.evaluation.index_writer import append_to_index
from clip_np.evaluation.exports import LAYOUTS, export_index
from clip_np.evaluation.building import build_index
from clip_np.evaluation.queries import names_an_image
from clip_np.evaluation.duplicates import EQUAL, find_duplicates
from clip_np.evaluation.search import Match, is_there, search_index
from clip_np.evaluation.fonts import MissingMatplotlib
from clip_np.evaluation.curves import loss_curve
from clip_np.evaluation.matrices import similarity_matrix
from clip_np.evaluation.galleries import caption_grid, labelled_images
from clip_np.evaluation.attention_pictures import attention_maps
from clip_np.evaluation.explaining import METHODS, Explanation, explain, explanation_picture
from clip_np.evaluation.page import html_page, read_picture
from clip_np.evaluation.run_pages import Chart, Line, Picture, Table, run_page

__all__ = [
    "EQUAL",
    "LAYOUTS",
    "METHODS",
    "TIE",
    "AnyTokenizer",
    "Chart",
    "CutTextWarning",
    "Explanation",
    "Growth",
    "Index",
    "IndexedFile",
    "Line",
    "Match",
    "MissingMatplotlib",
    "Picture",
    "Table",
    "append_to_index",
    "attention_maps",
    "build_index",
    "caption_grid",
    "caption_probabilities",
    "chance_of_recall",
    "embed_files",
    "embed_images",
    "embed_texts",
    "explain",
    "explanation_picture",
    "export_index",
    "find_duplicates",
    "fingerprint",
    "html_page",
    "image_files",
    "is_index",
    "is_there",
    "labelled_images",
    "loss_curve",
    "multiple_choice_accuracy",
    "names_an_image",
    "pairs_chance",
    "pairs_report",
    "prepared_pairs_report",
    "ranks",
    "read_index",
    "read_picture",
    "retrieval_metrics",
    "run_page",
    "search_index",
    "similarity_matrix",
    "unit_features",
    "write_index",
    "zero_shot_classifier",
]
