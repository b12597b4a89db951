"""Answer keys of the chapter on measuring."""

from collections.abc import Callable, Sequence

import numpy as np

from examples.exercises.comparing import Wrong, require
from examples.exercises.judging import Mistake, judge


def check_recall(recall_at: Callable) -> None:
    name = "recall"

    def share(before: Callable, limit: Callable = lambda k: k) -> Callable:
        """The share of images with before(scores, right ones) less than limit(k)."""

        def run(scores: np.ndarray, k: int) -> dict[str, float]:
            count = before(scores, np.diagonal(scores)[:, None]).sum(axis=1)
            return {name: (count < limit(k)).mean()}

        return run

    def others(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (scores >= right) & ~np.eye(len(scores), dtype=bool)

    def by_place(side: Callable) -> Callable:
        """Sorting: of equal scores, only those on one side stand before the right one."""
        return lambda scores, right: (
            (scores > right)
            | ((scores == right) & (side(np.ones(scores.shape)) - np.eye(len(scores)) > 0))
        )

    apart = np.array(
        [[0.9, 0.1, 0.3, 0.2], [0.8, 0.5, 0.2, 0.1], [0.4, 0.6, 0.3, 0.7], [0.5, 0.4, 0.2, 0.1]]
    )
    tied = np.array([[0.5, 0.5, 0.1], [0.2, 0.7, 0.3], [0.4, 0.4, 0.4]])
    every = {"no ties": apart, "ties": tied, "equal scores only": np.zeros((5, 5))}
    cases = {
        f"at k = {k}, {words}": {"scores": scores, "k": k}
        for words, scores in every.items()
        for k in (1, 2, 3)
    }
    tie = (
        "a tie counts against the model: a model that gives every caption the same score knows "
        "nothing"
    )
    mistakes = [
        Mistake(tie, share(lambda scores, right: scores > right)),
        Mistake(tie, share(by_place(np.tril))),
        Mistake(tie, share(by_place(np.triu))),
        Mistake(
            "at k = 1 no other caption may stand before the right one, and here one may: at most "
            "k - 1 others",
            share(others, limit=lambda k: k + 1),
        ),
        Mistake(
            "the right caption itself is counted among those before it",
            share(lambda scores, right: scores >= right),
        ),
        Mistake(
            "columns are ranked: each image, a row, ranks its captions",
            share(lambda scores, right: others(scores.T, right)),
        ),
        Mistake(
            "the lowest score comes first there, and the highest should",
            share(lambda scores, right: scores < right),
        ),
        Mistake(
            "that is how many images there are, and not their share of all",
            lambda scores, k: {name: len(scores) * share(others)(scores, k)[name]},
        ),
    ]
    judge(lambda scores, k: {name: recall_at(scores, k)}, share(others), cases, mistakes)


TABLE = {
    "a photo of a cat": [3.0, 0.0, 1.0],
    "my cat": [0.1, 0.2, 0.0],
    "a photo of a dog": [0.0, 2.0, 0.0],
    "my dog": [0.0, 1.0, 1.0],
    "a photo of a bird": [1.0, 1.0, -4.0],
    "my bird": [0.3, 0.0, 0.1],
}


def check_zero_shot(classifier: Callable) -> None:
    name = "the classifier"
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
        return {name: result}

    def columns(before: Callable, after: Callable, in_order: bool = True) -> Callable:
        """The classifier by what happens to vectors before the mean, and after it."""

        def run(class_names: list[str], templates: list[str]) -> dict[str, np.ndarray]:
            names = [(a_class, template) for a_class in class_names for template in templates]
            if not in_order:
                names = [(a_class, template) for template in templates for a_class in class_names]
            features = np.array([TABLE[text.replace("{}", a_class)] for a_class, text in names])
            groups = features.reshape(len(class_names), len(templates), -1)
            return {name: after(before(groups).mean(axis=1)).T}

        return run

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def as_it_is(vectors: np.ndarray) -> np.ndarray:
        return vectors

    def templates_first(class_names: list[str], templates: list[str]) -> dict[str, np.ndarray]:
        texts = [text.replace("{}", a_class) for a_class in class_names for text in templates]
        features = unit(np.array([TABLE[text] for text in texts]))
        groups = features.reshape(len(templates), len(class_names), -1)
        return {name: unit(groups.mean(axis=0)).T}

    templates = ["a photo of a {}", "my {}"]
    cases = {
        "of " + " and ".join(class_names): {"class_names": class_names, "templates": templates}
        for class_names in (["dog", "cat"], ["dog", "bird", "cat"])
    }
    right = columns(unit, unit)
    mistakes = [
        Mistake("a column for each class: transpose",
                lambda class_names, templates: {name: right(class_names, templates)[name].T}),
        Mistake("the sentences' vectors have different lengths, and a long one would count more: "
                "divide each by its length before the mean", columns(as_it_is, unit)),
        Mistake("the mean of unit vectors is shorter than 1: divide it by its length",
                columns(unit, as_it_is)),
        Mistake("neither the sentences' vectors nor their mean is divided by its length",
                columns(as_it_is, as_it_is)),
        Mistake("the sentences of one class must stand together before you average: all templates "
                "of the first class, then those of the second",
                columns(unit, unit, in_order=False)),
        Mistake("the sentences stand class by class, so the axes of the reshape must, too: "
                "(classes, templates, E)", templates_first),
        Mistake("divide each vector by its length (axis=-1), not all by that of the array",
                columns(lambda groups: groups / np.linalg.norm(groups),
                        lambda means: means / np.linalg.norm(means))),
    ]  # fmt: skip
    judge(answer, right, cases, mistakes)
