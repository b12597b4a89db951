"""Which number each piece has, and which merges are refused."""

import pytest

from clip_np.tokens import Tokenizer


def test_the_vocabulary_starts_with_bytes_in_clips_order():
    tokenizer = Tokenizer([])
    assert (tokenizer.vocab_size, tokenizer.start_token_id, tokenizer.end_token_id) == (
        514,
        512,
        513,
    )
    assert tokenizer.encode("!") == [256]
    assert tokenizer.encode("a") == [320]  # as in the published vocabulary
    assert tokenizer.encode("ab") == [64, 321]
    assert tokenizer.encode("é") == [127, 102 + 256]  # bytes C3 A9
    assert tokenizer.encode("í") == [127, 255 + 256]  # C3 AD: the last byte of the table
    assert tokenizer.encode("\N{GRINNING FACE}") == [172, 253, 246, 222 + 256]  # F0 9F 98 80


def test_every_byte_has_an_id_of_its_own():
    bytes_and_marked = list(Tokenizer([]).vocabulary)[:512]
    assert len(set(bytes_and_marked)) == 512
    assert [piece + "</w>" for piece in bytes_and_marked[:256]] == bytes_and_marked[256:]


def test_merges_get_ids_in_their_order_before_start_and_end():
    tokenizer = Tokenizer([("c", "a"), ("ca", "t</w>")], context_length=9)
    assert tokenizer.vocabulary["ca"] == 512
    assert tokenizer.vocabulary["cat</w>"] == 513
    assert (tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.vocab_size) == (
        514,
        515,
        516,
    )
    assert tokenizer.merges == (("c", "a"), ("ca", "t</w>"))
    assert tokenizer.context_length == 9


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([("a", "bc")], r"known pieces to a new one, got \('a', 'bc'\)"),
        ([("a", " ")], "known pieces to a new one"),
        ([("a</w>", "b")], "known pieces to a new one"),
        ([("a", "b"), ("a", "b")], r"known pieces to a new one, got \('a', 'b'\)"),
        ([("<", "|"), ("<|", "startoftext|>")], "known pieces to a new one"),
    ],
)
def test_merges_that_cannot_have_been_learned_are_refused(merges, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(merges)
