from __future__ import annotations

from typing import Any

import pytest

from rerank_plugin.config import Rerank
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import ArmSpec, DenseArm, FusedArm, SearchArm, query_body
from rerank_plugin.evaluation.collection import Query


class Documents:
    """An engine of a few documents: search answers with the given scores, mget knows every document but 'gone'."""

    def __init__(self, scores: dict[str, float], said: dict[str, Any] | None = None) -> None:
        self.scores, self.said, self.bodies = scores, said, []

    def search(self, *, body, index, **parameters):
        self.bodies.append(body)
        hits = [
            {"_id": doc, "_score": score, "_source": {"rerank": {"authority": 0.5}}}
            for doc, score in self.scores.items()
        ]
        response: dict[str, Any] = {"hits": {"hits": hits[: body["size"]]}}
        return response if self.said is None else {**response, "rerank": self.said}

    def mget(self, *, body, index, **parameters):
        assert parameters == {"_source_includes": "rerank"}
        return {
            "docs": [
                {"_id": doc, "found": doc != "gone", "_source": {"rerank": {"authority": 0.25}}} for doc in body["ids"]
            ]
        }


def near(*pairs: tuple[str, float]):
    return lambda text, k: list(pairs)[:k]


def test_an_arm_is_its_name_or_a_name_with_settings():
    assert ArmSpec.parse("bm25") == ArmSpec(kind="bm25", label="bm25")
    assert ArmSpec.parse("fused:depth=500").depth == 500
    spec = ArmSpec.parse("rerank:window=50,weights=authority=1+freshness=0.5")
    assert spec.label == "rerank:window=50,weights=authority=1+freshness=0.5"
    settings = spec.rerank(Rerank(window=100, half_life_days=9))
    assert settings == Rerank(window=50, half_life_days=9, weights=Weights(authority=1, freshness=0.5))


def test_an_arm_may_be_given_a_label():
    assert ArmSpec.parse("rerank:as=fresh,weights=freshness=1").label == "fresh"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bm52", "unknown arm 'bm52'; the arms are bm25, dense, fused, rerank"),
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
    ],
)
def test_what_cannot_be_an_arm_is_refused_before_any_work(text, told):
    with pytest.raises(ConfigError) as caught:
        ArmSpec.parse(text)
    assert told in str(caught.value)


def test_one_field_is_a_match_several_a_multi_match_and_dropped_documents_stay_out():
    assert query_body("x", ["content"]) == {"match": {"content": "x"}}
    assert query_body("x", ["a", "b"]) == {"multi_match": {"query": "x", "fields": ["a", "b"]}}
    assert query_body("x", ["content"], drop=frozenset({"d2", "d1"})) == {
        "bool": {"must": [{"match": {"content": "x"}}], "must_not": [{"ids": {"values": ["d1", "d2"]}}]}
    }


def test_a_search_arm_answers_with_hits_and_what_the_client_said():
    client = Documents({"a": 2.0, "b": 1.0}, said={"status": "fallback", "reason": "no model", "truncated": 3})
    answer = SearchArm(client=client, index="i", fields=("content",)).answer(Query("q", "words"))
    assert [(each.doc_id, each.score, each.enriched) for each in answer.found] == [
        ("a", 2.0, {"authority": 0.5}),
        ("b", 1.0, {"authority": 0.5}),
    ]
    assert (answer.status, answer.reason, answer.truncated) == ("fallback", "no model", 3)
    assert client.bodies == [{"query": {"match": {"content": "words"}}, "size": 100, "_source": ["rerank"]}]


def test_vectors_that_were_not_used_are_a_reason_and_added_documents_are_none():
    for dense, reason in (
        ("another load made them", "vectors were not used: another load made them"),
        ("3 documents added", ""),
    ):
        client = Documents({"a": 2.0}, said={"status": "applied", "reason": None, "dense": dense})
        answer = SearchArm(client=client, index="i", fields=("content",)).answer(Query("q", "words"))
        assert (answer.status, answer.reason) == ("applied", reason)


def test_a_plain_client_says_nothing():
    assert SearchArm(client=Documents({}), index="i", fields=("content",)).answer(Query("q", "x")).status == ""


def test_a_dense_arm_leaves_out_dropped_and_deleted_documents():
    dense = near(("own", 1.0), ("gone", 0.9), ("b", 0.5))
    answer = DenseArm(client=Documents({}), index="i", dense=dense).answer(Query("q", "x", frozenset({"own"})))
    assert [(each.doc_id, each.score, each.enriched) for each in answer.found] == [("b", 0.5, {"authority": 0.25})]


def test_a_dense_arm_that_finds_nothing_asks_for_nothing():
    assert DenseArm(client=Documents({}), index="i", dense=near()).answer(Query("q", "x")).found == ()


def test_fusion_by_hand():
    # words: over the whole collection the least is 0, so a = 4/4, b = 1/4; cosines .9 and .1 span 1 and 0, c = .5
    arm = FusedArm(
        client=Documents({"a": 4.0, "b": 1.0}),
        index="i",
        fields=("content",),
        dense=near(("b", 0.9), ("c", 0.5), ("d", 0.1)),
    )
    answer = arm.answer(Query("q", "x"))
    assert [(each.doc_id, each.score) for each in answer.found] == [("b", 1.25), ("a", 1.0), ("c", 0.5), ("d", 0.0)]
