"""Paging: whatever the pages are, together they show every document once, in one order with falling scores."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes_library import GRAPH, Ticking, books, ids, library, pipeline, reranking, scores
from fakes_search import FakeDense, FakeRanker, SearchEngine
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.order import Order
from rerank_plugin.client.paging import order_id_of, page_slices, place, tail_score, to_the_hour
from rerank_plugin.client.pipeline import ORDER_TTL_SECONDS
from rerank_plugin.client.plan import Plan, Search, make_plan
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import Weights


def shuffled(seed: int) -> FakeRanker:
    """An order that has nothing to do with the engine's, the same at every call."""
    return FakeRanker(lambda each: random.Random(f"{seed}{each.doc_id}").gauss(0, 2))


@given(
    seed=st.integers(0, 99),
    window=st.integers(1, 25),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    dense_size=st.one_of(st.none(), st.integers(1, 12)),
    costly=st.booleans(),
    forgets=st.booleans(),
)
def test_walks_lose_and_repeat_nothing(
    seed: int, window: int, sizes: list[int], dense_size: int | None, costly: bool, forgets: bool
) -> None:
    engine = books(30)
    settings: dict[str, Any] = {"window": window, "vectors": "unused"}
    if dense_size is not None:
        settings |= {"dense": "extend", "dense_size": dense_size}
    dense = FakeDense({f"b{number}": random.Random(seed * 31 + number).random() for number in range(1, 31)})
    clock = Ticking()
    client = wrap(engine.client(), pipeline=pipeline(shuffled(seed), vector_index=dense, clock=clock, **settings))
    body: dict[str, Any] = {"query": {"bool": {"must": [GRAPH], "must_not": [{"term": {"title": "Book 4"}}]}}}
    if costly:
        body["highlight"] = {"fields": {"text": {}}}
    seen: list[str] = []
    seen_scores: list[float] = []
    order_ids = set()
    for size in [*sizes, 40, 40]:
        page = client.search(index="books", body={**body, "from": len(seen), "size": size})
        assert page["rerank"]["status"] == "applied"
        order_ids.add(page["rerank"]["order_id"])
        assert page["hits"]["total"]["value"] == 19
        assert all(("highlight" in hit) == costly for hit in page["hits"]["hits"])
        seen += ids(page)
        seen_scores += scores(page)
        clock.now += ORDER_TTL_SECONDS * forgets
    matching = {f"b{number}" for number in range(1, 31) if number % 3 and number != 4}
    extra = set(seen) - matching
    assert len(seen) == len(set(seen))
    assert matching <= set(seen)
    assert extra <= {f"b{number}" for number in range(3, 31, 3)}
    assert not extra or dense_size is not None
    assert seen_scores == sorted(seen_scores, reverse=True)
    assert len(order_ids) == 1


def test_later_pages_do_not_score_again() -> None:
    ranker = FakeRanker()
    client = reranking(books(), ranker, window=10)
    first = client.search(index="books", body={"query": GRAPH, "size": 5})
    second = client.search(index="books", body={"query": GRAPH, "size": 5, "from": 5, "_source": False})
    assert len(ranker.calls) == 1
    assert ids(first) + ids(second) == ["b14", "b13", "b11", "b10", "b8", "b7", "b5", "b4", "b2", "b1"]
    assert second["rerank"]["order_id"] == first["rerank"]["order_id"]
    assert (second["rerank"]["reranked"], second["rerank"]["took_ms"]["model"]) == (10, 0.0)


def test_a_page_that_cannot_honour_its_order_says_so() -> None:
    engine = books()
    client = reranking(engine, window=10)
    client.search(index="books", body={"query": GRAPH, "size": 5})
    del engine.indices["books"]["b1"]
    page = client.search(index="books", body={"query": GRAPH, "size": 5, "from": 5})
    assert page["rerank"]["reason"].startswith("documents changed since an earlier page")
    asked = client.search(index="books", body={"query": GRAPH, "from": 5, "rerank": {"order_id": "feedface"}})
    assert asked["rerank"]["reason"].startswith("the order feedface is no longer kept")


def test_an_order_is_honoured_by_name_across_the_hour_and_only_for_its_query() -> None:
    engine = books()
    ranker = FakeRanker()
    kept = pipeline(ranker, window=10)
    client = wrap(engine.client(), pipeline=kept)
    first = client.search(index="books", body={"query": GRAPH, "size": 5})
    kept.wall = lambda: datetime(2026, 1, 1, 13, 5, tzinfo=UTC)
    named = {"order_id": first["rerank"]["order_id"]}
    second = client.search(index="books", body={"query": GRAPH, "size": 5, "from": 5, "rerank": named})
    assert (len(ranker.calls), second["rerank"]["order_id"]) == (1, named["order_id"])
    other = client.search(index="books", body={"query": {"match": {"title": "book"}}, "from": 5, "rerank": named})
    assert other["rerank"]["order_id"] != named["order_id"]
    assert "no longer kept" in other["rerank"]["reason"]


def test_a_cut_order_serves_later_pages_and_is_tried_again_for_a_first_page() -> None:
    ranker = FakeRanker(scores_at_most=4)
    client = reranking(books(), ranker, window=10)
    first = client.search(index="books", body={"query": GRAPH, "size": 6})
    # b1 b2 b4 b5 were scored; the rest keep the engine's order behind them
    assert ids(first) == ["b5", "b4", "b2", "b1", "b7", "b8"]
    assert (first["rerank"]["status"], first["rerank"]["reranked"]) == ("partial", 4)
    assert first["rerank"]["reason"] == "the deadline left 6 documents unscored"
    assert scores(first) == sorted(set(scores(first)), reverse=True)
    assert first["hits"]["hits"][4]["_rerank"]["z"] is None
    second = client.search(index="books", body={"query": GRAPH, "size": 6, "from": 6})
    assert ids(second) == ["b10", "b11", "b13", "b14", "b16", "b17"]
    assert scores(second)[3] >= 1 > scores(second)[4]
    assert (second["rerank"]["status"], len(ranker.calls)) == ("partial", 1)
    client.search(index="books", body={"query": GRAPH, "size": 6})
    assert len(ranker.calls) == 2


def planned(body: dict[str, Any], params: dict[str, Any] | None = None, **settings: Any) -> Plan:
    plan = make_plan(Search("books", params or {}, body), Rerank.of(settings))
    assert isinstance(plan, Plan)
    return plan


HOUR = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_order_id_names_what_decides_the_order_and_nothing_else() -> None:
    same = order_id_of(planned({"query": GRAPH}), model="m", now=HOUR)
    shown = {"query": GRAPH, "from": 3, "size": 2, "_source": False, "aggs": {}, "highlight": {}, "rerank": {}}
    assert order_id_of(planned(shown, {"size": 4, "request_timeout": 3}), model="m", now=HOUR) == same
    others = [
        order_id_of(planned({"query": {"match": {"text": "graphs"}}}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH, "post_filter": {"term": {"a": 1}}}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH}, {"routing": "7"}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH, "rerank": {"query_text": "else"}}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH}, window=7), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH}, weights={"authority": 1}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH}, field_map={"authority": "rank"}), model="m", now=HOUR),
        order_id_of(planned({"query": GRAPH}), model="n", now=HOUR),
        order_id_of(planned({"query": GRAPH}), model="m", now=HOUR + timedelta(hours=1)),
    ]
    assert len({same, *others}) == 10
    assert len(same) == 16


def test_to_the_hour() -> None:
    assert to_the_hour(datetime(2026, 1, 1, 12, 59, 59, 9, tzinfo=UTC)) == HOUR


def test_tail_scores_stay_below_one_and_keep_the_order() -> None:
    assert [tail_score(each) for each in (None, 0.0, 1.0, 3.0)] == [None, 0.0, 0.5, 0.75]
    assert tail_score(-2.0) == 0.0
    assert tail_score(1e300) < 1
    assert tail_score(float("inf")) < 1


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50))
def test_slices_partition_the_page(from_: int, size: int, in_window: int) -> None:
    window, tail = page_slices(from_, size, in_window)
    assert (window.stop - window.start) + (tail.stop - tail.start) == size
    assert window.stop <= in_window
    assert tail.start == max(from_ - in_window, 0)


def test_nothing_scored_at_all_keeps_the_engines_order() -> None:
    waiting = tuple(Candidate(doc_id=f"d{rank}", retrieval_rank=rank, retrieval_score=1.0) for rank in (1, 2, 3))
    empty = Ranking((), waiting, Weights(), "m", 0, 0, 0.0)
    order = Order.of("", [("books", each.doc_id) for each in waiting], 0, empty)
    assert [(each.retrieval_rank, each.ranked, each.final_score) for each in place(order)] == [
        (1, None, 0.75), (2, None, 0.5), (3, None, 0.25),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [40, 9_990])
def test_a_page_beyond_the_engines_reach_is_the_engines_error(size: int) -> None:
    client = reranking(SearchEngine({"books": library(3)}), window=10)
    with pytest.raises(Exception, match="result_window_exception"):
        client.search(index="books", body={"query": GRAPH, "from": 9_990, "size": size})
