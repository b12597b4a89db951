"""Bytes, safely in and out. This part knows nothing of CLIP.

Writing: every writer goes through `replace_file`, so a file is whole or not there at
all. Files that belong together go through `replace_together`.

Reading: a file comes from a stranger. It may only be read: no program in it runs, and
nothing it claims is believed before it is checked against the size of the file.
Whatever is wrong ends as a `FileError` that says which file and why.

    .safetensors     read_safetensors, write_safetensors    named arrays, mapped
    .pt .pth .bin    read_torch, read_torch_state           the same, PyTorch's files
    .npz             read_npz, write_npz                    named arrays, copied
                     map_npz, write_mapped_npz              the same, mapped
                     read_archive, write_archive            the same, and settings
    .json            read_json, write_json                  an object
    .txt .gz         read_text                              text, at most 6 MB

An arrow points from a file to the files that use it. All of them use errors:

    errors --> stale --> whole --> text_files --------> safetensors
                         whole --> npz ---------------> archives
                         whole --> together
    zip_files -------------------> npz
    arrays ----------------------> safetensors
    arrays --> torch_archive ----> pickles
    pickle_machine --------------> pickles
    pickle_machine, arrays ------> torch_tensors --> pickles

>>> import tempfile
>>> import numpy as np
>>> with tempfile.TemporaryDirectory() as folder:
...     write_safetensors(f"{folder}/a.safetensors", {"bias": np.ones(2)})
...     arrays, metadata = read_safetensors(f"{folder}/a.safetensors")
>>> arrays
{'bias': array([1., 1.])}
"""

from clip_np.files.archives import read_archive, write_archive
from clip_np.files.arrays import require_finite, with_dtype
from clip_np.files.errors import File, FileError, file_errors
from clip_np.files.locks import LockedError, exclusive, lock_path
from clip_np.files.mapped_npz import map_npz, write_mapped_npz
from clip_np.files.npz import read_npz, write_npz
from clip_np.files.pickles import read_torch, read_torch_state
from clip_np.files.safetensors import read_safetensors, write_safetensors
from clip_np.files.stale import remove_stale
from clip_np.files.showing import shown, shown_lines
from clip_np.files.text_files import parse_json, read_json, read_text, write_json
from clip_np.files.together import finish_replacing, replace_together
from clip_np.files.whole import make_folder, refuse_to_replace, replace_file, sync_folder
from clip_np.files.zip_files import open_zip

__all__ = [
    "File",
    "FileError",
    "LockedError",
    "exclusive",
    "file_errors",
    "finish_replacing",
    "lock_path",
    "make_folder",
    "map_npz",
    "open_zip",
    "parse_json",
    "read_archive",
    "read_json",
    "read_npz",
    "read_safetensors",
    "read_text",
    "read_torch",
    "read_torch_state",
    "refuse_to_replace",
    "remove_stale",
    "replace_file",
    "replace_together",
    "require_finite",
    "shown",
    "shown_lines",
    "sync_folder",
    "with_dtype",
    "write_archive",
    "write_json",
    "write_mapped_npz",
    "write_npz",
    "write_safetensors",
]
