"""The tokenizer: CLIP's cleaning, splitting and byte-pair encoding, training, and its files."""

import json
import os
import sys
import time
import types
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clip_np.tokens import Tokenizer, clean, learn_merges, split_words
from clip_np.tokens import tokenizer as module

CAPTIONS = [
    "a small red circle at the top left",
    "a large blue star in the center",
    "a small red square above a large red circle",
    "don't panic: it's a café",
]


@pytest.fixture
def trained():
    return Tokenizer.train(CAPTIONS, vocab_size=560)


@pytest.fixture
def ftfy_stand_in(monkeypatch):
    """A module named ftfy whose repair is easy to see."""
    stand_in = types.ModuleType("ftfy")
    stand_in.fix_text = lambda text: text.replace("â€™", "'").replace("\x07", "")
    monkeypatch.setitem(sys.modules, "ftfy", stand_in)
    module._repair.cache_clear()
    yield
    module._repair.cache_clear()


@pytest.fixture
def no_ftfy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    module._repair.cache_clear()
    yield
    module._repair.cache_clear()


# Vocabulary


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


# Cleaning and splitting


def test_clean_unescapes_twice_collapses_space_and_lowers(no_ftfy):
    assert clean("  A\tRed \n\x0b Ball ") == "a red ball"
    assert clean("this &amp;amp; that &lt;b&gt;") == "this & that <b>"
    assert clean("&amp;amp;amp;") == "&amp;"
    assert clean("caf&eacute;&nbsp;É\u3000x") == "café é x"
    assert clean(" \x1ca \x1c b\x1f ") == "a \x1c b"
    assert clean("") == ""


def test_clean_uses_ftfy_where_it_is_installed(ftfy_stand_in):
    assert clean("it‘s Itâ€™s") == "it‘s it's"
    assert clean("plain but for \x07a bell") == "plain but for a bell"


def test_clean_works_without_ftfy(no_ftfy):
    assert clean("Itâ€™s") == "itâ€™s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red ball", ["a", "red", "ball"]),
        ("room 101", ["room", "1", "0", "1"]),
        ("it's we'll they'd don't", ["it", "'s", "we", "'ll", "they", "'d", "don", "'t"]),
        ("'really 'x", ["'re", "ally", "'", "x"]),
        ("wow!!! a_b (c)", ["wow", "!!!", "a", "_", "b", "(", "c", ")"]),
        ("ärger über 日本語、漢字", ["ärger", "über", "日本語", "、", "漢字"]),
        ("x²½ⅷ١", ["x", "²", "½", "ⅷ", "١"]),
        ("e\u0301 नि", ["e", "\u0301", "न", "ि"]),  # marks are no letters
        ("\N{GRINNING FACE}\N{GRINNING FACE}z", ["\N{GRINNING FACE}" * 2, "z"]),
        ("it'ſ é", ["it", "'ſ", "é"]),  # the long s is an s where case is ignored
        ("<|startoftext|>a<|endoftext|>", ["<|startoftext|>", "a", "<|endoftext|>"]),
        ("é<|endoftext|>", ["é", "<|endoftext|>"]),
        ("a\x1cb é", ["a", "\x1c", "b", "é"]),  # a separator, which is no white space there
        ("aé\u0345é'\u0345s", ["aé", "é", "'", "s"]),  # nor is this mark in any class
        ("", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30))
def test_ascii_words_do_not_depend_on_the_rest_of_the_text(text):
    text = clean(text)
    assert split_words(text + " é") == [*split_words(text), "é"]


# Encoding and decoding


def test_the_earliest_merge_comes_first_and_all_its_occurrences_at_once():
    by_end = Tokenizer([("b", "c</w>"), ("a", "b"), ("ab", "ab")])
    assert by_end.encode("abc") == [64, 512]
    assert by_end.encode("ababc") == [513, 64, 512]
    by_start = Tokenizer([("a", "b"), ("b", "c</w>"), ("ab", "ab")])
    assert by_start.encode("abc") == [512, 322]
    assert by_start.encode("ababc") == [514, 322]
    assert Tokenizer([("a", "a")]).encode("aaaaa") == [512, 512, 320]


def one_join_at_a_time(tokenizer, text):
    """The same by the definition: look for the earliest merge, join it everywhere, look again."""
    pieces = [*text[:-1], text[-1] + "</w>"]
    while found := [pair for pair in tokenizer.merges if pair in pairwise(pieces)]:
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == found[0]:
                pieces[place : place + 2] = ["".join(found[0])]
            place += 1
    return [tokenizer.vocabulary[piece] for piece in pieces]


@settings(deadline=None)
@given(st.text("abc", min_size=1, max_size=20), st.lists(st.text("abc", min_size=1), max_size=20))
def test_joins_follow_the_order_of_the_merges(text, captions):
    tokenizer = Tokenizer(learn_merges(Counter(captions + ["abcab"] * 3), 30))
    assert tokenizer.encode(text) == one_join_at_a_time(tokenizer, text)


def test_a_word_of_many_letters_takes_no_minute(trained):
    word = "".join(np.random.default_rng(0).choice(list("abcdelrstu"), 100_000))
    start = time.process_time()
    assert trained.decode(trained.encode(word)) == word
    assert time.process_time() - start < 20


def test_special_tokens_in_a_text_are_encoded_as_such(trained):
    ids = trained.encode("a <|STARTOFTEXT|> b<|endoftext|>")
    assert ids.count(trained.start_token_id) == 1
    assert ids[-1] == trained.end_token_id


def test_encoding_again_gives_the_same_and_a_list_of_its_own(trained):
    first = trained.encode("circle")
    first.append(0)
    assert trained.encode("circle") == first[:-1]


def test_the_cache_is_bounded_and_forgetting_changes_nothing(trained, monkeypatch):
    expected = [trained.encode(text) for text in CAPTIONS]
    monkeypatch.setattr(module, "CACHE_WORDS", 3)
    fresh = Tokenizer(trained.merges)
    assert [fresh.encode(text) for text in CAPTIONS] == expected
    assert fresh._word_ids.cache_info().currsize == 3


@settings(deadline=None)
@given(st.text(max_size=40))
def test_decode_gives_the_clean_words_back(text):
    tokenizer = Tokenizer([("t", "h"), ("th", "e</w>"), ("Ã", "©</w>")])
    words = split_words(clean(text))
    assume(not {module.START, module.END} & set(words))
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(words)


def test_decode_of_a_row_leaves_out_start_end_and_padding(trained):
    row = trained("A  small RED circle", context_length=40)[0]
    assert (row == 0).any()
    assert trained.decode(row) == "a small red circle"
    assert trained.decode([]) == ""


def test_decode_marks_bytes_that_are_no_text():
    assert Tokenizer([]).decode([127, 320]) == "\ufffda"


@pytest.mark.parametrize("bad", [-1, 514])
def test_decode_refuses_ids_outside_the_vocabulary(bad):
    with pytest.raises(ValueError, match=rf"token id {bad} is not in 0..513"):
        Tokenizer([]).decode([5, bad])


def test_decode_refuses_what_is_no_id():
    with pytest.raises(ValueError, match=r"token id 1\.5 is not in"):
        Tokenizer([]).decode([1.5])


def test_half_of_a_surrogate_pair_is_refused(no_ftfy):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Tokenizer([]).encode("a \ud800")


# Rows


def test_rows_hold_start_ids_end_and_zeros(trained):
    rows = trained(["a red star", ""], context_length=12)
    ids = trained.encode("a red star")
    assert rows.shape == (2, 12)
    assert rows.dtype == np.int64
    expected = [trained.start_token_id, *ids, trained.end_token_id]
    assert rows[0].tolist() == expected + [0] * (12 - len(expected))
    assert rows[1].tolist() == [trained.start_token_id, trained.end_token_id] + [0] * 10
    assert rows.argmax(axis=1).tolist() == [len(ids) + 1, 1]  # how the text encoder finds the end


def test_another_token_may_fill_the_rows(trained):
    padded = Tokenizer(trained.merges, 12, trained.end_token_id)
    rows, usual = padded(["a red star", ""]), trained(["a red star", ""], context_length=12)
    assert rows.argmax(axis=1).tolist() == usual.argmax(axis=1).tolist()  # the first end token
    behind = np.arange(12) > usual.argmax(axis=1)[:, np.newaxis]
    assert rows.tolist() == np.where(behind, trained.end_token_id, usual).tolist()
    assert padded.decode(rows[0]) == "a red star"
    assert Tokenizer.from_json(padded.to_json()).pad_token_id == trained.end_token_id


def test_a_file_from_before_there_was_a_padding_token():
    assert (
        Tokenizer.from_json(changed().decode().replace('"pad_token_id": 0, ', "")).pad_token_id == 0
    )


def test_one_text_is_one_row_of_the_tokenizers_own_length(trained):
    assert trained("red").shape == (1, trained.context_length)
    assert trained(("red", "blue")).shape == (2, trained.context_length)
    assert trained([]).shape == (0, trained.context_length)


def test_a_text_that_just_fits_is_no_error():
    tokenizer = Tokenizer([], context_length=5)
    assert tokenizer("abc").tolist() == [[512, 64, 65, 322, 513]]


def test_over_long_text_raises_and_names_the_text_and_the_limit():
    tokenizer = Tokenizer([], context_length=5)
    message = r"text 1 'abcd' has 6 tokens with start and end, the limit is 5: .*truncate=True"
    with pytest.raises(ValueError, match=message):
        tokenizer(["abc", "abcd"])
    with pytest.raises(ValueError, match=r"text 0 'x+\.\.\.x+' has 502 tokens"):
        tokenizer("x" * 500)


def test_truncate_forces_the_end_token():
    tokenizer = Tokenizer([], context_length=5)
    rows = tokenizer(["abcdefgh", "a"], truncate=True)
    assert rows.tolist() == [[512, 64, 65, 66, 513], [512, 320, 513, 0, 0]]
    assert tokenizer("abc", context_length=2, truncate=True).tolist() == [[512, 513]]


def test_lengths_count_start_and_end(trained):
    texts = ["", "red", "zyzzyva " * 30]
    lengths = trained.lengths(texts)
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [len(trained.encode(text)) + 2 for text in texts]
    assert trained.lengths("red").shape == (1,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (3, "'int' object is not iterable"),
        (None, "'NoneType' object is not iterable"),
        (b"red", "text must be a string, got int 114"),
        (["red", 4.5], "text must be a string, got float 4.5"),
    ],
)
def test_anything_but_strings_is_refused(trained, texts, message):
    for method in (trained, trained.lengths, lambda bad: Tokenizer.train(bad, 600)):
        with pytest.raises(TypeError, match=message):
            method(texts)
    with pytest.raises(TypeError, match="text must be a string, got list"):
        trained.encode(["red"])


@pytest.mark.parametrize("length", [1, 0, -3, 7.0, "77", True])
def test_impossible_context_lengths_are_refused(trained, length):
    with pytest.raises((ValueError, TypeError), match=r"at least 2|as an integer"):
        Tokenizer([], length)
    with pytest.raises((ValueError, TypeError)):
        trained("red", context_length=length, truncate=True)


# Training


def test_training_on_counts_worked_out_by_hand():
    # Pairs: a+b</w> 3 times, a+b and b+c</w> twice each: the alphabet decides. d+e occurs once.
    tokenizer = Tokenizer.train(["ab AB abc", "abc ab de"], vocab_size=600)
    assert tokenizer.merges == (("a", "b</w>"), ("a", "b"), ("ab", "c</w>"))
    assert tokenizer.vocab_size == 517
    assert tokenizer.encode("ab abc") == [512, 514]
    assert tokenizer.encode("de") == [67, 324]


def test_training_stops_at_the_vocabulary_size():
    full = Tokenizer.train(CAPTIONS, vocab_size=10_000)
    part = Tokenizer.train(CAPTIONS, vocab_size=520)
    assert part.vocab_size == 520
    assert part.merges == full.merges[:6]
    assert Tokenizer.train(CAPTIONS, vocab_size=514).merges == ()


def test_the_order_of_captions_does_not_matter():
    forwards = Tokenizer.train(CAPTIONS, vocab_size=560)
    backwards = Tokenizer.train(iter(CAPTIONS[::-1]), vocab_size=560)
    assert forwards.merges == backwards.merges
    assert forwards.context_length == backwards.context_length


def test_a_frequent_word_becomes_one_token(trained):
    assert len(trained.encode("circle")) == 1
    assert len(trained.encode("zyzzyva")) > 3


def test_special_tokens_are_never_learned():
    tokenizer = Tokenizer.train(["<|endoftext|> xy", "<|endoftext|> xy"], vocab_size=600)
    assert tokenizer.merges == (("x", "y</w>"),)


def test_the_context_length_follows_the_captions():
    tokenizer = Tokenizer.train(["ab ab ab", "ab"], vocab_size=515)
    assert tokenizer.context_length == 5
    assert tokenizer(["ab ab ab"]).shape == (1, 5)
    assert Tokenizer.train(["ab " * 200], vocab_size=515).context_length == 77
    assert Tokenizer.train(["ab"], vocab_size=515, context_length=99).context_length == 99


def test_training_refuses_too_small_a_vocabulary_and_no_texts():
    message = "needs texts and vocab_size >= 514, got "
    with pytest.raises(ValueError, match=f"{message}4 texts and vocab_size 513"):
        Tokenizer.train(CAPTIONS, vocab_size=513)
    with pytest.raises(ValueError, match=f"{message}0 texts and vocab_size 600"):
        Tokenizer.train([], vocab_size=600)


def naive_merges(word_counts, limit):
    """Byte-pair encoding as one would write it down: count every pair anew for every merge."""
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in word_counts}
    merges = []
    while len(merges) < limit:
        counts = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                counts[pair] += word_counts[word]
        options = [(-count, pair) for pair, count in counts.items() if count >= 2]
        if not options:
            break
        pair = min(options)[1]
        merges.append(pair)
        for word, pieces in words.items():
            position = 0
            while position < len(pieces) - 1:
                if (pieces[position], pieces[position + 1]) == pair:
                    pieces[position : position + 2] = ["".join(pair)]
                position += 1
            words[word] = pieces
    return merges


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 4), max_size=12))
def test_incremental_counts_agree_with_counting_anew(word_counts):
    merges = learn_merges(word_counts, 40)
    assert merges == naive_merges(word_counts, 40)
    assert Tokenizer(merges).vocab_size == 514 + len(merges)  # every piece is made once


# Files


def test_json_and_file_round_trip(trained, tmp_path):
    file = tmp_path / "tokenizer.json"
    trained.save(file)
    for loaded in (
        Tokenizer.from_json(trained.to_json()),
        Tokenizer.load(file),
        Tokenizer.load(str(tmp_path)),
    ):
        assert loaded.merges == trained.merges
        assert loaded.context_length == trained.context_length
        assert (loaded(CAPTIONS) == trained(CAPTIONS)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_no_litter(step, trained, tmp_path, monkeypatch):
    file = tmp_path / "tokenizer.json"
    Tokenizer([], context_length=9).save(file)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        trained.save(file)
    assert Tokenizer.load(file).context_length == 9
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_load_of_nothing_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def changed(**fields):
    document = json.loads(Tokenizer([("a", "b")], context_length=9).to_json())
    return json.dumps({**document, **fields}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"no tokenizer \(JSONDecodeError"),
        (changed()[:-9], r"no tokenizer \(JSONDecodeError"),
        (b'{"format": "\xff"}', "codec can't decode"),
        (b"[" * 100_000, "no tokenizer"),
        (b"[]", "no tokenizer"),
        (b"{}", "KeyError: 'format'"),
        (b'{"version": "1.0", "model": {}}', "KeyError: 'merges'"),
        (b'{"format": 1, "format": 2}', "two values for one key"),
        (changed(format="clip_np tokenizer 2"), "the format is 'clip_np tokenizer 2', not 'clip_"),
        (changed(merges=None), r"no tokenizer \(TypeError"),
        (changed(merges={"a": "b"}), r"no tokenizer \(ValueError"),
        (changed(merges=[["a", "b"], 7]), r"no tokenizer \(TypeError"),
        (changed(merges=[["a", 7]]), r"no tokenizer \(TypeError"),
        (changed(merges=[[6, 7]]), "known pieces to a new one"),
        (changed(merges=[["a", "bc"]]), "known pieces to a new one"),
        (changed(merges=[["a", "b"]] * 2), "known pieces to a new one"),
        (changed(context_length="9"), "'str' object cannot be interpreted as an integer"),
        (changed(context_length=1), "context_length must be at least 2, got 1"),
        (changed(context_length=None), "'NoneType' object cannot be interpreted as an integer"),
        (changed(pad_token_id=515), r"pad_token_id 515 is not in 0\.\.514"),
        (changed(pad_token_id=-1), "pad_token_id -1 is not in"),
        (changed(pad_token_id=0.0), "'float' object cannot be interpreted as an integer"),
    ],
)
def test_damaged_and_foreign_files_are_refused_by_name(content, message, tmp_path):
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.load(file)
    assert str(file) in str(caught.value)
