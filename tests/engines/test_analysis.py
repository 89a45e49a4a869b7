"""Text to words, against what Lucene's analyzers give (checked once on a real server, then written down)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.engines.embedded.analysis import HOLE, VALUE_GAP, index_text, positioned, words

ANALYZERS = ("standard", "english", "cjk")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The QUICK brown-fox", ["the", "quick", "brown", "fox"]),
        ("U.S.A. 3.14 1,000 1.2.3 a.3 3.a", ["u.s.a", "3.14", "1,000", "1.2.3", "a", "3", "3", "a"]),
        ("o'neil's l’été it's 's dogs'", ["o'neil's", "l’été", "it's", "s", "dogs"]),
        ("foo_bar _a a_ __ x:y a:1", ["foo_bar", "_a", "a_", "x:y", "a", "1"]),
        ("a@b.com http://x.y/z?q=1 C++ .net", ["a", "b.com", "http", "x.y", "z", "q", "1", "c", "net"]),
        ("東京タワーに行った", ["東", "京", "タワー", "に", "行", "っ", "た"]),
        ("हिन्दी ไทย العربية", ["हिन्दी", "ไทย", "العربية"]),
        ("👨‍👩‍👧 🇩🇪🇫🇷 👍🏽 ©", ["👨‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽", "©"]),
        ("x² ½ m₂ ① cafe\u0301's", ["x", "m", "cafe\u0301's"]),
        ("İstanbul ΟΔΟΣ", ["istanbul", "οδοσ"]),
        ("a\0b", ["a", "b"]),
        ("", []),
        (" \n\t", []),
        ("y" * 300, ["y" * 255, "y" * 45]),
    ],
)
def test_standard(text, expected):
    assert words("standard", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The engines of the engine's engineering", [HOLE, "engin", HOLE, HOLE, "engin", "engin"]),
        ("possibly possible", ["possibl", "possibl"]),  # Porter's later bli -> ble
        ("technology technologies technological", ["technolog", "technolog", "technolog"]),  # and logi -> log
        ("biology doubly", ["biologi", "doubli"]),  # both only after a syllable
        ("as is os ms", [HOLE, HOLE, "os", "ms"]),  # two letters are no stem
        ("ponies caresses cats feed agreed sky happy", ["poni", "caress", "cat", "feed", "agre", "sky", "happi"]),
        ("relational conditional hopeful goodness", ["relat", "condit", "hope", "good"]),
        ("O’Neil’s ＇s", ["o’neil", "s"]),
    ],
)
def test_english(text, expected):
    assert words("english", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("中", ["中"]),
        ("日本語とEnglish混在", ["日本", "本語", "語と", "english", "混在"]),
        ("한국어 텍스트", ["한국", "국어", "텍스", "스트"]),
        ("ｶﾞｷﾞ ＡＢＣ１２３", ["ガギ", "abc123"]),
        ("the engine is a gi", [HOLE, "engine", HOLE, HOLE, "gi"]),
        ("an s", ["an", HOLE]),  # CJKAnalyzer has its own list of stop words
    ],
)
def test_cjk(text, expected):
    assert words("cjk", text) == expected


def test_positions_count_what_was_removed():
    assert positioned("english", "the art of war") == [(1, "art"), (3, "war")]


def test_values_of_a_field_lie_apart():
    assert index_text("english", ["the cat", "a dog"]).split(" ") == [HOLE, "cat", *[HOLE] * (VALUE_GAP + 1), "dog"]
    assert index_text("english", []) == ""


@given(st.text(max_size=200), st.sampled_from(ANALYZERS))
def test_words_hold_nothing_that_the_index_splits_at(text, analyzer):
    for word in words(analyzer, text):
        assert word == HOLE or (word and not any(letter.isspace() or letter == HOLE for letter in word))
        assert len(word) <= 255 * 3


@given(st.text(max_size=100), st.sampled_from(ANALYZERS))
def test_case_does_not_matter_to_ascii(text, analyzer):
    plain = text.encode("ascii", "ignore").decode()
    assert words(analyzer, plain.upper()) == words(analyzer, plain.lower())


@pytest.mark.parametrize("text", ["_" * 300_000, "a." * 150_000, "1," * 150_000, "'" * 300_000, "👍\u200d" * 50_000])
def test_no_text_takes_quadratic_time(text):
    for analyzer in ANALYZERS:
        # Quadratic patterns took minutes here; the suite's time limit is what fails.
        assert sum(map(len, words(analyzer, text + " é東"))) <= len(text) + 2
