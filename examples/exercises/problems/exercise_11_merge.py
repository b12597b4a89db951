"""Byte-pair encoding learns its vocabulary by one rule, again and again:

    find the pair of neighbours that occurs most often, and make one piece of it.

`words` maps a word, a tuple of pieces, to how often it occurs. A pair counts once for
each place where it stands, times the count of the word. In a word, merge from the left;
a piece that was used is not used again: a a a becomes aa a. If two pairs are equally
frequent, either will do.
"""


def merge_most_frequent(words):
    """Return (the pair, the words after the merge)."""
    ...  # your lines
