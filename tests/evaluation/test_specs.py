from __future__ import annotations

from pathlib import Path

import pytest

from rerank_plugin.config import Rerank
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.specs import ArmSpec, compared_pairs, lead_pair, parse_run


def test_an_arm_is_its_name_or_a_name_with_settings():
    assert ArmSpec.parse("bm25") == ArmSpec(kind="bm25", label="bm25")
    assert ArmSpec.parse("fused:depth=500").options == {"depth": 500}
    assert ArmSpec.parse("hybrid:field=embedding").options == {"field": "embedding"}
    spec = ArmSpec.parse("rerank:window=50,weights=authority=1+freshness=0.5")
    assert spec.label == "rerank:window=50,weights=authority=1+freshness=0.5"
    settings = spec.rerank(Rerank(window=100, half_life_days=9))
    assert settings == Rerank(window=50, half_life_days=9, weights=Weights(authority=1, freshness=0.5))


def test_an_arm_may_be_given_a_label():
    assert ArmSpec.parse("rerank:as=fresh,weights=freshness=1").label == "fresh"


def test_a_saved_run_is_an_arm_of_its_own_name():
    assert parse_run("mine=runs/my.run") == ArmSpec(kind="run", label="mine", options={"file": Path("runs/my.run")})
    assert ArmSpec.parse("run:as=mine,file=runs/my.run") == parse_run("mine=runs/my.run")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bm52", "unknown arm 'bm52'; the arms are bm25, dense, fused, hybrid, sum, lightgbm, rerank, run"),
        ("", "unknown arm ''"),
        ("bm25:window=5", "bm25 takes as="),
        ("rerank:window", "got 'window'"),
        ("rerank:window=ten", "window=ten is not possible"),
        ("rerank:window=0", "window must be a whole number from 1"),
        ("rerank:weights=beauty=1", "unknown factor 'beauty'"),
        ("rerank:weights=authority=3+freshness=3", "sum to at most 4"),
        ("rerank:dense=maybe", "one of off, reorder, extend"),
        ("rerank:deadline_ms=-1", "deadline_ms must be above 0"),
        ("fused:depth=5", "from 100 to 10000"),
        ("rerank:as=my arm", "letters, digits"),
        ("run", "needs file=FILE"),
        ("rerank:diversify=most", "one of mmr, xquad"),
        ("rerank:diversify=mmr,trade=2", "from 0 to 1"),
        ("rerank:trade=0.5", "add diversify=mmr or xquad"),
    ],
)
def test_what_cannot_be_an_arm_is_refused_before_any_work(text, told):
    with pytest.raises(ConfigError) as caught:
        ArmSpec.parse(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["mine", "=file", "mine=", "my run=file"])
def test_what_is_no_name_and_file_is_no_run(text):
    with pytest.raises(ConfigError):
        parse_run(text)


def test_all_arms_are_compared_with_bm25_and_rerank_with_every_rival():
    kinds = {"bm25": "bm25", "dense": "dense", "fused": "fused", "sum": "sum", "rerank": "rerank", "wide": "rerank"}
    assert compared_pairs(kinds) == [
        *(("bm25", label) for label in ("dense", "fused", "sum", "rerank", "wide")),
        *(("fused", "rerank"), ("fused", "wide"), ("sum", "rerank"), ("sum", "wide")),
    ]
    assert lead_pair(kinds) == ("bm25", "rerank")


def test_without_bm25_the_first_arm_is_the_baseline_and_no_pair_stands_twice():
    assert compared_pairs({"fused": "fused", "rerank": "rerank"}) == [("fused", "rerank")]
    assert lead_pair({"rerank": "rerank", "dense": "dense"}) == ("rerank", "dense")
    assert (compared_pairs({"bm25": "bm25"}), lead_pair({})) == ([], None)
