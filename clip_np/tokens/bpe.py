"""How is byte-pair encoding made fast?

plain.py looks at all pairs of a word before each join, and at all words before each
merge that it learns. Both forms here do the same joins in the same order. They only
remember what the plain forms look up again and again.
"""

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from clip_np.tokens.plain import Pair
from clip_np.tokens.spelling import spell


def merge_pairs(pieces: Sequence[str], ranks: Mapping[Pair, int]) -> list[str]:
    """The fast form of `plain.merge_pairs`.

    It takes n log n steps for a word of n letters, and not n^2: a "word" of 100,000
    letters takes less than a second, and not half an hour.

    >>> ranks = {("e", "s"): 0, ("es", "t</w>"): 1, ("l", "o"): 2, ("lo", "w"): 3}
    >>> merge_pairs(["l", "o", "w", "e", "s", "t</w>"], ranks)
    ['low', 'est</w>']
    """
    # A heap holds the possible joins as (rank, position of the left piece), so the next
    # one, the lowest rank and of these the leftmost, is always on top:
    #
    #     position    0    1    2    3    4    5        6
    #     pieces      l    o    w    e    s    t</w>   ""
    #     heap        (0, 3) e+s    (2, 0) l+o
    #
    # A join writes the new piece at the left position and leaves "" at the right one.
    # No piece moves. `after` and `before` link each piece to its neighbours, past the
    # gaps:
    #
    #     pieces      l    o    w    es   ""   t</w>   ""
    #     after       1    2    3    5    .    6
    #     heap        (1, 3) es+t</w>    (2, 0) l+o
    #
    # The new piece has new neighbours on both sides. If these pairs have a rank, they
    # are put on the heap. Old entries stay there; they are passed over when they come
    # to the top and their pair is no longer what stands at their position.
    pieces = [*pieces, ""]  # a neighbour for the last piece; no pair with "" has a rank
    after = [*range(1, len(pieces)), 0]
    before = [*range(-1, len(pieces) - 1)]  # -1, the last position, holds ""
    heap = [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, left = heapq.heappop(heap)
        right = after[left]
        if ranks.get((pieces[left], pieces[right])) != rank:
            continue  # another join has changed this pair
        pieces[left] += pieces[right]
        pieces[right] = ""
        after[left] = after[right]
        before[after[right]] = left
        for at in (before[left], left):
            pair = (pieces[at], pieces[after[at]])
            if pair in ranks:
                heapq.heappush(heap, (ranks[pair], at))
    return [piece for piece in pieces if piece]


def learn_merges(
    word_counts: Mapping[str, int], limit: int, spell: Callable[[str], list[str]] = spell
) -> list[Pair]:
    """The fast form of `plain.learn_merges`.

    Counts are not taken anew for each merge. A join changes only the pairs around it,
    so only these are corrected. The time grows with the number of letters, and hardly
    with their distribution: a "word" of 30,000 letters is learned in a second.
    `spell` cuts a word into the pieces with which learning begins.

    >>> learn_merges({"low": 5, "lower": 2, "newest": 6, "widest": 3}, limit=2)
    [('e', 's'), ('es', 't</w>')]
    """
    pieces = _PieceChain(word_counts, spell)
    merges: list[Pair] = []
    while len(merges) < limit and (pair := pieces.most_frequent()) is not None:
        merges.append(pair)
        pieces.join_all(pair)
    return merges


class _PieceChain:
    """The pieces of all words in one long row, and how often each pair occurs.

    As in `merge_pairs`, a join writes the new piece at the left position and leaves ""
    at the right one, and `after` and `before` lead past the gaps. A piece "" stands
    before each word and after the last one; it forms no pairs.

        pieces    ""  l  o  w</w>  ""  n  e  w  ...  ""
    """

    def __init__(self, word_counts: Mapping[str, int], spell: Callable[[str], list[str]]) -> None:
        self.pieces = [""]
        # How often the word occurs to which a position belongs.
        self.word_count: list[int] = [0]
        for word, count in word_counts.items():
            spelled = spell(word)
            self.pieces += [*spelled, ""]
            self.word_count += [count] * (len(spelled) + 1)
        # Arrays take 4 bytes a position, lists would take 40.
        self.after = array("i", range(1, len(self.pieces) + 1))
        self.before = array("i", range(-1, len(self.pieces) - 1))
        self.count_of: Counter[Pair] = Counter()
        # The same the other way round, to find the most frequent pair without a search.
        self.pairs_with: defaultdict[int, set[Pair]] = defaultdict(set)
        # Positions of the left pieces of a pair. A position that has lost the pair may
        # still be listed.
        self.positions_of: defaultdict[Pair, array[int]] = defaultdict(partial(array, "i"))
        self.highest = 0  # no pair has a higher count
        self._count_all()

    def _count_all(self) -> None:
        for position, pair in enumerate(pairwise(self.pieces)):
            if pair[0] and pair[1]:
                self.count_of[pair] += self.word_count[position]
                self.positions_of[pair].append(position)
        for pair, count in self.count_of.items():
            self.pairs_with[count].add(pair)
            self.highest = max(self.highest, count)

    def join_all(self, pair: Pair) -> None:
        """Join a pair wherever it occurs, in each word from left to right."""
        joined = pair[0] + pair[1]
        changes: Counter[Pair] = Counter()
        for left in sorted(self.positions_of.pop(pair)):
            right = self.after[left]
            if (self.pieces[left], self.pieces[right]) != pair:
                continue  # another join has changed this pair
            count = self.word_count[left]
            previous = self.before[left]
            following = self.after[right]
            self.pieces[left] = joined
            self.pieces[right] = ""
            self.after[left] = following
            self.before[following] = left
            changes[pair] -= count
            if self.pieces[previous]:
                changes[self.pieces[previous], pair[0]] -= count
                self._note(previous, changes, count)
            if self.pieces[following]:
                changes[pair[1], self.pieces[following]] -= count
                self._note(left, changes, count)
        for changed, difference in changes.items():
            self._change_count(changed, difference)

    def _note(self, left: int, changes: Counter[Pair], count: int) -> None:
        """Note the new pair at a position."""
        pair = (self.pieces[left], self.pieces[self.after[left]])
        changes[pair] += count
        self.positions_of[pair].append(left)

    def _change_count(self, pair: Pair, difference: int) -> None:
        old = self.count_of[pair]
        new = old + difference
        self.count_of[pair] = new
        self.pairs_with[old].discard(pair)
        self.pairs_with[new].add(pair)
        self.highest = max(self.highest, new)

    def most_frequent(self) -> Pair | None:
        """The most frequent pair, the first in the alphabet; None if none repeats."""
        while self.highest > 1:
            if self.pairs_with[self.highest]:
                return min(self.pairs_with[self.highest])
            self.highest -= 1
        return None
