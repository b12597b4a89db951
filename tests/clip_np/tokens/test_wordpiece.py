"""WordPiece: words, pieces, rows, files, learning. transformers' is in tests/oracle."""

import json
from collections import Counter

import numpy as np
import pytest

from clip_np.files import FileError
from clip_np.tokens import (
    CASED,
    UNCASED,
    Cleaning,
    WordPieceTokenizer,
    bpe,
    plain,
    tokenizer_from_json,
)
from clip_np.tokens.bert_words import clean_for_bert, split_for_bert, stands_alone
from clip_np.tokens.wordpiece import cut_longest_first
from clip_np.tokens.wordpiece_training import forms_of, learn_pieces

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "un", "##aff", "##able", "a", "##b", "!", "é", "E", "東"]


@pytest.mark.parametrize(
    "text, uncased, cased",
    [
        ("Señor Ω", "senor ω", "Señor Ω"),
        ("a\tb\nc\rd", "a b c d", "a b c d"),
        ("a\x00\x07\x7f\x85\ufffdb", "ab", "ab"),
        ("a\u200b\u00ad\ue000b", "ab", "ab"),
        ("a\u2028b\u3000c", "a b c", "a b c"),
        ("x東京", "x 東  京 ", "x 東  京 "),
        ("ΑΣ", "ασ", "ΑΣ"),
        ("İ", "i", "İ"),
        ("ｶﾅ", "ｶﾅ", "ｶﾅ"),
    ],
)
def test_cleaning(text, uncased, cased):
    assert clean_for_bert(text, UNCASED) == uncased
    assert clean_for_bert(text, CASED) == cased


def test_steps_can_be_left_out():
    text = "É\x00東"
    assert clean_for_bert(text, Cleaning(strip_accents=False)) == "é 東 "
    assert clean_for_bert(text, Cleaning(lowercase=False, strip_accents=True)) == "E 東 "
    assert clean_for_bert(text, Cleaning(handle_chinese_chars=False)) == "e東"
    assert clean_for_bert(text, Cleaning(clean_text=False)) == "e\x00 東 "


def test_words_end_at_white_space_and_punctuation():
    assert split_for_bert("a-b c_d\x1ce ¿f? $€") == [
        *("a", "-", "b", "c", "_", "d\x1ce", "¿", "f", "?", "$", "€")
    ]
    assert split_for_bert("  ") == []
    assert not stands_alone("東", Cleaning(handle_chinese_chars=False))


def test_the_longest_piece_comes_first():
    tokenizer = WordPieceTokenizer(PIECES)
    assert tokenizer.encode("unaffable a! unx [MASK]é東") == [5, 6, 7, 8, 10, 1, 4, 1, 13]
    assert tokenizer.encode("") == []
    assert WordPieceTokenizer(PIECES, cleaning=CASED).encode("É E é e") == [1, 12, 11, 1]
    assert tokenizer.encode("a" + 99 * "b") == [8, *99 * [9]]
    assert tokenizer.encode("a" + 100 * "b") == [1]


def test_pieces_of_any_word_join_to_the_word():
    rng = np.random.default_rng(0)
    vocabulary = dict.fromkeys(("a", "ab", "##a", "##b", "##ba", "##bab"), 0)
    for length in rng.integers(1, 30, 200):
        word = "a" + "".join(rng.choice(["a", "b"], length))
        pieces = cut_longest_first(word, vocabulary)
        assert pieces[0] + "".join(piece[2:] for piece in pieces[1:]) == word
        rest = word
        for number, piece in enumerate(pieces):  # none that fits is longer
            fitting = [
                p.removeprefix("##")
                for p in vocabulary
                if p.startswith("##") == (number > 0) and rest.startswith(p.removeprefix("##"))
            ]
            assert piece.removeprefix("##") == max(fitting, key=len)
            rest = rest[len(piece.removeprefix("##")) :]


def test_rows():
    tokenizer = WordPieceTokenizer(PIECES, context_length=5)
    rows = tokenizer(["a", "unaffable"])
    assert rows.tolist() == [[2, 8, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert rows.dtype == np.int64
    assert tokenizer("a a a a", truncate=True).tolist() == [[2, 8, 8, 8, 3]]
    assert tokenizer("a", context_length=3).tolist() == [[2, 8, 3]]
    assert tokenizer.lengths(["a", "unaffable a"]).tolist() == [3, 6]
    with pytest.raises(ValueError, match=r"text 1 'unaffable a' has 6 tokens .* limit is 5"):
        tokenizer(["a", "unaffable a"])
    with pytest.raises(ValueError, match="context_length must be at least 2"):
        WordPieceTokenizer(PIECES, context_length=1)
    with pytest.raises(TypeError, match="text must be a string, got int"):
        tokenizer.encode(3)


def test_decoding():
    tokenizer = WordPieceTokenizer(PIECES, context_length=8)
    assert tokenizer.decode(tokenizer("unaffable a [MASK]!")[0]) == "unaffable a [MASK] !"
    assert tokenizer.decode([6, 5]) == "##aff un"  # nothing comes before it
    for token_id in (-1, len(PIECES)):
        with pytest.raises(ValueError, match=r"is not in 0\.\.13"):
            tokenizer.decode([token_id])


@pytest.mark.parametrize(
    "pieces, message",
    [
        ([*SPECIAL, "a", "b", "a"], "has 'a' twice"),
        (SPECIAL[1:], r"has no \[PAD\]"),
        (SPECIAL[:3], r"has no \[SEP\]"),
        ([*SPECIAL, ""], "piece 5 of the vocabulary must be a text, got ''"),
        ([*SPECIAL, 3], "piece 5 of the vocabulary must be a text, got 3"),
    ],
)
def test_lists_that_are_no_vocabulary(pieces, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer(pieces)


# --- files ----------------------------------------------------------------------------


def write_single(folder, **changes):
    content = {
        "added_tokens": [{"id": 2, "content": "[CLS]", "special": True, "normalized": False}],
        "normalizer": {"type": "BertNormalizer", "lowercase": False, "strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "vocab": {piece: i for i, piece in enumerate(PIECES)}},
    }
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_list_of_lines(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(PIECES).encode() + b"\r\n")
    tokenizer = WordPieceTokenizer.load(tmp_path)
    assert list(tokenizer.pieces) == PIECES
    assert (tokenizer.cleaning, tokenizer.context_length) == (UNCASED, 77)
    settings = {"do_lower_case": False, "model_max_length": 12, "tokenize_chinese_chars": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = WordPieceTokenizer.load(tmp_path / "vocab.txt")
    assert tokenizer.cleaning == Cleaning(lowercase=False, handle_chinese_chars=False)
    assert tokenizer.context_length == 12


def test_tokenizer_json_comes_before_vocab_txt(tmp_path):
    (tmp_path / "vocab.txt").write_text("nonsense")
    tokenizer = WordPieceTokenizer.load(write_single(tmp_path))
    assert list(tokenizer.pieces) == PIECES
    assert tokenizer.cleaning == CASED
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert WordPieceTokenizer.load(tmp_path).cleaning == UNCASED


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model": {"type": "BPE"}}, "the type of the model is 'BPE', expected 'WordPiece'"),
        ({"model": {"unk_token": "<unk>"}}, "the unknown token is '<unk>'"),
        ({"model": {"continuing_subword_prefix": "@"}}, "pieces inside words is '@'"),
        ({"model": {"max_input_chars_per_word": 10**9}}, "the longest word is 1000000000"),
        ({"model": {"vocab": {"a": 0, "b": 2}}}, "the id of 'b' is 2, expected one of 0..1"),
        ({"model": {"vocab": {"a": 0, "b": 0}}}, "'b' and 'a' both have id 0"),
        ({"model": {"vocab": {"a": True}}}, "the id of 'a' is True"),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": []}, r"the vocabulary has no \[PAD\]"),
        ({"model": {"vocab": 3}}, "not a WordPiece vocabulary"),
        ({"normalizer": None}, "the normalizer is None"),
        ({"normalizer": {"type": "Lowercase"}}, "the normalizer is 'Lowercase'"),
        ({"normalizer": {"lowercase": 1}}, "lowercase must be true or false, got 1"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "the pre-tokenizer is 'Whitespace'"),
        ({"added_tokens": [{"id": 8, "content": "a"}]}, "the added token 'a' is none of"),
        ({"added_tokens": [{"id": 3, "content": "[CLS]"}]}, r"\[CLS\] has id 3 outside"),
        ({"added_tokens": [{"id": 2, "content": "[CLS]", "lstrip": True}]}, "lstrip"),
    ],
)
def test_other_tokenizers_are_refused(tmp_path, changes, message):
    folder = write_single(tmp_path, **changes)
    with pytest.raises(FileError, match=message) as caught:
        WordPieceTokenizer.load(folder)
    assert "tokenizer.json" in str(caught.value)


def test_settings_that_are_none(tmp_path):
    write_single(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"strip_accents": "yes"}')
    with pytest.raises(FileError, match=r"tokenizer_config\.json: .*strip_accents must be true"):
        WordPieceTokenizer.load(tmp_path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        WordPieceTokenizer.load(tmp_path)


@pytest.mark.parametrize("cleaning", [UNCASED, CASED, Cleaning(strip_accents=True)])
def test_saving(tmp_path, cleaning):
    tokenizer = WordPieceTokenizer(PIECES, context_length=9, cleaning=cleaning)
    tokenizer.save(tmp_path / "tokenizer.json")
    for again in (tokenizer_from_json(tokenizer.to_json()), WordPieceTokenizer.load(tmp_path)):
        assert type(again) is WordPieceTokenizer
        assert (again.pieces, again.cleaning) == (tokenizer.pieces, cleaning)
        assert (again.context_length, again.pad_token_id) == (9, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"context_length": 10**9},
        {"context_length": "9"},
        {"pieces": "abc"},
        {"pieces": [["a"]]},
        {"cleaning": {"lowercase": "no"}},
        {"cleaning": {"more": True}},
        {"format": "another"},
    ],
)
def test_saved_texts_that_are_none(change):
    content = json.loads(WordPieceTokenizer(PIECES).to_json()) | change
    with pytest.raises((ValueError, TypeError, KeyError)):
        tokenizer_from_json(json.dumps(content))


# --- learning -------------------------------------------------------------------------

CAPTIONS = ["a red ball", "a red bed", "the red balls", "a [MASK] ball, 東京!"] * 3


def test_a_learned_vocabulary_knows_its_captions():
    tokenizer = WordPieceTokenizer.train(CAPTIONS, 80)
    assert tokenizer.pieces[:5] == tuple(SPECIAL)
    assert tokenizer.vocab_size <= 80
    assert len(tokenizer.encode("red ball")) == 2
    for caption in CAPTIONS:
        assert tokenizer.unknown_token_id not in tokenizer.encode(caption)
    assert tokenizer.unknown_token_id not in tokenizer.encode("labelled")  # known letters
    assert tokenizer.context_length == tokenizer.lengths(CAPTIONS).max()


def test_learning_is_byte_pair_encoding_with_other_letters():
    counts = Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3})
    for limit in (0, 1, 5, 50):
        fast = bpe.learn_merges(counts, limit, spell=list)
        assert fast == plain.learn_merges(counts, limit, spell=list)


def test_a_small_vocabulary_has_the_frequent_letters():
    pieces = learn_pieces(["aaa b", "aa b", "zz"], 9, UNCASED)
    assert pieces == [*SPECIAL, "a", "##a", "b", "##b"]
    assert forms_of("東", Cleaning(handle_chinese_chars=False)) == ["東", "##東"]


@pytest.mark.parametrize("texts, size", [([], 100), (["  "], 100), (["a"], 6), (["x" * 101], 100)])
def test_nothing_to_learn(texts, size):
    with pytest.raises(ValueError, match="training needs texts with words and vocab_size >= 7"):
        WordPieceTokenizer.train(texts, size)
