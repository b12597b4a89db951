"""A large model has maps of many numbers, and the page has only so many bytes."""

import numpy as np
import pytest
from exploring import small

from clip_np.evaluation.exploring.attention import image_attention, text_attention


@pytest.mark.parametrize("budget, images", [(10**6, 5), (2 * 2 * 17 * 3, 3), (10, 0)])
def test_images_beyond_the_budget_have_no_maps(budget, images):
    model, preprocess, _, pairs = small(count=5)
    prepared = np.stack([preprocess(pairs.open_image(row)) for row in range(5)])
    looks = image_attention(model, prepared, budget)
    assert len(looks.shares) == images
    assert len(looks.rollout) == images


def test_captions_beyond_the_budget_have_none():
    model, _, tokenizer, pairs = small(count=5)
    tokens = tokenizer(list(pairs.captions))
    everything = text_attention(model, tokenizer, tokens)
    assert len(everything) == 5
    sizes = [caption.shares.size for caption in everything]
    few = text_attention(model, tokenizer, tokens, budget=sum(sizes[:2]))
    assert [caption.words for caption in few] == [caption.words for caption in everything[:2]]
    assert text_attention(model, tokenizer, tokens, budget=0) == []
