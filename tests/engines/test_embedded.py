"""What the embedded engine refuses, and how; what is its own and no server's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy.exceptions import RequestError, TransportError

from rerank_plugin.engines.embedded import segments, store, text_clauses


@pytest.fixture
def client(embedded):
    embedded.index(index="i", id="1", body={"t": "some words", "n": 1}, refresh=True)
    return embedded


def refusal(client, **body: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        client.search(index="i", body=body)
    return caught.value


@pytest.mark.parametrize(
    "key",
    [
        "aggs",
        "aggregations",
        "highlight",
        "suggest",
        "rescore",
        "collapse",
        "search_after",
        "knn",
        "ext",
        "script_fields",
        "docvalue_fields",
        "fields",
        "explain",
        "profile",
        "pit",
    ],
)
def test_parts_of_a_search_it_does_not_have(client, key):
    error = refusal(client, **{key: {}})
    assert (error.status_code, error.error) == (400, "illegal_argument_exception")
    assert error.info["error"]["reason"] == f"[{key}] is not supported by the embedded engine"


@pytest.mark.parametrize(
    "name", ["fuzzy", "prefix", "wildcard", "query_string", "function_score", "nested", "knn", "script_score"]
)
def test_queries_it_does_not_have(client, name):
    assert refusal(client, query={name: {"t": "x"}}).info["error"]["reason"] == f"unknown query [{name}]"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"match": {"t": {"query": "x", "fuzziness": 1}}}, "[match] query does not support [fuzziness]"),
        ({"match": {"t": {"query": "x", "minimum_should_match": "2<75%"}}}, "a whole number or a percentage"),
        (
            {"multi_match": {"query": "x", "fields": ["t"], "type": "cross_fields"}},
            "[type cross_fields of multi_match]",
        ),
        ({"multi_match": {"query": "x", "fields": ["t*"]}}, "[wildcard in fields]"),
        ({"multi_match": {"query": "x"}}, "needs [fields]"),
        ({"terms": {"t": {"index": "other", "id": "1", "path": "p"}}}, "[terms lookup]"),
        ({"bool": {"should": [{"match_all": {}}], "adjust_pure_negative": True}}, "[bool] query does not support"),
        ({"match": {"t": {"query": "x", "boost": -1}}}, "negative [boost]"),
    ],
    ids=json.dumps,
)
def test_options_it_does_not_have(client, query, words):
    error = refusal(client, query=query)
    assert error.status_code == 400
    assert words in error.info["error"]["reason"]


@pytest.mark.parametrize("index", ["i,j", "*", "_all", "i*"])
def test_one_index_at_a_time(client, index):
    client.indices.create(index="j")
    with pytest.raises(RequestError) as caught:
        client.search(index=index, body={})
    assert "searches one index at a time" in caught.value.info["error"]["reason"]


@pytest.mark.parametrize("name", ["routing", "scroll", "q"])
def test_parameters_that_would_change_the_answer(client, name):
    with pytest.raises(RequestError) as caught:
        client.transport.perform_request("GET", "/i/_search", params={name: "x"})
    assert caught.value.info["error"]["reason"] == f"[{name}] is not supported by the embedded engine"


def test_parameters_that_change_nothing(client):
    params = {"preference": "_local", "request_cache": "true", "timeout": "1s", "ignore_unavailable": "true"}
    assert client.search(index="i", body={"timeout": "1s"}, params=params)["hits"]["total"]["value"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_cat/indices"),
        ("POST", "/_reindex"),
        ("PUT", "/i/_alias/a"),
        ("POST", "/i/_search/template"),
        ("GET", "/_nodes"),
        ("POST", "/i/_delete_by_query"),
    ],
)
def test_operations_it_does_not_have(client, method, path):
    with pytest.raises(TransportError) as caught:
        client.transport.perform_request(method, path, body={})
    assert caught.value.status_code in {400, 405}
    assert path in caught.value.info["error"]["reason"]


def test_an_index_may_not_leave_its_folder(client, tmp_path):
    for name in ("..", "../x", "a/b", "a\\b", ".hidden"):
        with pytest.raises(TransportError):
            client.indices.create(index=name)
    assert sorted(each.name for each in (tmp_path / "indexes").iterdir()) == ["i"]


def test_mapping_types_it_does_not_have(embedded):
    for kind in ("nested", "rank_feature", "knn_vector", "geo_point"):
        with pytest.raises(RequestError) as caught:
            embedded.indices.create(index="j", body={"mappings": {"properties": {"f": {"type": kind}}}})
        assert f"No handler for type [{kind}] declared on field [f]" in caught.value.info["error"]["reason"]
    assert embedded.indices.exists(index="j") is False


def test_a_query_of_ten_thousand_words(client):
    words = " ".join(f"w{at}" for at in range(10_000))
    assert client.search(index="i", body={"query": {"match": {"t": words + " some"}}})["hits"]["total"]["value"] == 1
    assert client.search(index="i", body={"query": {"match_phrase": {"t": words}}})["hits"]["total"]["value"] == 0


def test_a_query_without_end_is_refused(client, monkeypatch):
    monkeypatch.setattr(text_clauses, "MAX_WORDS", 100)
    error = refusal(client, query={"match": {"t": " ".join(f"w{at}" for at in range(101))}})
    assert error.error == "too_many_clauses"
    assert "101 different words, the embedded engine takes 100" in error.info["error"]["reason"]
    same = " ".join(["some"] * 5000)
    assert client.search(index="i", body={"query": {"match": {"t": same}}})["hits"]["total"]["value"] == 1


def test_queries_that_nest_without_end(client):
    query: dict[str, Any] = {"match_all": {}}
    for _ in range(60):
        query = {"bool": {"must": [query]}}
    assert "nested depth" in refusal(client, query=query).info["error"]["reason"]
    raw = b'{"query":' + b'{"bool":{"must":' * 100_000
    with pytest.raises(RequestError) as caught:
        client.transport.perform_request("POST", "/i/_search", body=raw)
    assert caught.value.error == "json_parse_exception"


def test_documents_that_nest_or_widen_without_end(client):
    deep: dict[str, Any] = {"x": 1}
    for _ in range(30):
        deep = {"o": deep}
    with pytest.raises(RequestError, match="mapping depth"):
        client.index(index="i", id="deep", body=deep)
    with pytest.raises(RequestError, match="total fields"):
        client.index(index="i", id="wide", body={f"f{at}": at for at in range(1001)})
    assert client.count(index="i")["count"] == 1


def test_lone_surrogates_are_kept_in_the_source_and_searchable_around(client):
    text = "before \ud800 after"
    client.index(index="i", id="odd", body={"t": text, "k": "\udfff"}, refresh=True)
    found = client.search(index="i", body={"query": {"match": {"t": "after \ud800"}}})["hits"]["hits"]
    assert [hit["_source"]["t"] for hit in found] == [text]
    assert client.get(index="i", id="odd")["_source"] == {"t": text, "k": "\udfff"}
    lines = '{"index":{"_id":"\\ud800"}}\n{}\n'
    (item,) = client.bulk(index="i", body=lines)["items"]
    assert (item["index"]["status"], item["index"]["error"]["reason"]) == (400, "_id must be proper Unicode")
    assert client.mget(index="i", body={"ids": ["\ud800"]})["docs"][0]["found"] is False


def test_much_that_waits_is_written_without_being_asked(client, monkeypatch):
    monkeypatch.setattr(store, "WAITING_BYTES", 1000)
    client.index(index="i", id="small", body={"t": "x"})
    assert client.count(index="i")["count"] == 1
    client.index(index="i", id="large", body={"t": "x" * 2000})
    assert client.count(index="i")["count"] == 3


def test_columns_come_once_per_refresh(client, tmp_path):
    actions = "".join(f'{{"index":{{}}}}\n{{"field{at}":{at}}}\n' for at in range(50))
    client.bulk(index="i", body=actions, refresh=True)
    folder = tmp_path / "indexes" / "i"
    assert [each.name for each in folder.glob("generation-*")] == ["generation-3"]
    metadata = json.loads((folder / "index.json").read_text())
    assert {f"field{at}" for at in range(50)} <= {column["path"] for column in metadata["columns"]}


def test_bad_documents_of_before_do_not_stop_new_columns(embedded):
    body = {"mappings": {"dynamic": False, "properties": {"a": {"type": "long"}}}}
    embedded.indices.create(index="i", body=body)
    embedded.index(index="i", id="old", body={"a": 1, "b": "no number"}, refresh=True)
    embedded.indices.put_mapping(index="i", body={"properties": {"b": {"type": "long"}}})
    embedded.index(index="i", id="new", body={"b": 5}, refresh=True)
    found = embedded.search(index="i", body={"query": {"range": {"b": {"gte": 0}}}})["hits"]["hits"]
    assert [hit["_id"] for hit in found] == ["new"]
    assert embedded.search(index="i", body={"query": {"term": {"a": 1}}})["hits"]["total"]["value"] == 1


def test_errors_are_logged_as_by_other_connections(client, caplog):
    with caplog.at_level("DEBUG", logger="opensearch"):
        client.search(index="i", body={"size": 0})
        refusal(client, query={"hybrid": {}})
    messages = [record.getMessage() for record in caplog.records]
    assert any("POST embedded:" in each and "[status:200" in each for each in messages)
    assert any("POST embedded:" in each and "[status:400" in each for each in messages)


def test_ignored_errors_are_answers(client):
    assert client.indices.delete(index="never-made", ignore=404)["status"] == 404


def test_internal_names_do_not_clash_with_fields(client):
    document = {name.strip("_"): "x" for name in (segments.ID, segments.SOURCE, segments.VERSION, segments.ORDER)}
    document |= {"f0": "zero", "ä ö": "umlaut", 'qu"ote': "q", "present": "p"}
    client.index(index="i", id="names", body=document, refresh=True)
    for path, value in document.items():
        found = client.search(index="i", body={"query": {"term": {f"{path}.keyword": value}}})["hits"]["hits"]
        assert [hit["_id"] for hit in found] == ["names"], path
