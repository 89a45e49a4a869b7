"""What every engine must do alike, sorting, and what is refused.

Each test runs on the embedded engine and, where there is one, on a real OpenSearch; expected values are worked by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import RequestError, TransportError

from engines.library import hits, refused, shown

# A query that scores: OpenSearch 3.5 leaves documents without the field out of a sorted match_all.
EVERYTHING: dict[str, Any] = {"match": {"content": "search engine ranking"}}


class TestSorting:
    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ([{"year": "desc"}], [("3", [2020]), ("2", [2010]), ("1", [2000]), ("0", [1990]), ("4", [1985])]),
            ("year", [("4", [1985]), ("0", [1990]), ("1", [2000]), ("2", [2010]), ("3", [2020])]),
            ([{"tag": {"order": "desc"}}], [("4", ["c"]), ("0", ["b"]), ("1", ["b"]), ("2", [None]), ("3", [None])]),
            (
                [{"tag": {"order": "asc", "missing": "_first"}}],
                [("2", [None]), ("3", [None]), ("0", ["a"]), ("1", ["b"]), ("4", ["c"])],
            ),
            (
                [{"seen": "asc"}, {"price": "desc"}],
                [("1", [0, 2.5]), ("3", [0, -3.0]), ("4", [1, 7.0]), ("0", [1, 1.5]), ("2", [1, 0.1])],
            ),
            (
                [{"place.floor": "desc"}, "year"],
                [
                    ("2", [7, 2010]),
                    ("0", [3, 1990]),
                    ("4", [-(2**63), 1985]),
                    ("1", [-(2**63), 2000]),
                    ("3", [-(2**63), 2020]),
                ],
            ),
            (
                [{"place.floor": "asc"}, "year"],
                [
                    ("2", [1, 2010]),
                    ("0", [3, 1990]),
                    ("4", [2**63 - 1, 1985]),
                    ("1", [2**63 - 1, 2000]),
                    ("3", [2**63 - 1, 2020]),
                ],
            ),
        ],
        ids=shown,
    )
    def test_by_fields(self, engine_client, library, sort, expected):
        response = engine_client.search(index=library, body={"query": EVERYTHING, "sort": sort})
        found = response["hits"]["hits"]
        assert [(hit["_id"], hit["sort"]) for hit in found] == [
            (doc_id, [pytest.approx(value, abs=1e-6) if isinstance(value, float) else value for value in values])
            for doc_id, values in expected
        ]
        assert {hit["_score"] for hit in found} == {None}
        assert response["hits"]["max_score"] is None

    def test_by_date(self, engine_client, library):
        response = engine_client.search(
            index=library, body={"query": EVERYTHING, "sort": [{"published": "asc"}], "size": 2}
        )
        assert [hit["sort"] for hit in response["hits"]["hits"]] == [[946598400000], [1577836800000]]

    def test_scores_on_request(self, engine_client, library):
        body = {"query": {"match": {"title": "ranking"}}, "sort": ["year"], "track_scores": True}
        response = engine_client.search(index=library, body=body)
        assert [hit["_id"] for hit in response["hits"]["hits"]] == ["1", "2"]
        assert response["hits"]["max_score"] == response["hits"]["hits"][0]["_score"] > 0

    def test_by_score_and_by_place(self, engine_client, library):
        query = {"match": {"content": "engine ranking"}}
        plain = hits(engine_client, library, query)
        assert hits(engine_client, library, query, sort=["_score"]) == plain
        assert hits(engine_client, library, query, sort=["_doc"]) == sorted(plain)
        lowest = hits(engine_client, library, query, sort=[{"_score": "asc"}])
        assert lowest[-1] == plain[0]
        body = {"query": query, "sort": ["_score", {"year": "asc"}]}
        response = engine_client.search(index=library, body=body)["hits"]
        assert response["max_score"] == response["hits"][0]["_score"]
        ties = [hit["sort"][1] for hit in response["hits"] if hit["_id"] in {"0", "4"}]
        assert ties == [1985, 1990]

    def test_fields_that_cannot_be_sorted_by(self, engine_client, library):
        missing = refused(engine_client, library, sort=["unmapped"])
        assert (missing.status_code, missing.error) == (400, "search_phase_execution_exception")
        assert missing.info["error"]["root_cause"][0]["reason"] == "No mapping found for [unmapped] in order to sort on"
        assert "Text fields are not optimised" in str(refused(engine_client, library, sort=["title"]).info)
        body = {"query": EVERYTHING, "sort": [{"unmapped": {"unmapped_type": "long"}}], "size": 1}
        assert engine_client.search(index=library, body=body)["hits"]["hits"][0]["sort"] == [2**63 - 1]


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "kind", "words"),
        [
            ({"query": {"hybrid": {}}}, "parsing_exception", "unknown query [hybrid]"),
            (
                {"query": {"match": {"title": {"query": "x", "wat": 1}}}},
                "parsing_exception",
                "[match] query does not support [wat]",
            ),
            (
                {"query": {"match": {"title": "a", "text": "b"}}},
                "parsing_exception",
                "doesn't support multiple fields, found [title] and [text]",
            ),
            ({"query": {"match": "x"}}, "parsing_exception", "[match]"),
            ({"query": {"term": {"tag": ["a"]}}}, "parsing_exception", "[term] query does not support array of values"),
            ({"query": {"range": {"year": {"wat": 1}}}}, "parsing_exception", "[range] query does not support [wat]"),
            (
                {"query": {"match": {"title": "a"}, "term": {"tag": "b"}}},
                "parsing_exception",
                "[match] malformed query",
            ),
            ({"query": {}}, "illegal_argument_exception", "query malformed, empty clause found"),
            ({"query": {"term": {"year": "abc"}}}, "search_phase_execution_exception", "all shards failed"),
            (
                {"query": {"range": {"published": {"gte": "soon"}}}},
                "search_phase_execution_exception",
                "all shards failed",
            ),
            ({"wat": 1}, "parsing_exception", "Unknown key for a VALUE"),
            ({"from": 9_999, "size": 2}, "search_phase_execution_exception", "all shards failed"),
            ({"size": -1}, "illegal_argument_exception", "[size] parameter cannot be negative"),
        ],
        ids=shown,
    )
    def test_searches_that_cannot_be(self, engine_client, library, body, kind, words):
        error = refused(engine_client, library, **body)
        assert (error.status_code, error.error) == (400, kind)
        assert words in error.info["error"]["reason"]
        assert error.info["status"] == 400

    def test_what_the_shards_say(self, engine_client, library):
        root = refused(engine_client, library, **{"from": 9_999, "size": 2}).info["error"]["root_cause"][0]
        assert root["type"] == "illegal_argument_exception"
        assert root["reason"].startswith(
            "Result window is too large, from + size must be less than or equal to: [10000]"
        )
        root = refused(engine_client, library, query={"term": {"year": "abc"}}).info["error"]["root_cause"][0]
        assert (root["type"], root["reason"]) == (
            "query_shard_exception",
            'failed to create query: For input string: "abc"',
        )

    def test_clauses_inside_others_are_named(self, engine_client, library):
        error = refused(engine_client, library, query={"bool": {"must": [{"hybrid": {}}]}})
        assert error.info["error"]["root_cause"][0]["reason"] == "unknown query [hybrid]"

    def test_unknown_parameters(self, engine_client, library):
        with pytest.raises(RequestError) as caught:
            engine_client.search(index=library, body={}, params={"wat": 1})
        assert f"request [/{library}/_search] contains unrecognized parameter: [wat]" in str(caught.value.info)

    def test_paths_and_methods_that_are_none(self, engine_client, library):
        with pytest.raises(TransportError) as caught:
            engine_client.transport.perform_request("PATCH", f"/{library}")
        assert caught.value.status_code == 405
