"""The shapes task: what the captions say, and what is held out."""

from collections import Counter

import numpy as np
import pytest
from shapes_task import COLOURS, DOUBLE, HELD_OUT, SINGLE, objects, scene

from clip_np.data import scenes, shapes


@pytest.fixture(scope="module")
def pairs():
    return shapes.training_pairs(3000, np.random.default_rng(0))


def test_the_names_of_the_world():
    assert scenes.COLOURS["orange"] == (240, 135, 30)
    assert list(scenes.COLOURS) == COLOURS
    assert scenes.SHAPES == ("circle", "square", "triangle", "cross", "ring", "star")
    assert scenes.SIZES == {"small": 3.9, "large": 6.6}
    assert set(scenes.RELATIONS) == {"above", "below", "left of", "right of"}
    assert len(scenes.CLASSES) == 48
    assert scenes.CLASSES[6 * 2 + 5] == "blue star"
    assert len(set(shapes.PROMPTS)) == 10
    assert "a small {} in the center" in shapes.PROMPTS
    assert all(SINGLE.fullmatch(prompt.format("red circle")) for prompt in shapes.PROMPTS)


def test_the_held_out_pairs():
    assert scenes.HELD_OUT == HELD_OUT
    assert scenes.HELD_OUT_LABELS == (1, 8, 17, 18, 27, 34, 37, 44)
    named = {tuple(scenes.CLASSES[label].split()) for label in scenes.HELD_OUT_LABELS}
    assert named == HELD_OUT


def test_training_captions_follow_the_grammar_and_hold_nothing_out(pairs):
    named = Counter(pair for caption in pairs[1] for pair in objects(caption))
    every = {(colour, shape) for colour in scenes.COLOURS for shape in scenes.SHAPES}
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
    assert set(places) == set(scenes.PLACES)
    assert set(relations) == set(scenes.RELATIONS)
    assert min(places.values()) > 0.8 * len(single) / 5
    assert min(relations.values()) > 0.8 * len(double) / 4
    sizes = Counter(match[1] for match in single + double)
    assert sizes["small"] / len(captions) == pytest.approx(0.5, abs=0.04)


def test_levels_are_whole_pixels_from_10_to_22():
    drawn = scenes.draw_scenes(2000, np.random.default_rng(1), scenes.ALL_LABELS)
    assert set(drawn.levels.tolist()) == set(range(10, 23))


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
