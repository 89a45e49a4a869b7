"""The small parts of the client, each for itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opensearchpy.exceptions import AuthorizationException

from fakes_library import GRAPH, META, Ticking
from rerank_plugin.client.calls import EngineCall
from rerank_plugin.client.dense import FolderDense
from rerank_plugin.client.flow import flow_for
from rerank_plugin.client.meta import SIZE, TTL_SECONDS, MetaCache, Metas, mapping_call, parse_mapping, read_metas
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Off, Plan, Search, Skip, make_plan
from rerank_plugin.client.rewrite import of_keys, without_inner_hits
from rerank_plugin.client.steps import ReadMapping
from rerank_plugin.client.ttl_cache import TtlCache
from rerank_plugin.config import Rerank
from rerank_plugin.errors import RerankError, VectorIndexError


def test_ttl_cache_forgets_by_time_and_by_size() -> None:
    clock = Ticking()
    cache: TtlCache[int] = TtlCache(2, 10.0, clock)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)
    clock.now += 9.9
    assert cache.get("a") == 1
    clock.now += 0.1
    assert (cache.get("a"), len(cache)) == (None, 1)


def test_parse_mapping_takes_what_it_can_read() -> None:
    broken = {**META, "half_life_days": 0}
    found = parse_mapping(
        {
            "good": {"mappings": {"_meta": {"rerank": META}}},
            "plain": {"mappings": {"properties": {}}},
            "broken": {"mappings": {"_meta": {"rerank": broken}}},
            "odd": {"mappings": {"_meta": {"rerank": "text"}}},
        }
    )
    assert list(found.metas) == ["good"]
    assert found.metas["good"].text_fields == ("title", "text")
    assert found.indices == {"good", "plain", "broken", "odd"}
    assert found.note == "plain has no _meta.rerank, and 2 more"
    assert parse_mapping(None) == Metas(note="no _meta.rerank")
    assert parse_mapping({"good": {"mappings": {"_meta": {"rerank": META}}}}).note == ""


def test_metas_are_read_again_for_an_index_nobody_knew_and_when_old() -> None:
    clock = Ticking()
    cache = MetaCache(clock)

    def read(answer: Any, **seen: Any) -> tuple[bool, Metas]:
        steps = read_metas("alias", cache, **seen)
        try:
            assert next(steps) == ReadMapping("alias")
            if isinstance(answer, Exception):
                steps.throw(answer)
            steps.send(answer)
        except StopIteration as finished:
            asked = steps.gi_frame is None and finished.value is not cached
            return asked, finished.value
        raise AssertionError("one reading is enough")

    cached = cache.get("alias")
    one = {"i1": {"mappings": {"_meta": {"rerank": META}}}}
    assert list(read(one)[1].metas) == ["i1"]
    cached = cache.get("alias")
    assert read(one, seen=frozenset({"i1"})) == (False, cached)
    two = {"i2": {"mappings": {"_meta": {"rerank": META}}}}
    assert list(read(two, seen=frozenset({"i2"}))[1].metas) == ["i2"]
    clock.now += TTL_SECONDS
    assert cache.get("alias") is None
    forbidden = read(AuthorizationException(403, "no", {}))[1]
    assert (forbidden.note, forbidden.metas) == ("not readable (403)", {})
    for number in range(SIZE + 5):
        cache.put(f"x{number}", forbidden)
    assert cache.get("alias") is None


def test_inner_hits_are_taken_out_of_the_clauses_that_have_them() -> None:
    query = {"bool": {"must": [{"nested": {"path": "p", "query": GRAPH, "inner_hits": {}}}], "boost": 2}}
    assert without_inner_hits(query) == {"bool": {"must": [{"nested": {"path": "p", "query": GRAPH}}], "boost": 2}}
    field = {"match": {"inner_hits": "a field of that name"}}
    assert without_inner_hits(field) == field


def test_filters_for_documents() -> None:
    keys = [("a", "1"), ("b", "1"), ("a", "2")]
    assert of_keys(keys, several=False) == {"ids": {"values": ["1", "1", "2"]}}
    assert of_keys(keys, several=True) == {
        "bool": {
            "should": [
                {"bool": {"filter": [{"term": {"_index": "a"}}, {"ids": {"values": ["1", "2"]}}]}},
                {"bool": {"filter": [{"term": {"_index": "b"}}, {"ids": {"values": ["1"]}}]}},
            ],
            "minimum_should_match": 1,
        }
    }


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/_search", True),
        ("/a,b*/_search", True),
        ("/a/_search/", True),
        ("/_msearch", True),
        ("/a/_msearch", True),
        ("/a/_search/template", True),
        ("/_search/scroll", False),
        ("/_msearch/template", True),
        ("/a/_search/point_in_time", False),
        ("/a/_doc/_search", False),
        ("/a/_count", False),
        ("/", False),
    ],
)
def test_which_requests_are_searches(path: str, ours: bool) -> None:
    pipeline = Pipeline(Rerank())
    assert (flow_for(EngineCall(method="POST", path=path, params={}), pipeline) is not None) == ours
    assert flow_for(EngineCall(method="DELETE", path=path, params={}), pipeline) is None


def test_plans_say_what_they_are() -> None:
    assert isinstance(make_plan(Search("i", {}, {"query": GRAPH}), Rerank()), Plan)
    assert make_plan(Search("i", {}, {"query": GRAPH, "rerank": {"mode": "off"}}), Rerank()) == Off({"query": GRAPH})
    for bad in ({"from": -1}, {"size": "many"}):
        plan = make_plan(Search("i", {}, {"query": GRAPH, **bad}), Rerank())
        assert isinstance(plan, Skip)
        assert plan.reason.startswith("not understood")
    url = make_plan(Search("i", {"from": b"3", "size": b"4", "explain": b"true"}, {"query": GRAPH}), Rerank())
    assert isinstance(url, Plan)
    assert (url.from_, url.size, url.body, dict(url.params)) == (3, 4, {"explain": True}, {})


def test_the_vector_folder_is_opened_once_and_must_fit_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Index:
        model = "trunk@1"
        meta = type("Meta", (), {"checksum": "abc"})

        def search(self, vector: Any, k: int, among: Any = None) -> list[tuple[str, float]]:
            return [("d1", float(vector))][:k]

        def similarities(self, vector: Any, doc_ids: Any) -> list[float | None]:
            return [float(vector) for _ in doc_ids]

    class Encoder:
        encoder = "trunk@1"

        def encode_query(self, query: str) -> float:
            return 0.5

    def open_folder(folder: Any) -> Index:
        opened.append(folder)
        return Index()

    from rerank_plugin.retrieval.dense import VectorIndex

    monkeypatch.setattr(VectorIndex, "open", staticmethod(open_folder))
    encoder: Any = Encoder()
    dense = FolderDense(__import__("pathlib").Path("vectors"), lambda: encoder)
    assert (dense.checksum(), dense.nearest("q", 1), dense.cosines("q", ["a", "b"])) == (
        "abc",
        [("d1", 0.5)],
        [0.5, 0.5],
    )
    assert len(opened) == 1
    Encoder.encoder = "other@2"
    with pytest.raises(VectorIndexError, match="were made by trunk@1, queries are encoded by other@2"):
        FolderDense(__import__("pathlib").Path("vectors"), lambda: encoder).checksum()


def test_threads_share_one_model() -> None:
    opened: list[int] = []
    barrier = threading.Barrier(4)

    def load(settings: Rerank) -> Any:
        opened.append(1)
        return object()

    pipeline = Pipeline(Rerank(), load=load)
    found: list[Any] = []

    def ask() -> None:
        barrier.wait()
        found.append(pipeline.ranker())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), len(set(map(id, found)))) == (1, 1)


def test_a_failed_opening_is_tried_again() -> None:
    answers: list[Any] = [RerankError("not yet"), object()]

    def load(settings: Rerank) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pipeline = Pipeline(Rerank(), load=load)
    with pytest.raises(RerankError, match="not yet"):
        pipeline.ranker()
    assert pipeline.ranker() is not None


def test_what_a_cache_holds_is_bounded_by_its_cost() -> None:
    cache: TtlCache[list[int]] = TtlCache(5, 10.0, lambda: 0.0, cost=len)
    cache.put("a", [1, 2])
    cache.put("b", [1, 2])
    cache.put("a", [1, 2, 3])  # put anew: what it cost before no longer counts
    assert (cache.get("a"), cache.get("b")) == ([1, 2, 3], [1, 2])
    cache.put("c", [1])
    assert [cache.get(name) for name in "abc"] == [None, [1, 2], [1]]
    cache.put("d", [0] * 9)
    assert [cache.get(name) for name in "bcd"] == [None, None, [0] * 9]


def test_an_index_that_is_away_does_not_hide_what_the_others_say_of_themselves() -> None:
    call = mapping_call(ReadMapping("books,away"), None)
    assert (call.path, call.params["ignore_unavailable"]) == ("/books,away/_mapping", "true")
