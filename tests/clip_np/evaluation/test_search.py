"""Finding images by a sentence or by another image."""

import numpy as np
import pytest
from image_folders import features_of

import clip_np
import minigrad as mg
from clip_np.data import DataError
from clip_np.evaluation import build_index, names_an_image, search_index


def test_a_sentence_finds_images_by_cosine(model, photos):
    clip, _, tokenizer = model
    index = build_index("index.npz", [photos], *model[:2])
    with mg.no_grad():
        text = mg.normalize(clip.encode_text(tokenizer(["red circle"]))).numpy()[0]
    cosines = features_of(model, index.paths) @ text
    best = np.argsort(-cosines)[:4]
    found = search_index(index, "red circle", *model, k=4)
    assert [path for path, _ in found] == [index.paths[row] for row in best]
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[best], atol=1e-5)
    assert len(search_index(index, "red circle", *model, k=100)) == 9


def test_an_image_finds_itself_first(model, photos):
    index = build_index("index.npz", [photos], *model[:2])
    for path in index.paths:
        (first, cosine), (_, second) = search_index(index, path, *model, k=2)
        assert first == path
        assert cosine == pytest.approx(1, abs=1e-5)
        assert second < cosine


def test_queries_that_cannot_be_answered(model, photos):
    index = build_index("index.npz", [photos], *model[:2])
    with pytest.raises(DataError, match=r"cat\.jpg: cannot be read \(FileNotFoundError"):
        search_index(index, "cat.jpg", *model)
    with pytest.raises(DataError, match=r"notes\.txt: cannot be read"):
        search_index(index, str(photos / "notes.txt"), *model)
    with pytest.raises(ValueError, match="k = 0 of 9 images"):
        search_index(index, "red", *model, k=0)
    (photos / "0.png").write_bytes(b"no image")
    nothing = build_index("nothing.npz", [photos / "0.png"], *model[:2])
    with pytest.raises(ValueError, match="k = 12 of 0 images"):
        search_index(nothing, "red", *model)
    assert len(search_index(index, "long " * 2000, *model)) == 9


def test_a_query_is_an_image_if_it_is_a_file_or_ends_like_one(model, photos):
    for query in ("photos/0.png", "photos/notes.txt", "cat.jpg", "some where/A CAT.JPEG"):
        assert names_an_image(query)
    for query in ("a cat", "photos", "what is a jpg", "cats, e.g. black ones", ""):
        assert not names_an_image(query)


def test_the_public_address_has_the_same_functions(model, photos):
    index = clip_np.search.build_index("index.npz", [photos], *model[:2])
    matches = clip_np.search.search_index(index, "red circle", *model, k=2)
    assert matches == search_index(
        clip_np.search.read_index("index.npz"), "red circle", *model, k=2
    )
    assert matches[0].cosine >= matches[1].cosine
    assert matches[0].path in index.files
