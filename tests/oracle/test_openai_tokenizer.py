"""The tokenizer against the published ones: OpenAI's, open_clip's and Hugging Face's.

Their packages import PyTorch and more, so only the file of the tokenizer is loaded.
What is not installed is left out, with a reason.
"""

import functools
import importlib.util
import pathlib
import random
import sys
import types
import unicodedata

import numpy as np
import pytest

from clip_np.tokens import Tokenizer
from clip_np.tokens import words as words_module

regex = pytest.importorskip("regex", reason="the published tokenizers need regex")
ftfy = pytest.importorskip("ftfy", reason="the published tokenizers need ftfy")

SEPARATORS = set("\x1c\x1d\x1e\x1f")  # white space to Python's str.split, not to regex's \s
HAND_WRITTEN = [
    *("", " ", "\n\t", "a", "!", "a photo of a cat", "A Photo, of a CAT!", "x" * 3000),
    *("it's we'll they'd I'M you'RE 'VE 'S 'T 'LL 'D", "don''t 'really' 'tis rock'n'roll"),
    *("'ſ it'ſ", "'\u0345s 's\u0345", "a\u0345b", "\N{KELVIN SIGN}elvin 3\N{KELVIN SIGN}"),
    *("ſtraße ﬁne ﬄ ﬅ Ǆ ǅ ĳ", "ıI İi İSTANBUL", "ΑΣ ΣΑΣ Σ ΑΣ. ς", "ᾼ ᾳ"),
    *("<|startoftext|>a<|endoftext|>", "<|STARTOFTEXT|><|EndOfText|>!", "<|ſtartoftext|>"),
    *("<|startoftext|", "<|<|endoftext|>|>", "a<|endoftext|> b </w> c</w>"),
    *("&amp; &amp;amp; &amp;amp;lt; &lt;b&gt;", "<b>&eacute;</b> &amp;eacute;"),
    *("&amp &lt &#233; &#xE9 &#x1F600; &#0;", "&#55296; &#x110000;"),
    *("&nbsp;a&nbsp;&nbsp;b&#28;c&#x85;d", "&notin; &notit; &copy &unknown; & ; &;", "https://example.org/?a=1&b=2&copy=3"),
    *("â€œmojibakeâ€\x9d itâ€™s cafÃ© Ã¼ber", "l’humanitÃ©", "ðŸ˜€ smile", "\x93curly\x94 it\x92s"),
    *("‘single’ “double” it’s", "a\x00b\x07c\x0bd\x0ce\x7ff\x85g", "\x1b[31mred\x1b[0m"),
    *("a\x1cb \x1d c\x1e\x1f", "\x1c a \x1f", "\ufeffbom\ufffe", "\r\na\r\rb\r\n"),
    *("e\u0301 é ñ n\u0303 \u0301alone", "a\u200bb\u200cc\u200dd\u2060e\u00ade"),
    *("\u202eright\u202c to", "\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000x\u180ey\u200bz"),
    *("👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f ❤ 🏳\ufe0f\u200d🌈 🇨🇭", "1\ufe0f\u20e3 #\ufe0f\u20e3"),
    *("日本語、漢字 ｆｕｌｌ　ｗｉｄｔｈ ﾊﾝｶｸ １２３", "한국어 ᄒ\u1161ᆫ", "हिन्दी नि ไทย"),
    *("١٢٣ ²³ ½ ⅷ Ⅷ ⓐⒶ 〇 𝟘 𐒠", "snake_case-and-CamelCase 3.14 1,000", "...!!!???", "$£€ ©™ ×÷ №"),
]  # fmt: skip
SNIPPETS = [
    *("a photo of a dog", "The", "'s", "'LL", "'", "’", "&amp;", "&amp;lt;", "&#39;", "&eacute"),
    *("&", "<|startoftext|>", "<|EndOfText|>", "</w>", "Ã©", "â€™", "\u200d", "\ufe0f", "\u0301"),
    *(" ", "  ", "\n", "\x1c", "\x85", "7", "42", "!", "-", "ſ", "\u0345", "\N{KELVIN SIGN}"),
    *("İ", "Σ", "ﬁ"),
]  # fmt: skip


def load_file(package: str, name: str) -> types.ModuleType:
    """A module of an installed package, without the package's own `__init__`."""
    found = importlib.util.find_spec(package)
    path = found and pathlib.Path(found.submodule_search_locations[0]) / name
    if not path or not path.exists():
        pytest.skip(f"{package}/{name} is not installed")
    spec = importlib.util.spec_from_file_location(f"published_{package}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def ours(published):
    return published


@pytest.fixture(scope="module", params=["clip", "open_clip"])
def theirs(request):
    if request.param == "open_clip":
        pytest.importorskip("torch", reason="open_clip's tokenizer needs PyTorch")
    name = {"clip": "simple_tokenizer.py", "open_clip": "tokenizer.py"}[request.param]
    return load_file(request.param, name)


@pytest.fixture(params=["with ftfy", "without ftfy"])
def repair(request, theirs, monkeypatch):
    """Both with ftfy's repair, then both without."""
    words_module._repair.cache_clear()
    if request.param == "without ftfy":
        monkeypatch.setattr(words_module, "_repair", lambda: str)
        monkeypatch.setattr(theirs, "ftfy", types.SimpleNamespace(fix_text=str))
    return request.param


def comparable(texts, theirs):
    """open_clip has other names for start and end, and its white space is Python's."""
    if theirs.__name__ == "published_clip":
        return texts
    kept = [text for text in texts if not SEPARATORS & set(text) and "oftext" not in text.lower()]
    print(f"left out, as open_clip's rules differ from OpenAI's: {len(texts) - len(kept)} texts")
    return kept


@functools.cache
def categories():
    """The characters of each general category that both Python and regex know.

    Their versions of Unicode differ. Surrogates are left out.
    """
    known, found, left_out = regex.compile(r"\P{Cn}"), {}, 0
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category in ("Cn", "Cs"):
            left_out += category == "Cn" and known.match(character) is not None
        elif regex.match(rf"\p{{{category}}}", character):
            found.setdefault(category, []).append(character)
        else:
            left_out += 1
    print(f"left out, as Python's and regex's versions of Unicode differ: {left_out} characters")
    return found


def generated(count, seed=0):
    """Texts of 1 to 12 parts: characters of all categories, and snippets with rules."""
    rng = random.Random(seed)
    kinds = list(categories().values())
    for _ in range(count):
        parts = (
            rng.choice(SNIPPETS) if rng.random() < 0.5 else rng.choice(rng.choice(kinds))
            for _ in range(rng.randint(1, 12))
        )
        yield rng.choice(["", "", " "]).join(parts)


def different(ours, theirs, texts):
    return [text for text in texts if ours.encode(text) != theirs.encode(text)]


def test_the_vocabulary_is_the_published_one(ours, theirs):
    published = list(theirs.SimpleTokenizer().encoder)
    assert list(ours.vocabulary)[:-2] == published[:-2]
    assert (ours.vocab_size, len(published), ours.context_length) == (49_408, 49_408, 77)
    assert (ours.start_token_id, ours.end_token_id, ours.pad_token_id) == (49_406, 49_407, 0)


def test_hand_written_and_generated_texts_give_equal_ids(ours, theirs, repair):
    texts = comparable([*HAND_WRITTEN, *generated(4000)], theirs)
    assert different(ours, theirs.SimpleTokenizer(), texts) == []
    print(f"{len(texts)} texts gave equal ids {repair}")
    assert len(texts) > 2000


def test_characters_of_every_category_give_equal_ids(ours, theirs, repair):
    """All characters of a category, or 3,000 of it, because ftfy is slow."""
    kinds = {kind: found[:: max(1, len(found) // 3000)] for kind, found in categories().items()}
    texts = [f"a{c}1{c}S '{c} {c}{c}b" for found in kinds.values() for c in found]
    texts, official = comparable(texts, theirs), theirs.SimpleTokenizer()
    for start in range(0, len(texts), 50):
        together = texts[start : start + 50]
        if different(ours, official, ["\n".join(together)]):
            assert different(ours, official, together) == []
            raise AssertionError(f"different together, not alone: {together}")
    print(f"{len(texts)} characters gave equal ids {repair}")


def test_half_of_a_surrogate_pair(ours, theirs, repair):
    """ftfy replaces it; without ftfy no tokenizer can spell it."""
    for text in ("a \ud800 b", "\udfff"):
        if repair == "with ftfy":
            assert ours.encode(text) == theirs.SimpleTokenizer().encode(text)
        else:
            with pytest.raises(ValueError, match="is not Unicode text"):
                ours.encode(text)
            with pytest.raises(UnicodeEncodeError):
                theirs.SimpleTokenizer().encode(text)


def test_rows_at_the_edge_of_the_context(ours, theirs, repair):
    official = theirs.SimpleTokenizer()
    for words in (74, 75, 76, 77, 200):
        text = "cat " * words
        ids = [ours.start_token_id, *official.encode(text), ours.end_token_id]
        if len(ids) > 77:
            with pytest.raises(ValueError, match=f"has {len(ids)} tokens"):
                ours(text)
            ids = [*ids[:76], ours.end_token_id]
        expected = ids + [0] * (77 - len(ids))
        assert ours(text, truncate=True).tolist() == [expected]
        if callable(official):
            assert official(text).tolist() == [expected]


def test_decoding_gives_equal_texts(ours, theirs):
    official, rng = theirs.SimpleTokenizer(), np.random.default_rng(0)
    for length in range(1, 400):
        ids = rng.integers(0, 49_406, length).tolist()
        assert ours.decode(ids) == official.decode(ids).strip()
    for text in HAND_WRITTEN:
        ids = [i for i in ours.encode(text) if i < 49_406]
        assert ours.decode(ids) == official.decode(ids).strip()


def test_hugging_face_reads_what_we_write(ours, tmp_path):
    """Plain text only: Hugging Face repairs nothing and composes accents otherwise."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    if not hasattr(transformers, "CLIPTokenizer"):
        pytest.skip("transformers lacks CLIPTokenizer")
    rng = random.Random(0)
    words = [
        *("it's", "don't", "WE'LL", "2", "100", "café", "Größe", "日本語", "😀😀", "-", "!!", "(a)")
    ]
    words += [piece[:-4] for piece in ours.vocabulary if piece.endswith("</w>") and piece.isascii()]
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 30))) for _ in range(2000)]
    small = Tokenizer.train(["a small red circle", "a large red star, a small star!"] * 2, 600)
    padded = Tokenizer(ours.merges, 20, ours.end_token_id)
    for number, tokenizer in enumerate((ours, small, padded)):
        tokenizer.save_huggingface(tmp_path / f"{number}")
        theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path / f"{number}")
        length = tokenizer.context_length
        assert (len(theirs), theirs.model_max_length) == (tokenizer.vocab_size, length)
        rows = theirs(texts, truncation=True, padding="max_length", return_tensors="np").input_ids
        found = tokenizer(texts, truncate=True)
        ends = found.argmax(axis=1)[:, np.newaxis]
        assert np.array_equal(
            rows[:, :length], np.where(np.arange(length) > ends, tokenizer.end_token_id, found)
        )
        if tokenizer is padded:
            assert np.array_equal(rows, found)
        theirs.save_pretrained(tmp_path / f"{number} again")  # one tokenizer.json
        for name in (f"{number}", f"{number} again", f"{number} again/tokenizer.json"):
            loaded = Tokenizer.load(tmp_path / name)
            assert loaded.merges == tokenizer.merges
            assert loaded.context_length == tokenizer.context_length
            assert loaded.pad_token_id == tokenizer.pad_token_id
