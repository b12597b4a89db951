"""How does byte-pair encoding work?

*Encoding* a word: spell it in bytes, then join two neighbouring pieces into one, again
and again, until no pair of neighbours is in the list of known pairs. The pair that was
learned first goes first. The pieces that remain are the tokens of the word. The last
piece of a word ends in "</w>", so it differs from the same letters inside a word.

*Learning* the list: spell all words of the training texts, count which two pieces are
neighbours most often, join them everywhere, and note the pair. Repeat.

So frequent words become one piece, and rare words stay several. This file has both
loops as one would write them down. bpe.py has the forms that are used: they give the
same results, faster. The method is by Sennrich, Haddow and Birch (2016),
arXiv:1508.07909.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from clip_np.tokens.spelling import spell

Pair = tuple[str, str]


def merge_pairs(pieces: Sequence[str], ranks: Mapping[Pair, int]) -> list[str]:
    """Join the pair of the lowest rank, leftmost first, until no pair has a rank.

    >>> ranks = {("e", "s"): 0, ("es", "t</w>"): 1, ("l", "o"): 2, ("lo", "w"): 3}
    >>> merge_pairs(["l", "o", "w", "e", "s", "t</w>"], ranks)
    ['low', 'est</w>']
    """
    pieces = list(pieces)
    while True:
        ranked = [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not ranked:
            return pieces
        _, at = min(ranked)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


def learn_merges(
    word_counts: Mapping[str, int], limit: int, spell: Callable[[str], list[str]] = spell
) -> list[Pair]:
    """Learn at most `limit` pairs from words and how often each occurs.

    The most frequent pair comes first; if several are equally frequent, the first in
    the alphabet. Learning ends when no pair occurs twice. `spell` cuts a word into the
    pieces with which learning begins.

    >>> word_counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    >>> for left, right in learn_merges(word_counts, limit=6):
    ...     print(left, "+", right)
    e + s
    es + t</w>
    l + o
    e + w
    ew + est</w>
    n + ewest</w>
    """
    words = {word: spell(word) for word in word_counts}
    merges: list[Pair] = []
    while len(merges) < limit:
        counts: Counter[Pair] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                counts[pair] += word_counts[word]
        repeated = [pair for pair, count in counts.items() if count > 1]
        if not repeated:
            break
        best = min(repeated, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = {word: merge_pairs(pieces, {best: 0}) for word, pieces in words.items()}
    return merges
