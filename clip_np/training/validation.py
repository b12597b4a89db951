"""Does the model do well on pairs that it does not train on?

A model may learn its training pairs by heart. So some pairs are held out. Their loss is
measured now and then during the training. It falls as long as the model learns what the
pairs have in common, and rises when it begins to learn by heart. The weights with the
highest recall are kept in a file of their own (best.py).

The loss of guessing depends on the size N of a batch (for the contrastive loss it is
ln N), so losses can be compared for equal N only. The held-out pairs are therefore
measured in batches of the size of the training batches.

An image may have several captions, which stand one below the other. In the recall all
of them are right answers. In a batch of the loss they would be each other's wrong
answers, which no model can tell apart. So the loss takes the first caption of an image.
"""

import math

import numpy as np

from clip_np.data import Pairs, Preprocess, load_images
from clip_np.evaluation import chance_of_recall, embed_images, embed_texts, retrieval_metrics
from clip_np.losses import Loss, equal_captions
from clip_np.model import CLIP
from clip_np.tokens import TokenizerProtocol
from clip_np.training.tasks import VALIDATION_IMAGES
from minigrad import no_grad, tensor


class Validation:
    """Held-out pairs, the first VALIDATION_IMAGES of them, loaded once.

    image_size is the side of the images in pixels. batch_size is the training's.
    skip_bad leaves unreadable images out. preprocess is as in `BatchLoader`.
    """

    def __init__(
        self,
        pairs: Pairs,
        image_size: int,
        batch_size: int,
        skip_bad: bool,
        preprocess: Preprocess | None = None,
    ) -> None:
        some = pairs.select(range(min(len(pairs), VALIDATION_IMAGES)))
        self.preprocess = preprocess
        self.images, readable = load_images(some, image_size, skip_bad, preprocess)
        self.captions = readable.captions
        self.names = readable.names
        row_of: dict[str, int] = {}
        for row, name in enumerate(self.names):
            row_of.setdefault(name, row)
        self.first_rows = np.array(list(row_of.values()))  # (M,): one of each image
        self.batch_size = min(batch_size, len(self.first_rows))
        chances = chance_of_recall(len(self.images), self.captions, self.names)
        self.chance = chances["recall_at_1"]

    def measure(self, model: CLIP, tokenizer: TokenizerProtocol, loss: Loss) -> dict[str, float]:
        """Loss and recall of the held-out pairs, beside those of a model that guesses.

        The keys are validation_loss and validation_guessing, means over batches,
        validation_recall_at_1 and validation_chance, and validation_pairs. As in the
        training, equal captions of a batch are not taken for each other's wrong
        answers. If a feature is NaN or infinite, nothing can be ranked, and the recall
        is NaN.
        """
        image_features = embed_images(model, self.images, self.preprocess)
        text_features = embed_texts(model, tokenizer, self.captions)
        tokens = tokenizer(self.captions, truncate=True)  # (N, T)
        backend = model.logit_scale.backend
        losses, guesses = [], []
        with no_grad():
            for start in range(0, len(self.first_rows) - self.batch_size + 1, self.batch_size):
                rows = self.first_rows[start : start + self.batch_size]  # (B,)
                images = tensor(image_features[rows], backend=backend)
                texts = tensor(text_features[rows], backend=backend)
                positives = equal_captions(tokens[rows])
                losses.append(loss(images, texts, positives).item())
                guesses.append(loss.guessing(self.batch_size, positives))
        recall = math.nan
        if np.isfinite(image_features).all() and np.isfinite(text_features).all():
            metrics = retrieval_metrics(image_features, text_features, self.captions, self.names)
            recall = metrics["recall_at_1"]
        return {
            "validation_loss": float(np.mean(losses)),
            "validation_guessing": float(np.mean(guesses)),
            "validation_recall_at_1": recall,
            "validation_chance": self.chance,
            "validation_pairs": len(self.images),
        }

    def odd_samples(self, model: CLIP, tokenizer: TokenizerProtocol) -> list[str]:
        """The names of the held-out pairs whose features hold a NaN or an infinity."""
        features = [embed_images(model, self.images), embed_texts(model, tokenizer, self.captions)]
        is_finite = np.isfinite(np.hstack(features)).all(axis=1)  # (N,)
        return [self.names[row] for row in np.flatnonzero(~is_finite).tolist()]
