"""What every engine must do alike, reading documents and the shape of responses.

Each test runs on the embedded engine and, where there is one, on a real OpenSearch; expected values are worked by hand.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy import helpers
from opensearchpy.exceptions import NotFoundError, RequestError

from engines.library import DOCUMENTS, MAPPING, hits


class TestReads:
    def test_get(self, engine_client, library):
        found = engine_client.get(index=library, id="1")
        assert found == {
            "_index": library, "_id": "1", "_version": 1, "_seq_no": 1, "_primary_term": 1, "found": True,
            "_source": DOCUMENTS[1],
        }  # fmt: skip
        assert engine_client.get(index=library, id="1", _source_includes="title,pla*")["_source"] == {
            "title": "Ranking"
        }
        assert "_source" not in engine_client.get(index=library, id="1", _source=False)
        assert engine_client.get_source(index=library, id="1") == DOCUMENTS[1]
        with pytest.raises(NotFoundError) as caught:
            engine_client.get(index=library, id="nope")
        assert caught.value.info == {"_index": library, "_id": "nope", "found": False}
        with pytest.raises(NotFoundError):
            engine_client.get_source(index=library, id="nope")
        assert engine_client.exists(index=library, id="1") is True

    def test_mget(self, engine_client, library):
        docs = [{"_id": "1", "_source": ["title"]}, {"_id": "nope"}, {"_index": "missing-index", "_id": "1"}]
        one, none, nowhere = engine_client.mget(index=library, body={"docs": docs})["docs"]
        assert one["_source"] == {"title": "Ranking"}
        assert none == {"_index": library, "_id": "nope", "found": False}
        assert nowhere["error"]["type"] == "index_not_found_exception"
        found = engine_client.mget(index=library, body={"ids": ["4", "0"]})["docs"]
        assert [each["_source"]["year"] for each in found] == [1985, 1990]
        with pytest.raises(RequestError):
            engine_client.mget(index=library, body={"ids": []})

    def test_count(self, engine_client, library):
        assert engine_client.count(index=library)["count"] == 5
        assert engine_client.count(index=library, body={"query": {"term": {"tag": "b"}}})["count"] == 2
        with pytest.raises(RequestError):
            engine_client.count(index=library, body={"size": 1})


class TestResponse:
    def test_shape(self, engine_client, library):
        response = engine_client.search(
            index=library, body={"query": {"match": {"content": "ranking"}}, "_source": ["year"]}
        )
        assert isinstance(response.pop("took"), int)
        found = response.pop("hits")
        assert response == {"timed_out": False, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}}
        assert found["total"] == {"value": 2, "relation": "eq"}
        assert found["max_score"] == found["hits"][0]["_score"] > found["hits"][1]["_score"] > 0
        assert [{key: hit[key] for key in hit if key != "_score"} for hit in found["hits"]] == [
            {"_index": library, "_id": "1", "_source": {"year": 2000}},
            {"_index": library, "_id": "2", "_source": {"year": 2010}},
        ]

    def test_nothing_found_and_nothing_wanted(self, engine_client, library):
        nothing = {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []}
        assert engine_client.search(index=library, body={"query": {"match": {"title": "zebra"}}})["hits"] == nothing
        only_total = engine_client.search(index=library, body={"query": {"match": {"title": "search"}}, "size": 0})
        assert only_total["hits"] == {"total": {"value": 3, "relation": "eq"}, "max_score": None, "hits": []}

    def test_track_total_hits(self, engine_client, library):
        query = {"match": {"title": "search"}}
        exact = engine_client.search(index=library, body={"query": query, "track_total_hits": True})
        assert exact["hits"]["total"] == {"value": 3, "relation": "eq"}
        bounded = engine_client.search(index=library, body={"query": query, "track_total_hits": 1})
        assert bounded["hits"]["total"] == {"value": 1, "relation": "gte"}
        without = engine_client.search(index=library, body={"query": query, "track_total_hits": False})
        assert "total" not in without["hits"]

    def test_paging_covers_everything_once(self, engine_client, library):
        query = {"match": {"content": "search engine ranking"}}
        whole = hits(engine_client, library, query)
        pages = [hits(engine_client, library, query, **{"from": at, "size": 2}) for at in (0, 2, 4)]
        assert [each for page in pages for each in page] == whole
        assert len(whole) == 5
        assert hits(engine_client, library, query, **{"from": 50}) == []

    def test_source_filtering(self, engine_client, library):
        def source(option: Any) -> Any:
            body = {"query": {"ids": {"values": ["0"]}}, "_source": option}
            return engine_client.search(index=library, body=body)["hits"]["hits"][0].get("_source")

        assert source(True) == DOCUMENTS[0]
        assert source(False) is None
        assert source("place.*") == {"place": {"city": "Oslo", "floor": 3}}
        assert source({"includes": ["place", "year"], "excludes": ["*.floor"]}) == {
            "place": {"city": "Oslo"},
            "year": 1990,
        }

    def test_versions_on_request(self, engine_client, library):
        body = {"query": {"ids": {"values": ["3"]}}, "version": True, "seq_no_primary_term": True}
        hit = engine_client.search(index=library, body=body)["hits"]["hits"][0]
        assert (hit["_version"], hit["_seq_no"], hit["_primary_term"]) == (1, 3, 1)

    def test_min_score_and_post_filter(self, engine_client, library):
        query = {"match": {"content": "ranking"}}
        best = engine_client.search(index=library, body={"query": query})["hits"]["max_score"]
        body = {"query": query, "min_score": best - 0.01}
        assert engine_client.search(index=library, body=body)["hits"]["total"]["value"] == 1
        assert hits(engine_client, library, query, post_filter={"term": {"year": 2010}}) == ["2"]

    def test_the_query_string_goes_before_the_body(self, engine_client, library):
        response = engine_client.search(
            index=library, body={"size": 4}, params={"size": 1, "_source": "year", "sort": "year:asc"}
        )
        assert [hit["_source"] for hit in response["hits"]["hits"]] == [{"year": 1985}]

    def test_msearch(self, engine_client, library):
        lines = [{}, {"query": {"match": {"title": "ranking"}}, "size": 1}, {"index": "missing-index"}, {},
                 {"index": library}, {"query": {"term": {"year": "abc"}}}, {"index": library}, {"size": 0}]  # fmt: skip
        body = "".join(json.dumps(line) + "\n" for line in lines)
        responses = engine_client.msearch(index=library, body=body)["responses"]
        assert [response["status"] for response in responses] == [200, 404, 400, 200]
        assert [hit["_id"] for hit in responses[0]["hits"]["hits"]] == ["1"]
        assert responses[1]["error"]["type"] == "index_not_found_exception"
        assert responses[2]["error"]["root_cause"][0]["type"] == "query_shard_exception"
        assert responses[3]["hits"]["total"]["value"] == 5

    def test_msearch_refuses_all_where_one_cannot_be_parsed(self, engine_client, library):
        body = "".join(json.dumps(line) + "\n" for line in [{}, {"size": 0}, {}, {"query": {"unheard": {}}}])
        with pytest.raises(RequestError) as caught:
            engine_client.msearch(index=library, body=body)
        assert caught.value.info["error"]["reason"] == "unknown query [unheard]"


class TestOddText:
    def test_letters_of_all_kinds(self, engine_client, own_library):
        texts = {"nul": "zero\u0000byte", "emoji": "party 🎉 time", "hebrew": "שלום עולם", "arabic": "مرحبا بالعالم",
                 "accents": "café naïve", "russian": "поиск документов", "wide": "ＷＩＤＥ"}  # fmt: skip
        actions = [{"_index": own_library, "_id": key, "title": text} for key, text in texts.items()]
        helpers.bulk(engine_client, actions, refresh=True)
        for key, query in {"nul": "byte", "emoji": "🎉", "hebrew": "שלום", "arabic": "مرحبا", "accents": "CAFÉ",
                           "russian": "Поиск", "wide": "ｗｉｄｅ"}.items():  # fmt: skip
            assert hits(engine_client, own_library, {"match": {"title": query}}) == [key]
        assert engine_client.get(index=own_library, id="nul")["_source"]["title"] == texts["nul"]

    def test_a_document_of_five_megabytes(self, engine_client, own_library):
        text = "needle " + "hay stack " * 500_000
        engine_client.index(index=own_library, id="big", body={"text": text}, refresh=True)
        assert hits(engine_client, own_library, {"match": {"content": "needle"}}, _source=False) == ["big"]
        assert engine_client.get(index=own_library, id="big")["_source"]["text"] == text

    def test_words_longer_than_a_token_are_cut(self, engine_client, own_library):
        engine_client.index(index=own_library, id="long", body={"title": "x" * 300}, refresh=True)
        assert hits(engine_client, own_library, {"match": {"title": "x" * 300}}) == ["long"]
        assert hits(engine_client, own_library, {"term": {"title": "x" * 255}}) == ["long"]

    def test_an_empty_index(self, engine_client, index):
        engine_client.indices.create(index=index, body={"mappings": MAPPING})
        for query in (
            {"match_all": {}},
            {"match": {"title": "x"}},
            {"range": {"year": {"gte": 1}}},
            {"term": {"seen": True}},
        ):
            found = engine_client.search(index=index, body={"query": query})["hits"]
            assert found == {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []}
        assert engine_client.search(index=index, body={"sort": ["year"]})["hits"]["hits"] == []


@pytest.mark.parametrize(
    ("filter_path", "expected"),
    [
        ("hits.hits._id", {"hits": {"hits": [{"_id": "3"}]}}),
        ("hits.total.value,timed_out", {"hits": {"total": {"value": 1}}, "timed_out": False}),
        ("hits.hits._source.ye*", {"hits": {"hits": [{"_source": {"year": 2020}}]}}),
        ("**._id", {"hits": {"hits": [{"_id": "3"}]}}),
        ("hits.*.value", {"hits": {"total": {"value": 1}}}),
        ("-took,-_shards,-hits", {"timed_out": False}),
        ("hits.hits,-hits.hits._source,-**._score,-**._index", {"hits": {"hits": [{"_id": "3"}]}}),
        ("absent", {}),
    ],
)
def test_filter_path(engine_client, library, filter_path, expected):
    body = {"query": {"term": {"year": 2020}}}
    assert engine_client.search(index=library, body=body, filter_path=filter_path) == expected


def test_filter_path_of_a_mapping(engine_client, library):
    found = engine_client.indices.get_mapping(index=library, params={"filter_path": "*.mappings._meta.made_by"})
    assert found == {library: {"mappings": {"_meta": {"made_by": "contract"}}}}
