"""Does a file lie below a folder, as its path says, and in truth?

A path may lead out of a folder where nobody sees it: by "..", or by a link. So there
are two answers, one for the text of a path, and one after all links.
"""

import os

from clip_np.files import File


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, as written and after all links.

    >>> is_below("/photos/a.png", "/photos"), is_below("/photos/../a.png", "/photos")
    (True, False)
    """
    as_written = is_inside(os.path.abspath(path), os.path.abspath(folder))
    # A path that already reads as foreign is not followed: on Windows, it may name
    # another computer.
    return as_written and is_inside(os.path.realpath(path), os.path.realpath(folder))


def is_inside(path: str, folder: str) -> bool:
    """Whether a normal absolute path is a folder or lies below it, as written.

    >>> is_inside("/photos/a.png", "/photos"), is_inside("/photos2/a.png", "/photos")
    (True, False)
    """
    return path == folder or path.startswith(os.path.join(folder, ""))


def folder_of(path: File) -> str:
    """The absolute path of the folder that a file lies in.

    >>> folder_of("/photos/a.png")
    '/photos'
    """
    return os.path.dirname(os.path.abspath(path))
