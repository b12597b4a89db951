"""The shapes task: what is drawn."""

import numpy as np
import pytest
from shapes_task import foreground, scene

from clip_np.data import drawing, scenes, shapes


@pytest.fixture(scope="module")
def pairs():
    return shapes.training_pairs(3000, np.random.default_rng(0))


def test_inside_has_the_area_of_each_shape():
    r = 100.0
    x, y = np.meshgrid(np.arange(-120, 120) + 0.5, np.arange(-120, 120) + 0.5)
    areas = {
        "circle": np.pi,
        "square": 1.76**2,
        "triangle": 0.58 * 1.8**2,
        "cross": 2 * (2 * 0.68) - 0.68**2,
        "ring": np.pi * (1 - 0.55**2),
        "star": np.pi * (0.42**2 + 2 * 0.42 * 0.68 / 2.5 + 0.68**2 / 4),
    }
    for name, area in areas.items():
        assert drawing.INSIDE[name](x, y, r).sum() / r**2 == pytest.approx(area, rel=0.01), name


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("triangle", [(0, -0.95), (0.9, 0.75), (-0.9, 0.75)], [(0.3, -0.9), (0, 0.85)]),
        ("star", [(0, -1.05), (0.6, 0.85), (-0.6, 0.85)], [(0, 1.05), (0, 0.5)]),
        ("cross", [(0.95, 0.3), (-0.3, 0.95)], [(0.5, 0.5), (1.05, 0)]),
        ("ring", [(0.6, 0), (0, -0.95)], [(0, 0), (0.5, 0)]),
        ("square", [(0.85, 0.85)], [(0.92, 0)]),
        ("circle", [(0.7, 0.7)], [(0.75, 0.75)]),
    ],
)
def test_inside_has_each_shape_upright(name, inside, outside):
    for points, expected in ((inside, True), (outside, False)):
        for x, y in points:
            point = (np.array(10.0 * x), np.array(10.0 * y), np.array(10.0))
            assert drawing.INSIDE[name](*point) == expected, (x, y)


def test_backgrounds_are_one_grey_dark_or_bright(pairs):
    border = pairs[0][:, 0].astype(float)  # objects reach the first row hardly ever
    grey = np.median(border.reshape(len(border), -1), axis=1)
    dark, bright = grey[grey < 128], grey[grey >= 128]
    assert len(dark) / len(grey) == pytest.approx(0.5, abs=0.04)
    assert 0 <= dark.min() < 3 < 55 < dark.max() <= 62
    assert 197 <= bright.min() < 203 < 250 < bright.max() <= 255
    channels = border[(grey > 20) & (grey < 235)].mean(axis=(0, 1))
    assert np.ptp(channels) < 1.5


def test_noise_has_standard_deviation_5_in_every_channel():
    images = drawing.render(
        scene(400, ["red ring"] * 2, ["small"] * 2, 4), np.random.default_rng(0)
    )
    corner = images[:, :12, :12].astype(float)
    inner = corner[(corner.mean(axis=(1, 2, 3)) > 20) & (corner.mean(axis=(1, 2, 3)) < 235)]
    noise = inner - inner.mean(axis=(1, 2, 3), keepdims=True)
    assert noise.std() == pytest.approx(5, abs=0.05)
    assert abs(np.corrcoef(noise.reshape(-1, 3).T)[0, 1]) < 0.02


@pytest.mark.parametrize("place", range(5))
def test_one_object_lies_where_the_caption_says(place):
    x, y = list(scenes.PLACES.values())[place]
    images = drawing.render(
        scene(300, ["red circle"] * 2, ["small"] * 2, place), np.random.default_rng(place)
    )
    mask, _ = foreground(images)
    middle = np.arange(32) + 0.5
    area = mask.sum(axis=(1, 2))
    right = (mask * middle).sum(axis=(1, 2)) / area - x
    down = (mask * middle[:, None]).sum(axis=(1, 2)) / area - y
    for jitter in (right, down):
        assert np.abs(jitter).max() < 1.5
        assert abs(jitter.mean()) < 0.2
        assert jitter.std() == pytest.approx(2.4 / np.sqrt(12), abs=0.1)
    assert abs(np.corrcoef(right, down)[0, 1]) < 0.2


@pytest.mark.parametrize(("size", "radius"), [("small", 3.9), ("large", 6.6)])
def test_objects_have_the_size_that_the_caption_says(size, radius):
    images = drawing.render(
        scene(200, ["blue square"] * 2, [size] * 2, 0), np.random.default_rng(0)
    )
    red = images[images[:, 0, 0, 0] > 190][..., 0].astype(float)  # 50 on 200 to 255
    contrast = red[:, :3].mean(axis=(1, 2), keepdims=True) - red
    side = np.sqrt(contrast.sum(axis=(1, 2)) / contrast[:, 15:17, 15:17].mean(axis=(1, 2)))
    assert side.mean() == pytest.approx(1.76 * radius, rel=0.02)
    # The radius varies by a factor of uniform(0.92, 1.08).
    assert side.std() / side.mean() == pytest.approx(0.16 / np.sqrt(12), rel=0.35)


@pytest.mark.parametrize("colour", list(scenes.COLOURS))
def test_objects_have_the_colour_that_the_caption_says(colour):
    images = drawing.render(
        scene(400, [f"{colour} circle"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    middle = images[:, 14:18, 14:18].astype(float).mean(axis=(1, 2))  # (n, 3)
    expected = np.array(scenes.COLOURS[colour])
    unclipped = expected < 210  # brighter channels lose what exceeds 255
    assert middle[:, unclipped].mean(axis=0) == pytest.approx(expected[unclipped] * 0.975, abs=4)
    if unclipped.any():
        spread = np.sqrt((expected[unclipped] * 0.25 / np.sqrt(12)) ** 2 + 6**2)
        assert middle[:, unclipped].std(axis=0) == pytest.approx(spread, rel=0.2)


def test_brightness_varies_by_one_factor_for_all_channels():
    images = drawing.render(
        scene(400, ["cyan circle"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    green, blue = images[:, 14:18, 14:18, 1:].astype(float).mean(axis=(1, 2)).T
    assert np.corrcoef(green, blue)[0, 1] > 0.75


@pytest.mark.parametrize("relation", list(scenes.RELATIONS))
def test_two_objects_lie_as_the_relation_says(relation):
    layout = len(scenes.PLACES) + list(scenes.RELATIONS).index(relation)
    images = drawing.render(
        scene(50, ["red circle", "blue circle"], ["small", "small"], layout, level=12),
        np.random.default_rng(0),
    )
    first, second = {
        "above": ((8, 12), (24, 12)),
        "below": ((24, 12), (8, 12)),
        "left of": ((12, 8), (12, 24)),
        "right of": ((12, 24), (12, 8)),
    }[relation]  # row, column
    red = images[:, first[0], first[1]].astype(int)
    blue = images[:, second[0], second[1]].astype(int)
    assert (red[:, 0] > red[:, 2] + 80).all()
    assert (blue[:, 2] > blue[:, 0] + 80).all()


def test_edges_are_soft():
    images = drawing.render(
        scene(50, ["red square"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    bright = images[images[:, 0, 0, 1] > 190]  # red's green is 40, the background's above 200
    green = bright[..., 1].astype(int)
    between = ((green > 90) & (green < 160)).sum(axis=(1, 2))
    assert between.mean() > 10
