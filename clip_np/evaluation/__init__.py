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
bootstrap           how far a figure may be off
zero_shot           classes and captions as sentences to choose from
class_lists         which classes there are, and their templates
probes, neighbours  classes learned from labelled images
confusion           which classes are taken for which others
measuring           figures with chance and intervals
reports             the figures of a set of pairs
folders             image files as unit rows, decoded by threads
rank_embedding      the same, by several processes on one machine or many
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
run_comparison, confusion_pictures                   two more
explaining          where an image speaks for a text: maps, and a picture of them
exploring           a page on which a model can be clicked, and its numbers
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
from clip_np.evaluation.metrics import (
    TIE,
    multiple_choice_accuracy,
    ranks,
    retrieval_metrics,
    retrieval_ranks,
)
from clip_np.evaluation.chance import chance_of_recall
from clip_np.evaluation.bootstrap import Interval, bootstrap_interval
from clip_np.evaluation.zero_shot import caption_probabilities, zero_shot_classifier
from clip_np.evaluation.class_lists import (
    TEMPLATES,
    ClassList,
    classes_of,
    read_classes,
    read_templates,
)
from clip_np.evaluation.probes import LinearProbe, linear_probe
from clip_np.evaluation.neighbours import NEIGHBOURS, nearest_neighbours
from clip_np.evaluation.confusion import Confusion, confusion_matrix, most_confused
from clip_np.evaluation.measuring import Measurement, class_ranks, measure_classes, measure_pairs
from clip_np.evaluation.folders import embed_files, image_files
from clip_np.evaluation.rank_embedding import (
    ConnectedRank,
    embed_texts_over,
    help_to_embed,
    is_follower,
)
from clip_np.evaluation.reports import CHOICES, embed_readable, pairs_report
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
from clip_np.evaluation.run_comparison import RunCurves, compare_runs, option_differences
from clip_np.evaluation.matrices import similarity_matrix
from clip_np.evaluation.confusion_pictures import confusion_picture
from clip_np.evaluation.galleries import caption_grid, labelled_images
from clip_np.evaluation.attention_pictures import attention_maps
from clip_np.evaluation.explaining import METHODS, Explanation, explain, explanation_picture
from clip_np.evaluation.page import html_page, read_picture
from clip_np.evaluation.run_pages import Chart, Line, Picture, Table, run_page

__all__ = [
    "CHOICES",
    "EQUAL",
    "LAYOUTS",
    "METHODS",
    "NEIGHBOURS",
    "TEMPLATES",
    "TIE",
    "AnyTokenizer",
    "Chart",
    "ClassList",
    "Confusion",
    "ConnectedRank",
    "CutTextWarning",
    "Explanation",
    "Growth",
    "Index",
    "IndexedFile",
    "Interval",
    "Line",
    "LinearProbe",
    "Match",
    "Measurement",
    "MissingMatplotlib",
    "Picture",
    "RunCurves",
    "Table",
    "append_to_index",
    "attention_maps",
    "bootstrap_interval",
    "build_index",
    "caption_grid",
    "caption_probabilities",
    "chance_of_recall",
    "class_ranks",
    "classes_of",
    "compare_runs",
    "confusion_matrix",
    "confusion_picture",
    "embed_files",
    "embed_images",
    "embed_readable",
    "embed_texts",
    "embed_texts_over",
    "explain",
    "explanation_picture",
    "export_index",
    "find_duplicates",
    "fingerprint",
    "help_to_embed",
    "html_page",
    "image_files",
    "is_follower",
    "is_index",
    "is_there",
    "labelled_images",
    "linear_probe",
    "loss_curve",
    "measure_classes",
    "measure_pairs",
    "most_confused",
    "multiple_choice_accuracy",
    "names_an_image",
    "nearest_neighbours",
    "option_differences",
    "pairs_report",
    "ranks",
    "read_classes",
    "read_index",
    "read_picture",
    "read_templates",
    "retrieval_metrics",
    "retrieval_ranks",
    "run_page",
    "search_index",
    "similarity_matrix",
    "unit_features",
    "write_index",
    "zero_shot_classifier",
]
