from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rerank_plugin.config import FieldSource
from rerank_plugin.evaluation.arms import (
    DenseArm,
    FeatureReader,
    FusedArm,
    RunArm,
    SearchArm,
    Target,
    given_query,
    query_body,
)
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.evaluation.runs import Run, ScoredDocument

READER = FeatureReader(now=datetime(2020, 1, 11, tzinfo=UTC), half_life_days=10)


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


def target(client: Documents) -> Target:
    return Target(client=client, index="i", fields=("content",), reader=READER)


def test_one_field_is_a_match_several_a_multi_match_and_dropped_documents_stay_out():
    assert query_body("x", ["content"]) == {"match": {"content": "x"}}
    assert query_body("x", ["a", "b"]) == {"multi_match": {"query": "x", "fields": ["a", "b"]}}
    assert query_body("x", ["content"], drop=frozenset({"d2", "d1"})) == {
        "bool": {"must": [{"match": {"content": "x"}}], "must_not": [{"ids": {"values": ["d1", "d2"]}}]}
    }


def test_a_search_arm_answers_with_hits_and_what_the_client_said():
    client = Documents({"a": 2.0, "b": 1.0}, said={"status": "fallback", "reason": "no model", "truncated": 3})
    answer = SearchArm(target=target(client)).answer(Query("q", "words"))
    assert [(each.doc_id, each.score, each.features.authority) for each in answer.found] == [
        ("a", 2.0, 0.5),
        ("b", 1.0, 0.5),
    ]
    assert (answer.status, answer.reason, answer.truncated) == ("fallback", "no model", 3)
    assert client.bodies == [{"query": {"match": {"content": "words"}}, "size": 100, "_source": ["rerank"]}]


def test_vectors_that_were_not_used_are_a_reason_and_added_documents_are_none():
    for dense, reason in (
        ("another load made them", "vectors were not used: another load made them"),
        ("3 documents added", ""),
    ):
        client = Documents({"a": 2.0}, said={"status": "applied", "reason": None, "dense": dense})
        answer = SearchArm(target=target(client)).answer(Query("q", "words"))
        assert (answer.status, answer.reason) == ("applied", reason)


def test_a_plain_client_says_nothing():
    assert SearchArm(target=target(Documents({}))).answer(Query("q", "x")).status == ""


def test_a_dense_arm_leaves_out_dropped_and_deleted_documents():
    dense = near(("own", 1.0), ("gone", 0.9), ("b", 0.5))
    answer = DenseArm(target=target(Documents({})), dense=dense).answer(Query("q", "x", frozenset({"own"})))
    assert [(each.doc_id, each.score, each.features.authority) for each in answer.found] == [("b", 0.5, 0.25)]


def test_a_dense_arm_that_finds_nothing_asks_for_nothing():
    assert DenseArm(target=target(Documents({})), dense=near()).answer(Query("q", "x")).found == ()


def test_fusion_by_hand():
    # words: over the whole collection the least is 0, so a = 4/4, b = 1/4; cosines .9 and .1 span 1 and 0, c = .5
    arm = FusedArm(
        target=target(Documents({"a": 4.0, "b": 1.0})),
        dense=near(("b", 0.9), ("c", 0.5), ("d", 0.1)),
    )
    answer = arm.answer(Query("q", "x"))
    assert [(each.doc_id, each.score) for each in answer.found] == [("b", 1.25), ("a", 1.0), ("c", 0.5), ("d", 0.0)]


def test_given_candidates_are_found_with_their_scores_best_first():
    clauses = given_query([("a", 2.5), ("b", 2.5), ("c", 0.5)])["bool"]["should"]
    assert [each["constant_score"]["filter"] for each in clauses] == [{"ids": {"values": [each]}} for each in "abc"]
    boosts = [each["constant_score"]["boost"] for each in clauses]
    assert boosts[0] == 2.5
    assert boosts == sorted(set(boosts), reverse=True)


def test_scores_below_zero_are_raised_all_by_the_same():
    clauses = given_query([("a", -1.0), ("b", -3.0)])["bool"]["should"]
    assert [each["constant_score"]["boost"] for each in clauses] == [3.0, 1.0]


def test_a_first_stage_run_is_what_is_searched():
    run = Run("given", {"q": (ScoredDocument("own", 9.0), ScoredDocument("a", 2.0), ScoredDocument("b", 1.0))})
    client = Documents({"b": 2.0})
    arm = SearchArm(target=target(client), first_stage=run, most=1)
    assert arm.answer(Query("q", "words", frozenset({"own"}))).found[0].doc_id == "b"
    [body] = client.bodies
    assert body["query"] == given_query([("a", 2.0)])
    assert body["rerank"] == {"query_text": "words"}
    unknown = arm.answer(Query("q2", "words"))
    assert (unknown.found, unknown.status, len(client.bodies)) == ((), "skipped", 1)


def test_a_saved_run_keeps_its_order_and_documents_that_the_engine_lacks():
    run = Run("given", {"q": (ScoredDocument("b", 2.0), ScoredDocument("gone", 1.0), ScoredDocument("own", 0.5))})
    found = RunArm(target=target(Documents({})), run=run).answer(Query("q", "x", frozenset({"own"}))).found
    assert [(each.doc_id, each.features.authority) for each in found] == [("b", 0.25), ("gone", None)]


def test_a_field_map_is_read_where_nothing_was_enriched():
    reader = FeatureReader(
        now=READER.now,
        half_life_days=10,
        field_map={"published_at": FieldSource(field="created", scale="date"), "authority": FieldSource(field="t")},
    )
    assert reader.paths == ["rerank", "created", "t"]
    features = reader.read({"created": "2020-01-01", "t": 0.75})
    assert (features.authority, features.freshness, features.age_days) == (0.75, 0.5, 10.0)
