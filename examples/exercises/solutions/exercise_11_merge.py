"""A solution of exercise 11."""

from collections import Counter
from itertools import pairwise


def merge_most_frequent(words):
    """Return (the pair, the words after the merge)."""
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    best = max(counts, key=counts.get)
    merged = {}
    for word, count in words.items():
        pieces, place = [], 0
        while place < len(word):
            if word[place : place + 2] == best:
                pieces.append(word[place] + word[place + 1])
                place += 2
            else:
                pieces.append(word[place])
                place += 1
        merged[tuple(pieces)] = merged.get(tuple(pieces), 0) + count
    return best, merged
