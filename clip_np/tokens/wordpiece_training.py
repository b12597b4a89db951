"""Which pieces does a WordPiece vocabulary learn?

It begins with the letters of the captions, as the beginning of a word, "a", and as what
follows, "##a". Then, as in byte-pair encoding (plain.py), the two neighbouring pieces
that occur together most often become one, again and again:

    word            r ##e ##d        count the pairs of neighbours:  ##e+##d  2
    join ##e+##d    r ##ed           the new piece is                ##ed
    join r+##ed     red              the new piece is                red

*By count, or by likelihood?* The vocabulary of the published BERT was learned by a
program that was never published. It is said to have joined the pair that made the text
likeliest, which is the pair with the largest count(a b) / (count(a) count(b)). The
library tokenizers joins by count alone, and so does this file: it is the same loop as
for byte-pair encoding, in the same time.

Schuster and Nakajima 2012, "Japanese and Korean voice search"; Sennrich, Haddow and
Birch 2016, arXiv:1508.07909.
"""

from collections import Counter
from collections.abc import Iterable

from clip_np.tokens.bert_words import Cleaning, clean_for_bert, split_for_bert, stands_alone
from clip_np.tokens.bpe import learn_merges
from clip_np.tokens.wordpiece_files import CONTINUES, LONGEST_WORD, SPECIAL_TOKENS
from clip_np.tokens.words import require_text

BEGINS = " "
"""Marks the first piece of a word while learning: no word holds a space. Marked like
this, two pieces join by writing them one after the other."""

MOST_LETTERS = 1000
"""Different characters that become pieces, the most frequent ones, as in the library
tokenizers. Words with a rarer one are unknown."""


def learn_pieces(texts: Iterable[str], vocab_size: int, cleaning: Cleaning) -> list[str]:
    """At most `vocab_size` pieces, by id: special tokens, letters, learned pieces.

    It has fewer pieces if no further pair of pieces occurs twice. ValueError for texts
    without words, or a vocab_size without room for one letter.

    >>> from clip_np.tokens.bert_words import UNCASED
    >>> learn_pieces(["red bed", "a red car"], 18, UNCASED)[-4:]
    ['##b', 'c', '##c', '##ed']
    """
    smallest = len(SPECIAL_TOKENS) + len(forms_of("a", cleaning))
    word_counts = Counter(
        word
        for text in texts
        for part in split_at_special_tokens(text)
        for word in split_for_bert(clean_for_bert(part, cleaning))
        if len(word) <= LONGEST_WORD
    )
    if not word_counts or vocab_size < smallest:
        raise ValueError(
            f"training needs texts with words and vocab_size >= {smallest}, got "
            f"{len(word_counts)} different words and vocab_size {vocab_size}"
        )
    pieces = list(SPECIAL_TOKENS)
    letters = set()
    for letter in _frequent_letters(word_counts):
        forms = forms_of(letter, cleaning)
        if len(pieces) + len(forms) > vocab_size:
            break
        letters.add(letter)
        pieces += forms
    known = {word: count for word, count in word_counts.items() if letters.issuperset(word)}
    merges = learn_merges(known, limit=vocab_size - len(pieces), spell=_spell)
    return pieces + [_as_piece(left + right) for left, right in merges]


def forms_of(letter: str, cleaning: Cleaning) -> list[str]:
    """The pieces that a single character is: at the beginning of a word, and inside.

    >>> from clip_np.tokens.bert_words import UNCASED
    >>> forms_of("a", UNCASED), forms_of("東", UNCASED)
    (['a', '##a'], ['東'])
    """
    return [letter] if stands_alone(letter, cleaning) else [letter, CONTINUES + letter]


def split_at_special_tokens(text: str) -> list[str]:
    """The parts of a text between special tokens. Errors as from `require_text`.

    >>> split_at_special_tokens("a [MASK] ball[SEP]")
    ['a ', ' ball', '']
    """
    require_text(text)
    parts = [text]
    for token in SPECIAL_TOKENS:
        parts = [piece for part in parts for piece in part.split(token)]
    return parts


def _frequent_letters(word_counts: Counter[str]) -> list[str]:
    """The letters of the words, the most frequent first, at most MOST_LETTERS."""
    counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for letter in word:
            counts[letter] += count
    ordered = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return ordered[:MOST_LETTERS]


def _spell(word: str) -> list[str]:
    """The letters of a word, the first one marked."""
    return [BEGINS + word[0], *word[1:]]


def _as_piece(spelled: str) -> str:
    """A joined piece as the vocabulary writes it."""
    if spelled.startswith(BEGINS):
        return spelled.removeprefix(BEGINS)
    return CONTINUES + spelled
