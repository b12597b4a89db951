"""The numbers of the explorer: the model's, of a sort, and of the longest shadows."""

import base64

import numpy as np
import pytest
from exploring import small

import minigrad as mg
from clip_np.data import DataError, Pairs
from clip_np.evaluation import embed_readable, embed_texts, retrieval_metrics
from clip_np.evaluation.exploring import (
    MOST_IMAGES,
    choose_rows,
    explore,
    pack_shares,
    principal_plane,
)


def test_the_matrix_holds_the_cosines_of_the_models_own_features():
    for vision in ("vit", "resnet"):
        chosen = small(vision)
        seen = explore(*chosen, count=9)
        images, readable = embed_readable(chosen.model, chosen.preprocess, chosen.pairs)
        texts = embed_texts(chosen.model, chosen.tokenizer, seen.captions)
        assert list(readable.captions) == [seen.captions[number] for number in seen.caption_of]
        assert np.allclose(seen.cosines, images @ texts.T, atol=1e-6)
        assert len(np.unique(seen.cosines.round(5))) > 20  # not all the same


def test_neighbours_and_ranks_are_those_of_a_sort():
    seen = explore(*small(), count=9)
    for row, cosines in enumerate(seen.cosines):
        order = sorted(range(len(cosines)), key=lambda column: -cosines[column])
        count = len(seen.image_to_captions.rows[row])
        assert seen.image_to_captions.rows[row].tolist() == order[:count]
        assert [seen.caption_ranks[row, column] for column in order] == list(
            range(1, len(order) + 1)
        )
    for column, cosines in enumerate(seen.cosines.T):
        nearest = seen.caption_to_images.rows[column]
        assert nearest.tolist() == np.argsort(-cosines)[: len(nearest)].tolist()
        assert seen.image_ranks[nearest, column].tolist() == list(range(1, len(nearest) + 1))
        assert np.array_equal(seen.caption_to_images.cosines[column], cosines[nearest])


def test_nothing_is_its_own_neighbour():
    seen = explore(*small(), count=9)
    for neighbours in (seen.image_to_images, seen.caption_to_captions):
        for row, others in enumerate(neighbours.rows):
            assert row not in others
            assert len(set(others)) == min(8, len(neighbours.rows) - 1)
        assert (np.diff(neighbours.cosines, axis=1) <= 0).all()


def test_recall_and_chance_are_those_of_the_metrics():
    chosen = small()
    seen = explore(*chosen, count=9)
    images, readable = embed_readable(chosen.model, chosen.preprocess, chosen.pairs)
    texts = embed_texts(chosen.model, chosen.tokenizer, readable.captions)
    metrics = retrieval_metrics(images, texts, readable.captions)
    for direction, recall in seen.recall_at_1.items():
        assert recall == metrics[f"{direction}_recall_at_1"]
        assert 1 / 9 <= seen.chance[direction] < 1


@pytest.mark.parametrize("text", ["gpt", "bert-mean", "bert-cls"])
def test_rows_of_attention_sum_to_1(text):
    seen = explore(*small(text=text), count=4)
    assert seen.image_attention.shares.shape == (4, 2, 2, 17)
    assert np.allclose(seen.image_attention.shares.sum(axis=-1), 1, atol=1e-5)
    assert seen.image_attention.rollout.shape == (4, 16)
    for caption in seen.text_attention:
        length = len(caption.words)
        assert caption.shares.shape == (2, 2, length, length)
        assert np.allclose(caption.shares.sum(axis=-1), 1, atol=1e-5)
        above = np.triu(np.ones((length, length), bool), 1)
        assert (text == "gpt") == bool((caption.shares[..., above] == 0).all())
        assert caption.read == {"gpt": length - 1, "bert-mean": None, "bert-cls": 0}[text]
        assert caption.words[0] == "start" and caption.words[-1] == "end"


def test_a_resnet_has_the_map_of_its_pool():
    seen = explore(*small("resnet"), count=3)
    looks = seen.image_attention
    assert looks.kind == "attention pool" and looks.rollout is None
    assert looks.shares.shape == (3, 1, 2, 17)
    assert np.allclose(looks.shares.sum(axis=-1), 1, atol=1e-5)


def test_text_attention_is_what_the_encoder_mixes_with():
    """`mix` with these probabilities is what the layer computes with its mask."""
    model, _, tokenizer, pairs = small()
    tokens = tokenizer(list(pairs.captions[:2]))
    maps = model.text_attention_maps(tokens)
    with mg.no_grad():
        x = model.text.token_embedding(tokens) + model.text.positional_embedding
        block = model.text.transformer.resblocks[0]
        normed = block.ln_1(x)
        mixed = block.attn.mix(maps[0], normed)
        assert np.allclose(mixed.numpy(), block.attn(normed, "causal").numpy(), atol=1e-5)


def test_padding_gets_no_attention_in_a_bert():
    model, _, tokenizer, pairs = small(text="bert-mean")
    tokens = tokenizer(list(pairs.captions))
    lengths = model.text.lengths(tokens)
    assert lengths.min() < tokens.shape[1]
    maps = model.text_attention_maps(tokens).numpy()
    for row, length in enumerate(lengths):
        assert (maps[:, row, :, :, length:] == 0).all()


def test_packed_shares_come_back_within_3_percent():
    shares = np.random.default_rng(0).dirichlet(np.full(50, 0.3), size=20)
    levels = np.frombuffer(base64.b64decode(pack_shares(shares)), np.uint8).reshape(20, 50)
    back = (levels / 255) ** 2
    assert np.abs(back - shares).max() < 1 / 255
    assert np.allclose(back.sum(axis=1), 1, atol=0.03)
    large = shares > 0.02
    assert (np.abs(back - shares)[large] < 0.031 * shares[large]).all()


def test_the_plane_has_the_longest_shadows():
    rng = np.random.default_rng(0)
    images, captions = rng.standard_normal((2, 12, 6))
    captions = captions + 5.0  # a gap
    plane = principal_plane(images, captions, centre_both=True)
    rows = np.concatenate([images - images.mean(axis=0), captions - captions.mean(axis=0)])
    points = np.concatenate([plane.images, plane.captions])
    assert np.isclose(plane.share, (points**2).sum() / (rows**2).sum())
    eigenvalues = np.linalg.eigvalsh(rows.T @ rows)
    assert np.allclose((points**2).sum(axis=0), eigenvalues[::-1][:2])
    for _ in range(20):  # no other plane has longer ones
        other, _ = np.linalg.qr(rng.standard_normal((6, 2)))
        assert ((rows @ other) ** 2).sum() <= (points**2).sum()
    together = principal_plane(images, captions, centre_both=False)
    assert abs(together.images[:, 0].mean() - together.captions[:, 0].mean()) > 10
    assert np.allclose(plane.images.mean(axis=0), 0) and np.allclose(plane.captions.mean(axis=0), 0)


@pytest.mark.parametrize("count", [1, 2])
def test_a_page_of_one_image_is_possible(count):
    seen = explore(*small(), count=count)
    assert seen.cosines.shape == (count, count)
    assert np.isfinite(seen.centred.images).all()
    assert seen.image_to_images.rows.shape == (count, count - 1)


def test_images_are_different_and_spread_evenly():
    images = np.zeros((6, 2, 2, 3), np.uint8)
    pairs = Pairs.from_arrays(images, list("abcdef"))
    pairs.names = ["1", "1", "2", "2", "3", "4"]
    assert choose_rows(pairs, 10) == [0, 2, 4, 5]
    assert choose_rows(pairs, 2) == [0, 5]


def test_equal_captions_are_one_column():
    model, preprocess, tokenizer, pairs = small(count=4)
    pairs.captions = ["a red ring", "a red ring", "a blue square", "a red ring"]
    seen = explore(model, preprocess, tokenizer, pairs, count=4)
    assert seen.captions == ["a red ring", "a blue square"]
    assert seen.caption_of.tolist() == [0, 0, 1, 0]
    assert seen.cosines.shape == (4, 2)
    assert seen.chance["image_to_text"] == 0.5


def test_unreadable_images_are_an_error_or_left_out():
    model, preprocess, tokenizer, pairs = small(count=4)
    pairs.sources = [*pairs.sources[:3], b"no image"]
    with pytest.raises(DataError, match="image 3"):
        explore(model, preprocess, tokenizer, pairs, count=4)
    with pytest.warns(UserWarning, match="1 unreadable"):
        seen = explore(model, preprocess, tokenizer, pairs, count=4, skip_bad=True)
    assert seen.names == ["image 0", "image 1", "image 2"]
    pairs.sources = [b"no image"] * 4
    with pytest.raises(DataError, match="none of the 4 images"):
        explore(model, preprocess, tokenizer, pairs, count=4, skip_bad=True)


@pytest.mark.parametrize("count", [0, MOST_IMAGES + 1])
def test_a_count_that_cannot_be(count):
    with pytest.raises(ValueError, match=f"`images` is {count}, expected 1 to {MOST_IMAGES}"):
        explore(*small(count=2), count=count)


def test_the_model_comes_back_in_the_mode_it_was_in():
    chosen = small("resnet", count=3)
    chosen.model.train()
    first = explore(*chosen, count=3)
    assert chosen.model.training
    assert np.array_equal(explore(*chosen, count=3).cosines, first.cosines)
