"""What every engine must do alike, queries and their scores.

Each test runs on the embedded engine and, where there is one, on a real OpenSearch; expected values are worked by hand.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from opensearchpy import helpers

from engines.library import ENGLISH, hits, shown


def bm25(tf: float, length: float, average: float, having: int, documents: int) -> float:
    """BM25 as Lucene computes it, k1 1.2, b 0.75, without the factor k1 + 1."""
    idf = math.log(1 + (documents - having + 0.5) / (having + 0.5))
    return idf * tf / (tf + 1.2 * (0.25 + 0.75 * length / average))


class TestScores:
    def test_bm25_by_hand(self, engine_client, index):
        engine_client.indices.create(index=index, body={"mappings": {"properties": {"t": ENGLISH}}})
        texts = ["red shoes", "red red hat and shoes", "blue hat", "green socks for the winter"]  # 2, 4, 2, 3 words
        actions = [{"_index": index, "_id": str(at), "t": text} for at, text in enumerate(texts)]
        helpers.bulk(engine_client, actions, refresh=True)
        average = 11 / 4
        response = engine_client.search(index=index, body={"query": {"match": {"t": "red shoe"}}})
        found = {hit["_id"]: hit["_score"] for hit in response["hits"]["hits"]}
        assert found == {
            "0": pytest.approx(2 * bm25(1, 2, average, 2, 4), rel=1e-5),
            "1": pytest.approx(bm25(2, 4, average, 2, 4) + bm25(1, 4, average, 2, 4), rel=1e-5),
        }
        response = engine_client.search(index=index, body={"query": {"match": {"t": {"query": "hat hat", "boost": 3}}}})
        assert response["hits"]["hits"][0]["_score"] == pytest.approx(6 * bm25(1, 2, average, 2, 4), rel=1e-5)

    def test_words_that_repeat_count_twice(self, engine_client, library):
        once = engine_client.search(index=library, body={"query": {"match": {"title": "ranking"}}})["hits"]["max_score"]
        twice = engine_client.search(index=library, body={"query": {"match": {"title": "ranking ranked"}}})["hits"][
            "max_score"
        ]
        assert twice == pytest.approx(2 * once, rel=1e-5)

    def test_equal_scores_keep_the_order_of_indexing(self, engine_client, library):
        assert hits(engine_client, library, {"match": {"content": "finds"}}) == ["0", "4"]
        assert hits(engine_client, library, {"match_all": {}}) == ["0", "1", "2", "3", "4"]
        assert hits(engine_client, library, {"term": {"seen": True}}) == ["0", "2", "4"]

    def test_exact_clauses_score_their_boost(self, engine_client, library):
        for query in (
            {"match_all": {"boost": 2.5}},
            {"term": {"tag": {"value": "a", "boost": 2.5}}},
            {"terms": {"tag": ["a", "b"], "boost": 2.5}},
            {"range": {"year": {"gte": 1, "boost": 2.5}}},
            {"exists": {"field": "year", "boost": 2.5}},
            {"ids": {"values": ["1"], "boost": 2.5}},
            {"constant_score": {"filter": {"match": {"title": "search"}}, "boost": 2.5}},
        ):
            response = engine_client.search(index=library, body={"query": query})
            assert {hit["_score"] for hit in response["hits"]["hits"]} == {2.5}, query

    def test_filters_do_not_score(self, engine_client, library):
        scored = engine_client.search(index=library, body={"query": {"match": {"title": "ranking"}}})["hits"]["hits"]
        query = {"bool": {"must": [{"match": {"title": "ranking"}}], "filter": [{"term": {"seen": False}}]}}
        filtered = engine_client.search(index=library, body={"query": query})["hits"]["hits"]
        assert [(hit["_id"], hit["_score"]) for hit in filtered] == [("1", scored[0]["_score"])]
        only = engine_client.search(index=library, body={"query": {"bool": {"filter": {"term": {"tag": "b"}}}}})["hits"]
        assert {hit["_score"] for hit in only["hits"]} == {0.0}


class TestQueries:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"match": {"title": "engines"}}, {"0", "2", "4"}),
            ({"match": {"title": {"query": "search engines", "operator": "and"}}}, {"0", "4"}),
            ({"match": {"content": {"query": "search ranking engine", "minimum_should_match": 2}}}, {"0", "2", "4"}),
            (
                {"match": {"content": {"query": "search ranking engine finds", "minimum_should_match": "75%"}}},
                {"0", "4"},
            ),
            ({"match": {"content": {"query": "search ranking engine", "minimum_should_match": "-1"}}}, {"0", "2", "4"}),
            ({"match": {"title": "the of"}}, set()),
            ({"match": {"title": ""}}, set()),
            ({"match": {"unmapped": "x"}}, set()),
            ({"match": {"year": "1990"}}, {"0"}),
            ({"match": {"tag": "b"}}, {"0", "1"}),
            ({"match": {"year": {"query": "abc", "lenient": True}}}, set()),
            ({"match": {"chinese": "东京"}}, {"0", "3"}),
            ({"match": {"chinese": "engine"}}, {"1"}),
            ({"match": {"chinese": "gi"}}, {"2"}),
            ({"match": {"chinese": "引擎"}}, {"1"}),
            ({"match_phrase": {"text": "search engine"}}, {"0", "4"}),
            ({"match_phrase": {"text": "engine search"}}, set()),
            ({"match_phrase": {"text": {"query": "search finds", "slop": 1}}}, {"0", "4"}),
            ({"match_phrase": {"text": {"query": "engine search", "slop": 2}}}, {"0", "4"}),
            ({"match_phrase": {"title": "engine ranking"}}, set()),
            ({"match_phrase": {"title": "engine of ranking"}}, {"2"}),
            ({"match_phrase": {"title": "engine with ranking"}}, {"2"}),
            ({"match_phrase": {"content": "search engines a search"}}, set()),
            ({"match_phrase": {"title": "ranking"}}, {"1", "2"}),
            ({"match_phrase": {"chinese": "东京塔"}}, {"0"}),
            ({"multi_match": {"query": "relevance", "fields": ["title", "text"]}}, {"1"}),
            ({"multi_match": {"query": "engine finds", "fields": ["title", "text"], "operator": "and"}}, {"0", "4"}),
            ({"multi_match": {"query": "1990", "fields": ["title", "year"]}}, {"0"}),
        ],
        ids=shown,
    )
    def test_words(self, engine_client, library, query, found):
        assert set(hits(engine_client, library, query)) == found

    def test_multi_match_takes_the_best_or_the_sum(self, engine_client, library):
        def score(query: dict[str, Any]) -> float:
            body = {"query": {"bool": {"must": query, "filter": {"ids": {"values": ["1"]}}}}}
            return float(engine_client.search(index=library, body=body)["hits"]["max_score"])

        title, text = (score({"match": {field: "ranking"}}) for field in ("title", "text"))
        fields = {"query": "ranking", "fields": ["title^3", "text"]}
        assert score({"multi_match": fields}) == pytest.approx(max(3 * title, text), rel=1e-5)
        assert score({"multi_match": {**fields, "type": "most_fields"}}) == pytest.approx(3 * title + text, rel=1e-5)
        assert score({"multi_match": {**fields, "tie_breaker": 0.5}}) == pytest.approx(3 * title + text / 2, rel=1e-5)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"term": {"tag": "a"}}, {"0"}),
            ({"term": {"tag": "muchtoolong"}}, set()),
            ({"term": {"title": "search"}}, {"0", "3", "4"}),
            ({"term": {"title": "Search"}}, set()),
            ({"term": {"year": 1990.0}}, {"0"}),
            ({"term": {"year": 1990.5}}, set()),
            ({"term": {"price": 0.1}}, {"2"}),
            ({"term": {"seen": "false"}}, {"1", "3"}),
            ({"term": {"published": "2020-06-15"}}, {"1"}),
            ({"term": {"place.city": "Oslo"}}, {"0"}),
            ({"term": {"place.floor": 7}}, {"2"}),
            ({"term": {"_id": "3"}}, {"3"}),
            ({"terms": {"tag": ["a", "c", "zzz"]}}, {"0", "4"}),
            ({"terms": {"year": [1990, "2010"]}}, {"0", "2"}),
            ({"terms": {"published": ["2020-01-01", "2021"]}}, {"0", "3"}),
            ({"terms": {"_id": ["1", "9"]}}, {"1"}),
            ({"terms": {"tag": []}}, set()),
            ({"range": {"year": {"gt": 1990, "lte": 2010}}}, {"1", "2"}),
            ({"range": {"year": {"gte": 1989.5, "lt": 2000.5}}}, {"0", "1"}),
            ({"range": {"price": {"gte": 0.1, "lt": 2.5}}}, {"0", "2"}),
            ({"range": {"price": {"gt": 0.1, "lte": 2.5}}}, {"0", "1"}),
            ({"range": {"tag": {"gte": "b"}}}, {"0", "1", "4"}),
            ({"range": {"tag": {"gt": "a", "lt": "c"}}}, {"0", "1"}),
            ({"range": {"place.floor": {"gte": 6}}}, {"2"}),
            ({"range": {"place.floor": {"gt": 1, "lt": 7}}}, {"0"}),
            ({"range": {"published": {"gte": "2020-06", "lt": "2021"}}}, {"1", "2"}),
            ({"range": {"published": {"gt": "2020-01-01"}}}, {"1", "2", "3"}),
            ({"range": {"published": {"lte": "2020-06-15"}}}, {"0", "1", "4"}),
            ({"range": {"published": {"gte": "2020-01-01||+1M", "lt": "2020-01-01||+1y/y"}}}, {"1", "2"}),
            ({"range": {"published": {"lt": "2020-06-15||/M"}}}, {"0", "4"}),
            ({"range": {"published": {"gt": "2020-01-15||/M"}}}, {"1", "2", "3"}),
            ({"range": {"published": {"gte": 1600000000000}}}, {"2", "3"}),
            ({"range": {"published": {"gte": "now+1d"}}}, set()),
            ({"range": {"published": {"gte": "2020/06/15", "format": "yyyy/MM/dd"}}}, {"1", "2", "3"}),
            ({"range": {"unmapped": {"gte": 1}}}, set()),
            ({"exists": {"field": "tag"}}, {"0", "1", "4"}),
            ({"exists": {"field": "place"}}, {"0", "2"}),
            ({"exists": {"field": "place.city"}}, {"0", "2"}),
            ({"exists": {"field": "content"}}, {"0", "1", "2", "3", "4"}),
            ({"exists": {"field": "unmapped"}}, set()),
            ({"ids": {"values": ["1", "9", "3"]}}, {"1", "3"}),
            ({"match_none": {}}, set()),
        ],
        ids=shown,
    )
    def test_exact_values(self, engine_client, library, query, found):
        assert set(hits(engine_client, library, query)) == found

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, {"0", "1", "2", "3", "4"}),
            ({"must": {"match": {"title": "engine"}}, "must_not": {"term": {"tag": "c"}}}, {"0", "2"}),
            ({"must_not": [{"match": {"title": "search"}}]}, {"1", "2"}),
            ({"should": [{"term": {"year": 1990}}, {"term": {"year": 2010}}]}, {"0", "2"}),
            ({"filter": [{"term": {"seen": True}}], "should": [{"term": {"year": 1990}}]}, {"0", "2", "4"}),
            (
                {"filter": [{"term": {"seen": True}}], "should": [{"term": {"year": 1990}}], "minimum_should_match": 1},
                {"0"},
            ),
            (
                {
                    "should": [{"term": {"seen": True}}, {"term": {"tag": "b"}}, {"term": {"year": 2000}}],
                    "minimum_should_match": 2,
                },
                {"0", "1"},
            ),
            ({"should": [{"term": {"tag": "b"}}], "minimum_should_match": 0}, {"0", "1"}),
            ({"should": [{"term": {"tag": "b"}}], "minimum_should_match": 2}, set()),
            (
                {
                    "must": [{"bool": {"should": [{"term": {"tag": "a"}}, {"term": {"tag": "c"}}]}}],
                    "filter": {"range": {"year": {"lt": 1990}}},
                },
                {"4"},
            ),
        ],
        ids=shown,
    )
    def test_bool(self, engine_client, library, query, found):
        assert set(hits(engine_client, library, {"bool": query})) == found

    def test_dis_max(self, engine_client, library):
        parts = [{"match": {"title": "ranking"}}, {"match": {"text": "ranking"}}]
        assert hits(engine_client, library, {"dis_max": {"queries": parts, "tie_breaker": 0.3}}) == ["1", "2"]
