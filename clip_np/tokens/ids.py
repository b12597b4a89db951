"""Which number does each piece have?

A vocabulary follows from its merges alone. With M merges, the ids are

    0   ...  255        a byte inside a word, in the order of spelling.py: "!" is 0
    256 ...  511        the same byte at the end of a word: "!</w>" is 256
    512 ...  511 + M    the piece that each merge makes, in the order of the merges
    512 + M             <|startoftext|>, the start of a row
    513 + M             <|endoftext|>, the end of a text: the highest id

The text encoder of the published models finds the end of a text as the highest id of
its row, so the end token must come last. The published vocabulary has M = 48,894.
"""

from collections.abc import Iterable

from clip_np.tokens.plain import Pair
from clip_np.tokens.spelling import BYTE_PIECES, END_OF_WORD
from clip_np.tokens.words import END, START

START_AND_END = 2  # tokens: one in front of the text, and one after it
SMALLEST_VOCABULARY_SIZE = len(BYTE_PIECES) + START_AND_END  # 514, without merges
PUBLISHED_MERGES = 48_894
PUBLISHED_VOCABULARY_SIZE = SMALLEST_VOCABULARY_SIZE + PUBLISHED_MERGES  # 49,408
PUBLISHED_CONTEXT_LENGTH = 77


def end_id(merge_count: int) -> int:
    """The id of the end token in a vocabulary with `merge_count` merges.

    >>> end_id(PUBLISHED_MERGES)
    49407
    """
    return SMALLEST_VOCABULARY_SIZE - 1 + merge_count


def number_pieces(merges: Iterable[Pair]) -> dict[str, int]:
    """Piece -> id. Raises ValueError for a merge that cannot have been learned.

    >>> ids = number_pieces([("c", "a"), ("ca", "t</w>")])
    >>> ids["!"], ids["!</w>"], ids["cat</w>"], ids["<|endoftext|>"]
    (0, 256, 513, 515)
    """
    ids = {piece: token_id for token_id, piece in enumerate(BYTE_PIECES)}
    for left, right in merges:
        joined = left + right
        are_known = left in ids and right in ids and not left.endswith(END_OF_WORD)
        is_new = joined not in ids and joined not in (START, END)
        if not (are_known and is_new):
            raise ValueError(f"a merge must join two known pieces to a new one, got {left, right}")
        ids[joined] = len(ids)
    ids[START] = len(ids)
    ids[END] = len(ids)
    return ids
