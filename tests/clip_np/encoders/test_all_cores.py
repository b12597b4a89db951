"""Encoding on all cores: the same features, one part for each core."""

import numpy as np
import pytest
from small_models import batch, small_model

import minigrad as mg
from clip_np.encoders import encode_on_all_cores


@pytest.fixture
def parts(monkeypatch):
    """A small vision encoder, and the sizes of the parts that it was called with."""
    encoder, sizes = small_model().vision, []

    class Watched:
        parameters = encoder.parameters
        mixes_samples = encoder.mixes_samples

        def __call__(self, inputs):
            sizes.append(len(inputs))
            return encoder(inputs)

    return Watched(), sizes


@pytest.mark.parametrize("cores, expected", [(1, [7]), (2, [3, 4]), (9, [1] * 7)])
def test_each_core_has_its_part(parts, monkeypatch, cores, expected):
    encoder, sizes = parts
    images, _ = batch(7)
    whole = encoder(images).data
    sizes.clear()
    monkeypatch.setattr("minigrad.threads.available_cores", lambda: cores)
    with mg.no_grad():
        features = encode_on_all_cores(encoder, images)
    assert sorted(sizes) == expected
    np.testing.assert_allclose(features.data, whole, rtol=1e-12, atol=1e-14)


def test_a_recorded_batch_stays_whole(parts, monkeypatch):
    encoder, sizes = parts
    monkeypatch.setattr("minigrad.threads.available_cores", lambda: 3)
    assert encode_on_all_cores(encoder, batch(7)[0]).requires_grad
    assert sizes == [7]


def test_no_samples_give_no_features(parts):
    with mg.no_grad():
        assert encode_on_all_cores(parts[0], np.zeros((0, 3, 8, 8))).shape == (0, 6)
