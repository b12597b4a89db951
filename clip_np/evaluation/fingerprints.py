"""How are two models told apart by eight letters?

Features of different models have nothing in common, so whoever keeps features keeps
with them a *fingerprint* of the model that made them: a checksum of all that features
depend on, which are the sizes, the weights and the preprocessing. One changed weight
makes another fingerprint.

It finds mistakes, and is no protection against a person who wants two models to have
the same: a CRC is easily forged.
"""

import dataclasses
import zlib
from typing import Any

import numpy as np

from clip_np.data import Preprocess
from clip_np.model import CLIP

# Fields that version 0.1 did not have. At their defaults they are left out, so that the
# indexes of that version stay valid.
LATER_FIELDS = {"kind", "logit_bias", "squash"}


def _described(settings: Any) -> str:
    """The text of a dataclass, as `repr` but for later fields at their defaults.

    >>> _described(Preprocess(8, mean=(0, 0, 0), std=(1, 1, 1)))
    'Preprocess(size=8, convert_first=False, mean=(0, 0, 0), std=(1, 1, 1))'
    """
    if not dataclasses.is_dataclass(settings):
        return repr(settings)
    entries = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if not (field.name in LATER_FIELDS and value == field.default):
            entries.append(f"{field.name}={_described(value)}")
    return f"{type(settings).__name__}({', '.join(entries)})"


def fingerprint(model: CLIP, preprocess: Preprocess) -> str:
    """Eight hexadecimal digits that tell models apart.

    They are a checksum of all that features depend on: sizes, weights, and
    preprocessing.
    """
    checksum = zlib.crc32(f"{_described(model.config)} {_described(preprocess)}".encode())
    tensors = [*model.parameters(), *(buffer for _, buffer in model.named_buffers())]
    for tensor in tensors:
        checksum = zlib.crc32(np.ascontiguousarray(tensor.numpy()).data, checksum)
    return f"{checksum:08x}"
