"""The shapes task: what is drawn, what the captions say, what is held out, and the fixed split."""

import hashlib
import io
import re
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from clip_np.data import DataError, shapes

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink"]
WITHHELD = ["square", "triangle", "star", "circle", "cross", "ring", "square", "triangle"]
HELD_OUT = set(zip(COLOURS, WITHHELD))
KINDS = ("all", "heldout", "zeroshot_seen", "zeroshot_heldout")
OBJECT = r"a (small|large) (\w+) (\w+)"
PLACE = r"(in the center|at the (?:top|bottom) (?:left|right))"
SINGLE = re.compile(f"{OBJECT} {PLACE}")
DOUBLE = re.compile(f"{OBJECT} (above|below|left of|right of) {OBJECT}")


@pytest.fixture(scope="module")
def pairs():
    return shapes.training_pairs(3000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def split():
    return shapes.test_split(0)


def objects(caption):
    """The (colour, shape) pairs that a caption names."""
    if match := SINGLE.fullmatch(caption):
        return [match.groups()[1:3]]
    groups = DOUBLE.fullmatch(caption).groups()
    return [groups[1:3], groups[5:7]]


def scene(count, labels, sizes, layout, level=16):
    """``count`` copies of one scene; labels and sizes are names, layout an index."""
    labels = [shapes.CLASSES.index(name) for name in labels]
    sizes = [list(shapes.SIZES).index(name) for name in sizes]
    return shapes.Scenes(
        np.tile(labels, (count, 1)),
        np.tile(sizes, (count, 1)),
        np.full(count, layout),
        np.full(count, level),
    )


def foreground(images):
    """Which pixels differ from the grey of the border: (n, 32, 32) bool, and that grey (n,)."""
    grey = np.median(images[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(len(images), -1), axis=1)
    difference = np.abs(images - grey[:, None, None, None]).max(axis=3)
    return difference > 30, grey


# The definition


def test_the_names_of_the_world():
    assert shapes.COLOURS["orange"] == (240, 135, 30)
    assert list(shapes.COLOURS) == COLOURS
    assert shapes.SHAPES == ("circle", "square", "triangle", "cross", "ring", "star")
    assert shapes.SIZES == {"small": 3.9, "large": 6.6}
    assert set(shapes.RELATIONS) == {"above", "below", "left of", "right of"}
    assert len(shapes.CLASSES) == 48
    assert shapes.CLASSES[6 * 2 + 5] == "blue star"
    assert len(set(shapes.PROMPTS)) == 10
    assert "a small {} in the center" in shapes.PROMPTS
    assert all(SINGLE.fullmatch(prompt.format("red circle")) for prompt in shapes.PROMPTS)


def test_the_held_out_pairs():
    assert shapes.HELD_OUT == HELD_OUT
    assert shapes.HELD_OUT_LABELS == (1, 8, 17, 18, 27, 34, 37, 44)
    named = {tuple(shapes.CLASSES[label].split()) for label in shapes.HELD_OUT_LABELS}
    assert named == HELD_OUT


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
        assert shapes.INSIDE[name](x, y, r).sum() / r**2 == pytest.approx(area, rel=0.01), name


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
            assert shapes.INSIDE[name](*point) == expected, (x, y)


# Captions


def test_training_captions_follow_the_grammar_and_hold_nothing_out(pairs):
    named = Counter(pair for caption in pairs[1] for pair in objects(caption))
    every = {(colour, shape) for colour in shapes.COLOURS for shape in shapes.SHAPES}
    assert set(named) == every - HELD_OUT
    mean = sum(named.values()) / 40
    assert all(abs(count - mean) < 5 * np.sqrt(mean) for count in named.values())


def test_training_captions_are_as_frequent_as_defined(pairs):
    captions = pairs[1]
    single = [match for caption in captions if (match := SINGLE.fullmatch(caption))]
    double = [match for caption in captions if (match := DOUBLE.fullmatch(caption))]
    assert len(single) / len(captions) == pytest.approx(0.4, abs=0.04)
    places = Counter(match[4] for match in single)
    relations = Counter(match[4] for match in double)
    assert set(places) == set(shapes.PLACES)
    assert set(relations) == set(shapes.RELATIONS)
    assert min(places.values()) > 0.8 * len(single) / 5
    assert min(relations.values()) > 0.8 * len(double) / 4
    sizes = Counter(match[1] for match in single + double)
    assert sizes["small"] / len(captions) == pytest.approx(0.5, abs=0.04)


def test_levels_are_whole_pixels_from_10_to_22():
    scenes = shapes.draw_scenes(2000, np.random.default_rng(1), shapes.ALL_LABELS)
    assert set(scenes.levels.tolist()) == set(range(10, 23))


def test_scenes_say_and_place_what_they_hold():
    names, sizes = ["red ring", "pink star"], ["small", "large"]
    above = scene(1, names, sizes, layout=5, level=11)
    assert above.captions() == ["a small red ring above a large pink star"]
    assert above.centres().tolist() == [[[11, 8], [11, 24]]]
    right = scene(1, names, sizes, layout=8, level=21)
    assert right.captions() == ["a small red ring right of a large pink star"]
    assert right.centres().tolist() == [[[24, 21], [8, 21]]]
    corner = scene(1, names, sizes, layout=2)
    assert corner.captions() == ["a small red ring at the top right"]
    assert corner.centres()[0, 0].tolist() == [24, 8]


# Pictures


def test_images_and_captions_come_in_equal_number(pairs):
    images, captions = pairs
    assert images.shape == (3000, 32, 32, 3)
    assert images.dtype == np.uint8
    assert len(captions) == 3000
    images, captions = shapes.training_pairs(0, np.random.default_rng(0))
    assert images.shape == (0, 32, 32, 3)
    assert captions == []
    with pytest.raises(ValueError, match="negative"):
        shapes.training_pairs(-1, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_bytes():
    count = shapes.CHUNK + 3
    first, again, other = (
        shapes.training_pairs(count, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()
    assert first[1] != other[1]


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
    images = shapes.render(scene(400, ["red ring"] * 2, ["small"] * 2, 4), np.random.default_rng(0))
    corner = images[:, :12, :12].astype(float)
    inner = corner[(corner.mean(axis=(1, 2, 3)) > 20) & (corner.mean(axis=(1, 2, 3)) < 235)]
    noise = inner - inner.mean(axis=(1, 2, 3), keepdims=True)
    assert noise.std() == pytest.approx(5, abs=0.05)
    assert abs(np.corrcoef(noise.reshape(-1, 3).T)[0, 1]) < 0.02


@pytest.mark.parametrize("place", range(5))
def test_one_object_lies_where_the_caption_says(place):
    x, y = list(shapes.PLACES.values())[place]
    images = shapes.render(
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
    images = shapes.render(scene(200, ["blue square"] * 2, [size] * 2, 0), np.random.default_rng(0))
    red = images[images[:, 0, 0, 0] > 190][..., 0].astype(float)  # 50 on 200 to 255
    contrast = red[:, :3].mean(axis=(1, 2), keepdims=True) - red
    side = np.sqrt(contrast.sum(axis=(1, 2)) / contrast[:, 15:17, 15:17].mean(axis=(1, 2)))
    assert side.mean() == pytest.approx(1.76 * radius, rel=0.02)
    # The radius varies by a factor of uniform(0.92, 1.08).
    assert side.std() / side.mean() == pytest.approx(0.16 / np.sqrt(12), rel=0.35)


@pytest.mark.parametrize("colour", list(shapes.COLOURS))
def test_objects_have_the_colour_that_the_caption_says(colour):
    images = shapes.render(
        scene(400, [f"{colour} circle"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    middle = images[:, 14:18, 14:18].astype(float).mean(axis=(1, 2))  # (n, 3)
    expected = np.array(shapes.COLOURS[colour])
    unclipped = expected < 210  # brighter channels lose what exceeds 255
    assert middle[:, unclipped].mean(axis=0) == pytest.approx(expected[unclipped] * 0.975, abs=4)
    if unclipped.any():
        spread = np.sqrt((expected[unclipped] * 0.25 / np.sqrt(12)) ** 2 + 6**2)
        assert middle[:, unclipped].std(axis=0) == pytest.approx(spread, rel=0.2)


def test_brightness_varies_by_one_factor_for_all_channels():
    images = shapes.render(
        scene(400, ["cyan circle"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    green, blue = images[:, 14:18, 14:18, 1:].astype(float).mean(axis=(1, 2)).T
    assert np.corrcoef(green, blue)[0, 1] > 0.75


@pytest.mark.parametrize("relation", list(shapes.RELATIONS))
def test_two_objects_lie_as_the_relation_says(relation):
    layout = len(shapes.PLACES) + list(shapes.RELATIONS).index(relation)
    images = shapes.render(
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
    images = shapes.render(
        scene(50, ["red square"] * 2, ["large"] * 2, 0), np.random.default_rng(0)
    )
    bright = images[images[:, 0, 0, 1] > 190]  # red's green is 40, the background's above 200
    green = bright[..., 1].astype(int)
    between = ((green > 90) & (green < 160)).sum(axis=(1, 2))
    assert between.mean() > 10


# The test split


def test_the_four_kinds_and_their_sizes(split):
    sizes = {kind: len(part.captions) for kind, part in split.items()}
    assert sizes == {"all": 1000, "heldout": 1000, "zeroshot_seen": 800, "zeroshot_heldout": 160}
    for part in split.values():
        assert part.images.shape == (len(part.captions), 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert part.labels.shape == (len(part.captions),)
        assert part.labels.dtype == np.int64


def test_retrieval_captions_are_distinct(split):
    for kind in ("all", "heldout"):
        assert len(set(split[kind].captions)) == 1000
        assert (split[kind].labels == -1).all()
    named = {pair for caption in split["all"].captions for pair in objects(caption)}
    assert len(named) == 48
    named = {pair for caption in split["heldout"].captions for pair in objects(caption)}
    assert named == HELD_OUT


def test_zero_shot_images_show_one_object_of_every_class(split):
    seen, held_out = split["zeroshot_seen"], split["zeroshot_heldout"]
    assert set(held_out.labels.tolist()) == set(shapes.HELD_OUT_LABELS)
    assert set(seen.labels.tolist()) == set(range(48)) - set(shapes.HELD_OUT_LABELS)
    for part in (seen, held_out):
        assert set(Counter(part.labels.tolist()).values()) == {20}
        assert part.captions == [f"a {shapes.CLASSES[label]}" for label in part.labels]
    part = seen.images[seen.labels == shapes.CLASSES.index("green square")]
    mask, _ = foreground(part)
    for image, inside in zip(part, mask):
        red, green, blue = np.median(image[inside], axis=0)
        assert green > red + 40
        assert green > blue + 40
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) < 15  # one object, not two


def test_the_definition_has_not_changed(split):
    """A change would make old and new figures incomparable. Pixels are compared on average, as
    the last bit of a sine or a logarithm differs between processors."""
    images, captions = shapes.training_pairs(1000, np.random.default_rng(0))
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest().startswith("2ed82f5999f2e46e")
    captions = [caption for part in split.values() for caption in part.captions]
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest().startswith("dc7bdc4d4aea3c06")
    means = [images.mean(), *(part.images.mean() for part in split.values())]
    assert means == pytest.approx([127.23954, 127.40174, 131.00105, 127.1338, 127.55847], abs=1e-3)


def test_the_same_seed_gives_the_same_split(split):
    again, other = shapes.test_split(0), shapes.test_split(1)
    for kind, part in split.items():
        assert part.images.tobytes() == again[kind].images.tobytes()
        assert part.captions == again[kind].captions
        assert part.images.tobytes() != other[kind].images.tobytes()


# Reading the split from a file


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def columns(split):
    """The columns of a small split, two rows of each kind, the kinds mixed."""
    rows = [(kind, row) for row in (0, 1) for kind in KINDS]
    return {
        "img": [{"bytes": png(split[kind].images[row]), "path": None} for kind, row in rows],
        "text_EN": [split[kind].captions[row] for kind, row in rows],
        "kind": [kind for kind, _ in rows],
        "label": [int(split[kind].labels[row]) for kind, row in rows],
    }


def write(file, columns):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def test_parquet_round_trip_from_file_and_folder(split, columns, tmp_path):
    file = write(tmp_path / "test-00000-of-00001.parquet", columns)
    for path in (file, tmp_path, str(tmp_path)):
        read = shapes.read_test_split(path)
        assert tuple(read) == KINDS
        for kind, part in read.items():
            assert (part.images == split[kind].images[:2]).all()
            assert part.images.dtype == np.uint8
            assert part.captions == split[kind].captions[:2]
            assert part.labels.tolist() == split[kind].labels[:2].tolist()


def test_no_file_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no rows of kind all in 0 parquet test files"):
        shapes.read_test_split(tmp_path)
    with pytest.raises(DataError, match=r"nothing\.parquet cannot be read .*No such file"):
        shapes.read_test_split(tmp_path / "nothing.parquet")


def test_a_split_may_come_in_several_files(split, columns, tmp_path):
    for start, name in ((0, "test-00000-of-00002.parquet"), (4, "test-00001-of-00002.parquet")):
        write(tmp_path / name, {key: values[start:][:4] for key, values in columns.items()})
    read = shapes.read_test_split(tmp_path)
    assert read["heldout"].captions == split["heldout"].captions[:2]


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    file = tmp_path / "test-00000-of-00001.parquet"
    file.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "minigrad-clip\[data\]"'):
        shapes.read_test_split(file)


def test_a_damaged_file_is_refused_by_name(tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "test.parquet"
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"test\.parquet cannot be read as a parquet file"):
        shapes.read_test_split(file)


def test_missing_columns_are_named(columns, tmp_path):
    del columns["kind"], columns["label"]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match="has no kind column: expected kind, found img, text_EN"):
        shapes.read_test_split(file)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("kind", "train", r"\(32, 32, 3\), 'a red square', 'train' and 1$"),
        ("kind", None, "None and 1$"),
        ("text_EN", None, r"\(32, 32, 3\), None, 'zeroshot_heldout' and 1$"),
        ("label", 48, "'zeroshot_heldout' and 48$"),
        ("label", None, "'zeroshot_heldout' and None$"),
        ("img", {"bytes": None, "path": "a.png"}, "cannot identify image"),
        ("img", {"bytes": b"GIF?", "path": None}, "cannot identify image"),
        (
            "img",
            {"bytes": png(np.zeros((16, 20, 3), np.uint8)), "path": None},
            r"\(16, 20, 3\), 'a red square', ",
        ),
    ],
)
def test_bad_values_are_refused_with_their_row(column, value, message, columns, tmp_path):
    columns[column][3] = value
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match=f"row 3: .*{message}") as caught:
        shapes.read_test_split(file)
    assert str(file) in str(caught.value)


def test_a_truncated_image_is_refused_with_its_row(columns, tmp_path):
    columns["img"][3]["bytes"] = columns["img"][3]["bytes"][:-400]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(DataError, match=r"row 3: .*truncated"):
        shapes.read_test_split(file)


def test_a_missing_kind_is_named(columns, tmp_path):
    columns["kind"] = ["all" if kind == "heldout" else kind for kind in columns["kind"]]
    file = write(tmp_path / "test.parquet", columns)
    with pytest.raises(ValueError, match="no rows of kind heldout in 1 parquet test files"):
        shapes.read_test_split(file)
