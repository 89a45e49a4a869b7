"""Other wordings of a query: each is one small change, the same for the same generator, and never nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.training import augment
from rerank_plugin.training.augment import Augment, augment_of, dropped, read_synonyms, replacing, slipped, swapped
from rerank_plugin.training.groups import Groups
from rerank_plugin.training.settings import Settings
from training.training_samples import window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

queries = st.lists(st.text("abcé猫1", min_size=1, max_size=7), max_size=6).map(" ".join)


def every(reword: augment.Rewording, query: str) -> set[str | None]:
    return {reword(query, random.Random(seed)) for seed in range(200)}


def test_by_hand() -> None:
    assert every(dropped, "fast graph search") == {"graph search", "fast search", "fast graph"}
    assert every(dropped, "graph search") == {None}  # one word asks for something else
    assert every(swapped, "fast graph search") == {"graph fast search", "fast search graph"}
    assert every(swapped, "same same") == {None}
    slips = ("tere", "tee", "trree", "tre", "treee")
    assert every(slipped, "of ab1cd tree") == {f"of ab1cd {slip}" for slip in slips}
    assert every(slipped, "the of 12345") == {None}


def test_synonyms_by_hand() -> None:
    reword = replacing({"united states": ["usa", "America"], "car": ["automobile"]})
    assert every(reword, "A Car of the United  States") == {
        "A automobile of the United States", "A Car of the usa", "A Car of the America",
    }  # fmt: skip
    assert every(reword, "cars of united state") == {None}


@given(queries, st.integers(0, 1 << 32))
def test_one_small_change(query: str, seed: int) -> None:
    words = query.split()
    for reword in (dropped, swapped, slipped):
        found = reword(query, random.Random(seed))
        assert found == reword(query, random.Random(seed))
        if found is None:
            continue
        assert found
        assert found != " ".join(words)
        new = found.split()
        if reword is dropped:
            assert len(new) == len(words) - 1
            assert not set(new) - set(words)
        if reword is swapped:
            assert sorted(new) == sorted(words)
        if reword is slipped:
            [(old, changed)] = [(a, b) for a, b in zip(words, new, strict=True) if a != b]
            assert old[0] == changed[0]
            assert set(changed) <= set(old)
            assert abs(len(old) - len(changed)) <= 1


def test_the_share_of_queries_that_are_reworded() -> None:
    half = Augment(0.5, [swapped])
    found = [half("a b", random.Random(seed)) for seed in range(2000)]
    assert 900 < found.count("b a") < 1100
    assert Augment(1.0, [dropped, swapped])("a b", random.Random(1)) == "b a"  # the one that knows none is passed over
    assert Augment(1.0, [dropped])("a b", random.Random(1)) == "a b"


def test_groups_read_other_wordings_and_the_same_ones_again() -> None:
    drawn = [
        [
            group.query
            for group in Groups([window("a b", ["x", "y"], [1])], size=2, count=40, margin=0.0, seed=7, **more)
        ]
        for more in ({}, {"augment": Augment(0.5, [swapped])}, {"augment": Augment(0.5, [swapped])})
    ]
    assert set(drawn[0]) == {"a b"}
    assert set(drawn[1]) == {"a b", "b a"}
    assert drawn[1] == drawn[2]


def test_a_table_in_solrs_format(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text(
        "# cars\ncar => automobile, vehicle\n\nUSA, united  states # one country\nusa, US\n", encoding="utf-8"
    )
    assert read_synonyms(file) == {
        "car": ["automobile", "vehicle"],
        "usa": ["united states", "US"],
        "united states": ["USA"],
        "us": ["usa"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a, b\nalone\n", r"line 2: wanted 'a, b' or 'a => b', got 'alone'"),
        (b"a =>\n", r"line 1: wanted"),
        (b"=> b\n", r"line 1: wanted"),
        (b"\xff\n", r"is not UTF-8 \(invalid start byte at byte 0\)"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_synonyms(file)
    with pytest.raises(DataError, match="No such file"):
        read_synonyms(tmp_path / "none.txt")


def test_a_table_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("a, b\n" * 4, encoding="utf-8")
    monkeypatch.setattr(augment, "MAX_BYTES", 12)
    with pytest.raises(DataError, match="smaller table"):
        read_synonyms(file)


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("car, automobile\n", encoding="utf-8")
    assert augment_of(Settings()) is None
    assert augment_of(Settings(synonyms=str(tmp_path / "none"))) is None  # not asked for
    found = augment_of(Settings(augment=1.0, augment_kinds="", synonyms=str(file)))
    assert found is not None
    assert found("car", random.Random(0)) == "automobile"
    with pytest.raises(ConfigError, match="augment=1 needs augment_kinds or synonyms"):
        augment_of(Settings(augment=1.0, augment_kinds=""))
    with pytest.raises(ConfigError, match="augment_kinds must be some of drop, swap, slip, with commas between"):
        Settings(augment_kinds="drop,translate")
