"""Name the class of an image without any training for those classes.

For each class, put its name into each template, embed the sentences, and average. The
column of a class is then compared with an image's features.

    templates:            "a photo of a {}", "my {}"
    sentences of "cat":   "a photo of a cat", "my cat"
    embed(sentences)      -> (number of sentences, E), of any length
    each divided by its length; their mean, divided by its length, is the class's column

In what order should the sentences be embedded? One call for all is the fastest.
"""

import numpy as np


def classifier(embed, class_names, templates):
    """A column of length 1 for each class: (E, number of classes)."""
    ...  # your lines
