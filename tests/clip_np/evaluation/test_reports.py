"""The figures of a set of pairs."""

import numpy as np
import pytest

from clip_np.evaluation import pairs_report, reports


class KnowsAll:
    """Stands for a model and its tokenizer: an image and its caption become the same.

    An image carries the number of its caption in its first pixels.
    """

    def __init__(self, captions) -> None:
        self.numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        self.directions = np.random.default_rng(0).standard_normal((len(self.numbers), 64))

    def images(self, captions) -> np.ndarray:
        pixels = np.zeros((len(captions), 32, 32, 3), np.uint8)
        for row, caption in enumerate(captions):
            pixels[row, 0, 0, :2] = divmod(self.numbers[caption], 256)
        return pixels

    def embed_images(self, model, images) -> np.ndarray:
        numbers = images[:, 0, 0, :2].astype(int) @ [256, 1]
        return self.directions[numbers]

    def embed_texts(self, model, tokenizer, texts) -> np.ndarray:
        return self.directions[[self.numbers[text] for text in texts]]


@pytest.fixture
def oracle(monkeypatch) -> KnowsAll:
    oracle = KnowsAll([f"caption {row}" for row in range(20)])
    monkeypatch.setattr(reports, "embed_images", oracle.embed_images)
    monkeypatch.setattr(reports, "embed_texts", oracle.embed_texts)
    return oracle


def test_pairs_report(oracle):
    captions = [f"caption {row}" for row in range(20)]
    names = [f"{row}.jpg" for row in range(20)]
    report = pairs_report(None, None, oracle.images(captions), captions, names)
    assert [report[f"recall_at_{k}"] for k in (1, 5, 10)] == [1.0, 1.0, 1.0]
    assert report["multiple_choice_3"] == 1.0
    assert report["image_to_text_median_rank"] == report["text_to_image_median_rank"] == 1.0
    few = ["caption 1", "caption 2", "caption 2"]
    report = pairs_report(None, None, oracle.images(few), few, names[:3])
    assert report["recall_at_1"] == 1.0
    assert "multiple_choice_3" not in report


def test_no_choice_is_another_caption_of_the_same_image(oracle):
    # Four images with three captions each, all of them equally right.
    oracle.directions[:12] = np.repeat(np.eye(4, 64), 3, axis=0)
    captions = [f"caption {row}" for row in range(12)]
    names = [f"{row // 3}.jpg" for row in range(12)]
    report = pairs_report(None, None, oracle.images(captions), captions, names)
    assert report["multiple_choice_3"] == 1.0
    assert report["text_to_image_recall_at_1"] == report["image_to_text_recall_at_1"] == 1.0
