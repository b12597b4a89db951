"""Answer keys of the chapter on measuring."""

from collections.abc import Callable, Sequence

import numpy as np

from examples.exercises.comparing import Wrong, require
from examples.exercises.judging import Mistake, judge

RECALL, CLASSIFIER = "recall", "the classifier"

SCORES = {
    "no ties": np.array(
        [[0.9, 0.1, 0.3, 0.2], [0.8, 0.5, 0.2, 0.1], [0.4, 0.6, 0.3, 0.7], [0.5, 0.4, 0.2, 0.1]]
    ),
    "ties": np.array([[0.5, 0.5, 0.1], [0.2, 0.7, 0.3], [0.4, 0.4, 0.4]]),
    "equal scores only": np.zeros((5, 5)),
}


def _share(before: Callable, limit: Callable = lambda k: k) -> Callable:
    """Recall by before(scores, right ones), which marks what comes before them."""

    def run(scores: np.ndarray, k: int) -> dict[str, float]:
        count = before(scores, np.diagonal(scores)[:, None]).sum(axis=1)
        return {RECALL: (count < limit(k)).mean()}

    return run


def _others(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (scores >= right) & ~np.eye(len(scores), dtype=bool)


def _by_place(side: Callable) -> Callable:
    """What sorting puts first: of equal scores, those on one side of the right one."""
    return lambda scores, right: (
        (scores > right) | (scores == right) & (side(np.ones(scores.shape)) > np.eye(len(scores)))
    )


TIE = "a tie counts against the model: one that gives every caption the same score knows nothing"
RECALL_MISTAKES = [
    Mistake(TIE, _share(lambda scores, right: scores > right)),
    Mistake(TIE, _share(_by_place(np.tril))),
    Mistake(TIE, _share(_by_place(np.triu))),
    Mistake("at k = 1 no other caption may stand before the right one, and here one may: at most "
            "k - 1 others", _share(_others, limit=lambda k: k + 1)),
    Mistake("the right caption itself is counted among those before it",
            _share(lambda scores, right: scores >= right)),
    Mistake("columns are ranked: each image, a row, ranks its captions",
            _share(lambda scores, right: _others(scores.T, right))),
    Mistake("the lowest score comes first there, and the highest should",
            _share(lambda scores, right: scores < right)),
    Mistake("that is how many images there are, and not their share of all",
            lambda scores, k: {RECALL: len(scores) * _share(_others)(scores, k)[RECALL]}),
]  # fmt: skip


def check_recall(recall_at: Callable) -> None:
    cases = {
        f"at k = {k}, {words}": {"scores": scores, "k": k}
        for words, scores in SCORES.items()
        for k in (1, 2, 3)
    }
    judge(lambda scores, k: {RECALL: recall_at(scores, k)}, _share(_others), cases, RECALL_MISTAKES)


TABLE = {
    "a photo of a cat": [3.0, 0.0, 1.0],
    "my cat": [0.1, 0.2, 0.0],
    "a photo of a dog": [0.0, 2.0, 0.0],
    "my dog": [0.0, 1.0, 1.0],
    "a photo of a bird": [1.0, 1.0, -4.0],
    "my bird": [0.3, 0.0, 0.1],
}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _of_length_one(array: np.ndarray) -> np.ndarray:
    return array / np.linalg.norm(array)


def _as_it_is(vectors: np.ndarray) -> np.ndarray:
    return vectors


def _features(class_names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """The vectors of all sentences: (classes, templates, E)."""
    return np.array(
        [[TABLE[template.replace("{}", name)] for template in templates] for name in class_names]
    )


def _columns(before: Callable, after: Callable, group: Callable = _as_it_is) -> Callable:
    """The classifier by what happens to vectors before the mean, and to it.

    group: puts the vectors (classes, templates, E) in another order.
    """

    def run(class_names: list[str], templates: list[str]) -> dict[str, np.ndarray]:
        groups = before(group(_features(class_names, templates)))
        return {CLASSIFIER: after(groups.mean(axis=1)).T}

    return run


def _template_by_template(features: np.ndarray) -> np.ndarray:
    """Groups of sentences that were embedded in the other order."""
    return features.swapaxes(0, 1).reshape(features.shape)


def _other_axes(features: np.ndarray) -> np.ndarray:
    """Groups by a reshape to (templates, classes, E), put back to (classes, ...)."""
    classes, templates, size = features.shape
    return features.reshape(templates, classes, size).swapaxes(0, 1)


CLASSIFIER_MISTAKES = [
    Mistake("a column for each class: transpose",
            lambda class_names, templates: {
                CLASSIFIER: _columns(_unit, _unit)(class_names, templates)[CLASSIFIER].T}),
    Mistake("the sentences' vectors have different lengths, and a long one would count more: "
            "divide each by its length before the mean", _columns(_as_it_is, _unit)),
    Mistake("the mean of unit vectors is shorter than 1: divide it by its length",
            _columns(_unit, _as_it_is)),
    Mistake("neither the sentences' vectors nor their mean is divided by its length",
            _columns(_as_it_is, _as_it_is)),
    Mistake("the sentences of one class must stand together before you average: all templates of "
            "the first class, then those of the second",
            _columns(_unit, _unit, group=_template_by_template)),
    Mistake("the sentences stand class by class, so the axes of the reshape must, too: "
            "(classes, templates, E)", _columns(_unit, _unit, group=_other_axes)),
    Mistake("divide each vector by its length (axis=-1), not all by that of the array",
            _columns(_of_length_one, _of_length_one)),
]  # fmt: skip


def check_zero_shot(classifier: Callable) -> None:
    asked: list[str] = []

    def embed(sentences: Sequence[str]) -> np.ndarray:
        for sentence in sentences:
            if sentence not in TABLE:
                raise Wrong(f"the sentence {sentence!r} was asked for; a class goes where {{}} is")
        asked.extend(sentences)
        return np.array([TABLE[sentence] for sentence in sentences])

    def answer(class_names: list[str], templates: list[str]) -> dict[str, np.ndarray]:
        result = classifier(embed, class_names, templates)
        require(result is None or bool(asked), "embed was never called: it makes vectors of text")
        return {CLASSIFIER: result}

    templates = ["a photo of a {}", "my {}"]
    cases = {
        "of " + " and ".join(class_names): {"class_names": class_names, "templates": templates}
        for class_names in (["dog", "cat"], ["dog", "bird", "cat"])
    }
    judge(answer, _columns(_unit, _unit), cases, CLASSIFIER_MISTAKES)
