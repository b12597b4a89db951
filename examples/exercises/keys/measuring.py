"""Answer keys of the chapter on measuring."""

from types import ModuleType

import numpy as np

from examples.exercises.comparing import require, require_equal


def check_recall(answer: ModuleType) -> None:
    scores = np.array(
        [[0.9, 0.1, 0.3, 0.2], [0.8, 0.5, 0.2, 0.1], [0.4, 0.6, 0.3, 0.7], [0.5, 0.5, 0.1, 0.5]]
    )
    require_equal(
        "recall at 1 of the scores in the text",
        answer.recall_at(scores, 1),
        0.25,
        {
            "the last row has three equal scores. A tie counts against the model: a model that "
            "gives every caption the same score knows nothing": 0.5
        },
    )
    require_equal("recall at 2", answer.recall_at(scores, 2), 0.5)
    require_equal("recall at 3", answer.recall_at(scores, 3), 0.75)
    require_equal("recall at 4: everything is among all", answer.recall_at(scores, 4), 1.0)
    require_equal(
        "recall at 1 where all scores are equal",
        answer.recall_at(np.zeros((5, 5)), 1),
        0.0,
        {"a model that gives every caption the same score knows nothing": 1.0},
    )


def check_zero_shot(answer: ModuleType) -> None:
    table = {
        "a photo of a cat": [3.0, 0.0, 1.0],
        "my cat": [0.1, 0.2, 0.0],
        "a photo of a dog": [0.0, 2.0, 0.0],
        "my dog": [0.0, 1.0, 1.0],
    }
    asked: list[str] = []

    def embed(sentences: list[str]) -> np.ndarray:
        asked.extend(sentences)
        return np.array([table[sentence] for sentence in sentences])

    try:
        result = answer.classifier(embed, ["cat", "dog"], ["a photo of a {}", "my {}"])
    except KeyError as error:
        require(False, f"the sentence {error} was asked for; a class goes where {{}} stands")
    features = np.array([[table[f"a photo of a {name}"], table[f"my {name}"]] for name in
                         ("cat", "dog")])  # fmt: skip
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    means = unit.mean(axis=1)
    right = (means / np.linalg.norm(means, axis=-1, keepdims=True)).T
    of_lengths = features.mean(axis=1)
    of_lengths = (of_lengths / np.linalg.norm(of_lengths, axis=-1, keepdims=True)).T
    require(bool(asked), "embed was never called: it makes vectors of sentences")
    require_equal(
        "the classifier",
        result,
        right,
        {
            "a column for each class: transpose": right.T,
            "the sentences' vectors have different lengths, and a long one would count more: "
            "divide each by its length before the mean": of_lengths,
            "the mean of unit vectors is shorter than 1: divide it by its length": means.T,
        },
    )
