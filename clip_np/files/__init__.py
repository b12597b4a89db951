"""files."""

from clip_np.files.pickles import read_torch, read_torch_state
from clip_np.files.safetensors import read_safetensors, write_safetensors
from clip_np.files.whole import (
    File,
    FileError,
    naming,
    parse_json,
    read_json,
    read_npz,
    read_record,
    read_text,
    replace_file,
    require_finite,
    write_json,
    write_npz,
    write_record,
)
