"""WordPiece cuts a word greedily: always the longest piece that fits.

The first piece stands in the vocabulary as it is, and a later piece with "##" in front
of it. If no piece fits somewhere, the whole word becomes ["[UNK]"].

    vocabulary: un ##aff ##able      unaffable -> un ##aff ##able
"""


def cut(word, vocabulary):
    """The pieces of a word, by a set of pieces."""
    ...  # your lines
