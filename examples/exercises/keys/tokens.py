"""Answer keys of the chapter on tokens."""

from types import ModuleType

from examples.exercises.comparing import require


def check_merge(answer: ModuleType) -> None:
    words = {
        ("l", "o", "w"): 5,
        ("l", "o", "t"): 2,
        ("n", "e", "w"): 6,
        ("w", "e", "l", "l"): 1,
        ("e", "l", "f"): 1,
        ("e", "e", "l"): 1,
    }
    result = answer.merge_most_frequent(words)
    require(result is not None, "nothing was returned. Is the function written?")
    pair, merged = result
    require(
        pair != ("e", "l"),
        "('e', 'l') stands in three words, but in rare ones: count a word as often as it occurs",
    )
    require(pair == ("l", "o"), f"the most frequent pair is ('l', 'o'), got {pair}")
    right = {("lo", *word[2:]) if word[:2] == pair else word: n for word, n in words.items()}
    require(dict(merged) == right, f"the words after the merge: expected {right}, got {merged}")
    _, merged = answer.merge_most_frequent({("a", "a", "a", "b"): 3})
    require(
        dict(merged) == {("aa", "a", "b"): 3},
        "in a a a b the pair a a stands twice, but the places overlap: merge from the left, and "
        f"go on behind the new piece. Expected aa a b, got {merged}",
    )


def check_longest_first(answer: ModuleType) -> None:
    vocabulary = {"un", "##aff", "##able", "una", "##ff", "##a", "##b", "a", "[UNK]", "able"}
    cases = {
        "unaffable": ["una", "##ff", "##able"],
        "able": ["able"],
        "a": ["a"],
        "ab": ["a", "##b"],
        "unx": ["[UNK]"],
    }
    for word, right in cases.items():
        pieces = answer.cut(word, vocabulary)
        require(pieces is not None, "nothing was returned. Is the function written?")
        require(
            pieces != ["un", "##aff", "##able"],
            "'una' is longer than 'un': the first piece is the longest that fits, even if "
            "another choice looks better later",
        )
        require(
            word != "unx" or pieces == right,
            f"no piece fits at x, so the whole word is ['[UNK]'], not only its end; got {pieces}",
        )
        require(
            list(pieces) == right,
            f"{word!r}: expected {right}, got {pieces}. Pieces inside a word begin with ##",
        )
