"""How can one caption be written in several ways?

    tags            words that also describe the picture are added
    word dropout    some of the caption's words are left out

So the model cannot rely on one word alone, and it meets more words for a picture than
its caption has.
"""

import numpy as np

MOST_EXTRA_WORDS = 3  # tags added to one caption


def extra_words(caption: str, tags: str, rng: np.random.Generator, probability: float) -> str:
    """With this probability, `caption` with one to three of its `tags` added.

    tags are words or phrases separated by commas. Those that occur in the caption are
    not added: they would bring nothing new.

    >>> rng = np.random.default_rng(0)
    >>> extra_words("a cat", "animal, cat, fur", rng, probability=1.0)
    'a cat, animal'
    """
    if rng.random() >= probability:
        return caption
    phrases = dict.fromkeys(tag.strip() for tag in tags.split(","))  # each once, in order
    new = [phrase for phrase in phrases if phrase.lower() not in caption.lower()]
    chosen = rng.permutation(new)[: rng.integers(1, MOST_EXTRA_WORDS + 1)]
    return ", ".join([caption, *chosen])


def drop_words(caption: str, rng: np.random.Generator, probability: float) -> str:
    """`caption` without some words: any word is left out with this probability.

    Words are separated by spaces. If none would be left, one stays, drawn at random. A
    caption without words stays as it is.

    >>> drop_words("a cat on a mat", np.random.default_rng(0), probability=0.3)
    'a mat'
    """
    words = caption.split()
    if not words:
        return caption
    kept = [word for word in words if rng.random() >= probability]
    return " ".join(kept or [words[rng.integers(len(words))]])
