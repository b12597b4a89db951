"""Resized positions against PyTorch's interpolation and open_clip's own code."""

import numpy as np
import pytest

from clip_np.encoders.position_grids import resize_grid, resize_positions

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
from theirs import open_clip  # noqa: E402

SIZES = [(7, 7), (7, 12), (14, 24), (16, 24), (12, 7), (24, 14), (24, 5), (3, 17), (2, 1), (1, 4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_grid_is_resized_as_pytorch_resizes_it(old, new, dtype):
    grid = np.random.default_rng(0).standard_normal((old, old, 5)).astype(dtype)
    image = torch.from_numpy(grid).permute(2, 0, 1)[None]  # (1, W, n, n)
    wanted = torch.nn.functional.interpolate(
        image, size=(new, new), mode="bicubic", antialias=True, align_corners=False
    )[0].permute(1, 2, 0)
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(resize_grid(grid, new), wanted.numpy(), atol=tolerance)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_positions_are_those_of_open_clip(old, new):
    class Model:
        class visual:
            grid_size = (new, new)

    positions = np.random.default_rng(1).standard_normal((1 + old * old, 6)).astype(np.float32)
    state = {"visual.positional_embedding": torch.from_numpy(positions)}
    open_clip().model.resize_pos_embed(state, Model)
    wanted = state["visual.positional_embedding"].numpy()
    np.testing.assert_allclose(resize_positions(positions, new), wanted, atol=1e-5)
