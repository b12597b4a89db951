"""Do a configuration and the arrays of a file describe the same model?

A file is a stranger's word: "30,000 layers", "a vocabulary of a billion". Making that
model, to see then that its weights are missing, would take the memory that the word
asks for. So the word is held against what is there first. A configuration says the name
and the shape of every parameter and buffer:

    vision.conv1.weight           (W, 3*P*P)     patches to rows
    vision.positional_embedding   (1 + N, W)     N patches and the class token
    text.token_embedding.weight   (V, W)         a row for each id
    ...resblocks.i. and so on     for each layer i

and a file must hold these, and nothing else, before anything is built or converted.
Whoever names sizes must bring the numbers along, so a small file makes a small model.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from clip_np.encoders import CLIPConfig, ParameterShape, encoder_classes
from clip_np.files import FileError

NUMBERS = {"f": "floating-point", "i": "whole"}
NAMED_IN_ERRORS = 5  # of the names that are missing or unexpected, so many are listed


def parameter_shapes(config: CLIPConfig) -> Iterator[ParameterShape]:
    """What `CLIP(config, None)` keeps, without making it, one array after the other.

    >>> from clip_np.encoders import PRESETS
    >>> for path, shape, _ in itertools.islice(parameter_shapes(PRESETS["tiny"]), 3):
    ...     print(path, shape)
    logit_scale ()
    vision.class_embedding (64,)
    vision.positional_embedding (17, 64)
    """
    yield ParameterShape("logit_scale", ())
    if config.logit_bias is not None:
        yield ParameterShape("logit_bias", ())
    for name, encoder in encoder_classes(config).items():
        shapes = encoder.shapes(getattr(config, name), config.embed_dim)
        yield from _with_prefix(f"{name}.", shapes)


def _with_prefix(prefix: str, shapes: Iterator[ParameterShape]) -> Iterator[ParameterShape]:
    """The shapes with a beginning in front of their paths."""
    for shape in shapes:
        yield shape._replace(path=prefix + shape.path)


def require_shapes(state: Mapping[str, np.ndarray], config: CLIPConfig) -> None:
    """FileError unless the state is that of a model of this configuration.

    Each parameter and buffer must be there, in its shape, as numbers of its kind, and
    nothing else. The numbers are not looked at. The time depends on the state, whatever
    the configuration says.

    >>> from clip_np.encoders import PRESETS
    >>> require_shapes({"logit_scale": np.ones(2)}, PRESETS["tiny"])
    Traceback (most recent call last):
    clip_np.files.errors.FileError: weights and configuration disagree: logit_scale ...
    """
    require_state(state, parameter_shapes(config))


def require_state(state: Mapping[str, np.ndarray], expected: Iterable[ParameterShape]) -> None:
    """FileError unless the state has the expected parameters, and nothing else.

    >>> require_state({"bias": np.ones(2)}, [ParameterShape("bias", (3,))])
    Traceback (most recent call last):
    clip_np.files.errors.FileError: weights and configuration disagree: bias has ...
    """
    missing: list[str] = []
    known: set[str] = set()
    for path, shape, kind in expected:
        if path not in state:
            missing.append(path)
            if len(missing) == NAMED_IN_ERRORS:
                break  # a configuration may name layers without end
            continue
        known.add(path)
        array = state[path]
        if array.shape != shape or array.dtype.kind != kind:
            raise FileError(
                f"weights and configuration disagree: {path} has shape {array.shape} and dtype "
                f"{array.dtype}, the configuration needs {shape} and {NUMBERS[kind]} numbers"
            )
    unexpected = list(
        itertools.islice((path for path in state if path not in known), NAMED_IN_ERRORS)
    )
    if missing:
        raise FileError(f"weights and configuration disagree: missing {missing}")
    if unexpected:
        raise FileError(f"weights and configuration disagree: unexpected {unexpected}")
