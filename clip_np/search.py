"""Where do programs find the search for images?

Here: this is the public address of clip_np.evaluation's search.

    from clip_np.search import build_index, search_index
"""

from clip_np.evaluation import (
    Index,
    Match,
    append_to_index,
    build_index,
    export_index,
    find_duplicates,
    read_index,
    search_index,
)

__all__ = [
    "Index",
    "Match",
    "append_to_index",
    "build_index",
    "export_index",
    "find_duplicates",
    "read_index",
    "search_index",
]
