"""WordPiece against transformers' fast BertTokenizer, cased and uncased.

The vocabularies are learned here, with WordPieceTokenizer.train, so nothing is
downloaded. The library knows Unicode as it was in 2015. Characters to which Python's
Unicode gives another category are left out of the comparison; a test counts them.
"""

import functools
import random
import sys
import unicodedata

import pytest

from clip_np.tokens import CASED, UNCASED, Cleaning, WordPieceTokenizer
from clip_np.tokens.bert_words import clean_for_bert, split_for_bert

tokenizers = pytest.importorskip("tokenizers", reason="pip install transformers")

HAND_WRITTEN = [
    *("", " ", "\n\t", "a", "!", "a photo of a cat", "A Photo, of a CAT!", "x" * 100, "x" * 101),
    *("it's we'll they'd", "don''t 'really' 'tis", "snake_case-and-CamelCase 3.14 1,000"),
    *("[CLS] a [SEP]", "a[MASK]b", "[mask] [ CLS ] [[SEP]]", "[PAD][UNK]", "[CLS", "[UNK]x"),
    *("##ed re##d ## #", "Ärger Größe naïve café", "e\u0301 n\u0303 \u0301alone", "İSTANBUL ıI"),
    *("ΑΣ ΣΑΣ Σ ΑΣ. ς", "ᾼ ᾳ ſtraße ﬁne Ǆ ǅ ĳ", "日本語、漢字 ｆｕｌｌ　ｗｉｄｔｈ"),
    *("한국어 ᄒ\u1161ᆫ", "हिन्दी नि ไทย", "١٢٣ ²³ ½ ⅷ 〇 𝟘", "...!!!???", "$£€ ©™ ×÷ № ¿¡"),
    *("👩\u200d👩 👍🏽 ❤\ufe0f 🇨🇭"),
    *("a\x00b\x07c\x0bd\x0ce\x7ff\x85g", "a\x1cb\x1d", "\ufeffbom\ufffe\ufffd", "\r\na\r\rb"),
    *("\u202eright\u202c", "\u1680\u2000\u2028\u2029\u202f\u205f\u3000x\u180ey\u200bz\u00ad"),
    *("𠀀𪜀𫝀𫠠𫢠\U0002f800", "㐀䶿一鿿豈﫿", "\ue000\U000f0000private", "a\u0345\u0301b"),
]  # fmt: skip
SNIPPETS = [
    *("a photo of a dog", "The", "RED", "ball", "größe", "ÄÖÜ", "[MASK]", "[SEP]", "[CLS]"),
    *("##", "東京", "\u0301", "\u200d", " ", "  ", "\t", "\x00", "7", "42", "!", "-", "Σ", "İ"),
]  # fmt: skip
CLEANINGS = {
    "uncased": UNCASED,
    "cased": CASED,
    "lower-case with accents": Cleaning(strip_accents=False),
    "cased without accents": Cleaning(lowercase=False, strip_accents=True),
    "Chinese as it is": Cleaning(handle_chinese_chars=False),
}


@functools.cache
def categories() -> dict[str, list[str]]:
    """The characters by category, without those that only one side knows."""
    normalizers = {
        cleaning: tokenizers.normalizers.BertNormalizer(lowercase=cleaning.lowercase)
        for cleaning in (UNCASED, CASED)
    }
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    by_category: dict[str, list[str]] = {}
    left_out = []
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category in ("Cs", "Cn"):
            continue
        text = f"a{character}b"
        equal = all(
            clean_for_bert(text, cleaning) == normalizer.normalize_str(text)
            for cleaning, normalizer in normalizers.items()
        )
        words = [word for word, _ in splitter.pre_tokenize_str(text)]
        if equal and split_for_bert(text) == words:
            by_category.setdefault(category, []).append(character)
        else:
            left_out.append(character)
    by_category["left out"] = left_out
    return by_category


def test_characters_are_left_out_for_the_version_of_unicode_alone():
    """Nothing that was in Unicode 8, as far as one can see: no old block has one."""
    left_out = categories()["left out"]
    print(f"left out, as the library's Unicode is of 2015: {len(left_out)} characters")
    assert len(left_out) < 1000
    assert min(left_out) > "\u0600"
    assert {unicodedata.category(character)[0] for character in left_out} <= {*"MCPSL"}


def generated(count: int, seed: int = 0):
    """Texts of 1 to 12 parts: characters of all categories, and snippets with rules."""
    rng = random.Random(seed)
    kinds = [found for kind, found in categories().items() if kind != "left out"]
    for _ in range(count):
        parts = (
            rng.choice(SNIPPETS) if rng.random() < 0.85 else rng.choice(rng.choice(kinds))
            for _ in range(rng.randint(1, 12))
        )
        yield rng.choice(["", "", " "]).join(parts)


def learned(cleaning: Cleaning) -> WordPieceTokenizer:
    """A vocabulary that knows many letters of many alphabets, but not all."""
    texts = [*HAND_WRITTEN, *generated(400, seed=1), *["a photo of a red ball, a cat!"] * 9]
    return WordPieceTokenizer.train(texts, 3000, context_length=32, cleaning=cleaning)


def theirs(ours: WordPieceTokenizer, folder):
    """transformers' tokenizer for the same vocabulary."""
    from theirs import transformers

    library = transformers()
    path = folder / "vocab.txt"
    path.write_text("".join(f"{piece}\n" for piece in ours.pieces), encoding="utf-8", newline="\n")
    fast = getattr(library, "BertTokenizerFast", library.BertTokenizer)
    tokenizer = fast(
        vocab=str(path) if fast is not library.BertTokenizer else dict(ours.vocabulary),
        do_lower_case=ours.cleaning.lowercase,
        strip_accents=ours.cleaning.strip_accents,
        tokenize_chinese_chars=ours.cleaning.handle_chinese_chars,
        model_max_length=ours.context_length,
    )
    assert len(tokenizer) == ours.vocab_size
    return tokenizer


@pytest.mark.parametrize("name", CLEANINGS)
def test_hand_written_and_generated_texts_give_equal_ids(name, tmp_path):
    pytest.importorskip("torch", reason="theirs.py needs PyTorch")
    ours = learned(CLEANINGS[name])
    official = theirs(ours, tmp_path)
    texts = [*HAND_WRITTEN, *generated(6000)]
    expected = official(texts, add_special_tokens=False)["input_ids"]
    different = [
        (text, ours.encode(text), ids)
        for text, ids in zip(texts, expected)
        if ours.encode(text) != ids
    ]
    assert different == []
    unknown = sum(ours.unknown_token_id in ids for ids in expected)
    print(f"{len(texts)} texts gave equal ids, {name}; {unknown} of them have unknown words")
    assert 100 < unknown < 0.7 * len(texts)
    rows = official(texts, truncation=True, padding="max_length", return_tensors="np")["input_ids"]
    assert (ours(texts, truncate=True) == rows).all()


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_each_character_by_itself_gives_equal_ids(name, tmp_path):
    pytest.importorskip("torch", reason="theirs.py needs PyTorch")
    ours = learned(CLEANINGS[name])
    official = theirs(ours, tmp_path)
    kinds = {kind: found for kind, found in categories().items() if kind != "left out"}
    characters = [c for found in kinds.values() for c in found[:: max(1, len(found) // 2000)]]
    texts = [f"a{c}b {c} A{c}{c}!" for c in characters]
    expected = official(texts, add_special_tokens=False)["input_ids"]
    assert [text for text, ids in zip(texts, expected) if ours.encode(text) != ids] == []
    print(f"{len(texts)} characters gave equal ids, {name}")


@pytest.mark.parametrize("name", CLEANINGS)
def test_what_transformers_saves_is_read(name, tmp_path):
    pytest.importorskip("torch", reason="theirs.py needs PyTorch")
    ours = learned(CLEANINGS[name])
    theirs(ours, tmp_path).save_pretrained(tmp_path / "saved")
    loaded = WordPieceTokenizer.load(tmp_path / "saved")
    assert loaded.pieces == ours.pieces
    assert loaded.context_length == ours.context_length
    assert loaded.cleaning.strips_accents == ours.cleaning.strips_accents
    texts = [*HAND_WRITTEN, *generated(500)]
    assert [loaded.encode(text) for text in texts] == [ours.encode(text) for text in texts]
