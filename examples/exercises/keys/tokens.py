"""Answer keys of the chapter on tokens."""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from examples.exercises.comparing import require, require_parts
from examples.exercises.judging import Mistake, judge

Word = tuple[str, ...]
Pair = tuple[str, str]


def _each_place(word: Word, count: int) -> Iterable[tuple[Pair, int]]:
    return ((pair, count) for pair in pairwise(word))


def _once_per_word(word: Word, count: int) -> Iterable[tuple[Pair, int]]:
    return ((pair, count) for pair in dict.fromkeys(pairwise(word)))


def _unweighted(word: Word, count: int) -> Iterable[tuple[Pair, int]]:
    return ((pair, 1) for pair in pairwise(word))


def _apart(word: Word, count: int) -> Iterable[tuple[Pair, int]]:
    """Places of a pair that do not overlap."""
    last: dict[Pair, int] = {}
    for place, pair in enumerate(pairwise(word)):
        if last.get(pair, -2) != place - 1:
            last[pair] = place
            yield pair, count


def _from_the_left(word: Word, pair: Pair, most: int | None = None, step: int = 2) -> Word:
    """The word with the pair merged, at most so often, and `step` pieces further on."""
    pieces, place, done = [], 0, 0
    while place < len(word):
        if word[place : place + 2] == pair and done != most:
            pieces.append("".join(pair))
            place, done = place + step, done + 1
        else:
            pieces.append(word[place])
            place += 1
    return tuple(pieces)


def _from_the_right(word: Word, pair: Pair) -> Word:
    if pair[0] != pair[1]:
        return _from_the_left(word, pair)  # its places do not overlap
    return _from_the_left(word[::-1], pair)[::-1]


def _as_text(word: Word, pair: Pair) -> Word:
    return tuple(" ".join(word).replace(" ".join(pair), "".join(pair)).split(" "))


def _merge(count: Callable = _each_place, join: Callable = _from_the_left) -> Callable:
    """Byte-pair encoding by a way to count pairs and a way to merge one."""

    def run(words: Mapping[Word, int]) -> dict[str, Any]:
        counts: dict[Pair, int] = {}
        for word, times in words.items():
            for pair, weight in count(word, times):
                counts[pair] = counts.get(pair, 0) + weight
        best = max(counts, key=counts.__getitem__)
        merged = {join(word, best): times for word, times in words.items()}
        return {"the pair": best, "the words after the merge": merged}

    return run


MERGE_MISTAKES = [
    Mistake("('e', 'l') stands in three words, but in rare ones: count a word as often as it "
            "occurs", _merge(count=_unweighted)),
    Mistake("a pair counts once for each place: in a n a n the pair a n stands twice",
            _merge(count=_once_per_word)),
    Mistake("places of a pair may overlap when you count: in a a a the pair a a stands twice",
            _merge(count=_apart)),
    Mistake("in a n a n there are two places to merge: go on behind the first",
            _merge(join=lambda word, pair: _from_the_left(word, pair, most=1))),
    Mistake("a piece that was merged is used again: go on behind the pair, two pieces further",
            _merge(join=lambda word, pair: _from_the_left(word, pair, step=1))),
    Mistake("in a a a the places overlap: merge from the left", _merge(join=_from_the_right)),
    Mistake("as one text, the end of the piece 'xa' looks like the piece 'a': compare whole pieces",
            _merge(join=_as_text)),
]  # fmt: skip


def check_merge(merge_most_frequent: Callable) -> None:
    def answer(words: Mapping[Word, int]) -> dict[str, Any]:
        pair, merged = require_parts(
            merge_most_frequent(words), 2, "return two things: the pair, and the merged words"
        )
        require(
            isinstance(merged, Mapping),
            f"the merged words must be a dictionary as `words` is, got {type(merged).__name__}",
        )
        return {"the pair": pair, "the words after the merge": dict(merged)}

    low = {"low": 5, "lot": 2, "new": 6, "well": 1, "elf": 1, "eel": 1}
    every = [
        {tuple(word): count for word, count in low.items()},
        {tuple("anan"): 3, tuple("bn"): 4},
        {tuple("aaa"): 2, tuple("bc"): 3},
        {("a", "b"): 5, ("xa", "b"): 1},
    ]
    cases = {f"for words like {' '.join(next(iter(words)))}": {"words": words} for words in every}
    judge(answer, _merge(), cases, MERGE_MISTAKES)


def _greedy(
    longest: bool = True, marked: bool = True, shown: bool = True, keep: bool = False,
    first: str = "",
) -> Callable:  # fmt: skip
    """Pieces from the left, with options for what can go wrong.

    longest first; marked: later pieces are looked up with ##; shown: and written with
    it; keep: what fits stays in front of [UNK]; first: stands before the first piece.
    """

    def run(word: str, vocabulary: set[str]) -> dict[str, list[str]]:
        pieces, start = [], 0
        while start < len(word):
            stops = range(start + 1, len(word) + 1)
            for stop in reversed(stops) if longest else stops:
                mark = "##" if start else first
                if (mark if marked else "") + word[start:stop] in vocabulary:
                    break
            else:
                return {"the pieces": [*(pieces if keep else []), "[UNK]"]}
            pieces.append((mark if shown else "") + word[start:stop])
            start = stop
        return {"the pieces": pieces}

    return run


def _backtracking(word: str, vocabulary: set[str]) -> dict[str, list[str]]:
    """The longest pieces, but a shorter one where the rest does not fit."""

    def cut(rest: str, mark: str) -> list[str] | None:
        if not rest:
            return []
        for stop in range(len(rest), 0, -1):
            if mark + rest[:stop] in vocabulary:
                after = cut(rest[stop:], "##")
                if after is not None:
                    return [mark + rest[:stop], *after]
        return None

    return {"the pieces": cut(word, "") or ["[UNK]"]}


def _longest_anywhere(word: str, vocabulary: set[str]) -> dict[str, list[str]]:
    """The longest piece of the whole word first, then what is left and right of it."""

    def cut(start: int, stop: int) -> list[str]:
        if start == stop:
            return []
        for size in range(stop - start, 0, -1):
            for begin in range(start, stop - size + 1):
                piece = ("##" if begin else "") + word[begin : begin + size]
                if piece in vocabulary:
                    return [*cut(start, begin), piece, *cut(begin + size, stop)]
        return ["[UNK]"]

    pieces = cut(0, len(word))
    return {"the pieces": ["[UNK]"] if "[UNK]" in pieces else pieces}


CUT_MISTAKES = [
    Mistake("that is the shortest piece that fits: try the longest first", _greedy(longest=False)),
    Mistake("a piece inside a word stands in the vocabulary with ## in front of it",
            _greedy(marked=False, shown=False)),
    Mistake("the pieces are right, but those inside of a word keep their ##", _greedy(shown=False)),
    Mistake("the first piece stands in the vocabulary as it is, without ##", _greedy(first="##")),
    Mistake("no piece fits somewhere, so the whole word is ['[UNK]'], not only its end",
            _greedy(keep=True)),
    Mistake("a longest piece stays, even if the rest does not fit then: the cut is greedy",
            _backtracking),
    Mistake("the longest piece at the start comes first, not the longest anywhere in the word",
            _longest_anywhere),
]  # fmt: skip


def check_longest_first(cut: Callable) -> None:
    def answer(word: str, vocabulary: set[str]) -> dict[str, list[str]]:
        pieces = cut(word, vocabulary)
        require(pieces is not None, "nothing was returned. Is the function written?")
        require(
            isinstance(pieces, (list, tuple)), f"{word!r}: return a list of pieces, got {pieces!r}"
        )
        return {"the pieces": list(pieces)}

    common = {"un", "##aff", "##able", "una", "##ff", "##a", "##b", "a", "[UNK]", "able"}
    cases = {
        f"of {word!r}": {"word": word, "vocabulary": vocabulary}
        for word, vocabulary in {
            "unaffable": common,
            "able": common,
            "a": common,
            "ab": common,
            "unx": common,
            "abc": {"ab", "a", "##bc"},
            "abcd": {"ab", "a", "##bcd", "##cd"},
        }.items()
    }
    judge(answer, _greedy(), cases, CUT_MISTAKES)
