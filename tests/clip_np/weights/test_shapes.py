"""The shapes that a configuration names are those of the model."""

import itertools

import numpy as np
import pytest
from small_models import SMALL

from clip_np import CLIP, PRESETS
from clip_np.encoders import choose_encoders
from clip_np.files import FileError
from clip_np.weights.shapes import parameter_shapes, require_shapes


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        PRESETS["tiny"],
        PRESETS["small"],
        PRESETS["tutorial"],
        choose_encoders("tiny", vision="resnet"),
        choose_encoders("small", vision="resnet"),
    ],
)
def test_the_shapes_are_those_of_the_model(config):
    state = CLIP(config, None).state_dict()
    shapes = {path: (shape, kind) for path, shape, kind in parameter_shapes(config)}
    assert shapes == {path: (array.shape, array.dtype.kind) for path, array in state.items()}
    require_shapes(state, config)


def test_what_is_missing_or_too_much_is_named():
    state = CLIP(SMALL, None).state_dict()
    require_shapes(state, SMALL)
    for path in state:
        rest = {name: array for name, array in state.items() if name != path}
        with pytest.raises(FileError, match="missing"):
            require_shapes(rest, SMALL)
    with pytest.raises(FileError, match=r"unexpected \['extra'\]"):
        require_shapes(state | {"extra": np.ones(2, np.float32)}, SMALL)
    with pytest.raises(FileError, match=r"vision\.proj has shape .* and dtype int64"):
        require_shapes(state | {"vision.proj": np.zeros(state["vision.proj"].shape, int)}, SMALL)


def test_the_walk_stops_at_what_is_not_there():
    first = list(itertools.islice(parameter_shapes(SMALL), 3))
    assert first[0].path == "logit_scale"
