"""refresh on a real OpenSearch: what the application wrote since, new events, new links, and nothing for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.refresh.change import Rule
from indexer.refresh.job import RefreshJob
from indexer.signal_config import SignalConfig
from reindexing.library import document, make_source, reindex, run
from rerank_plugin.domain.features import parse_date
from rerank_plugin.errors import ConfigError

NOW = "2026-01-01T00:00:00Z"


def features(client, index: str, doc_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(index=index, id=doc_id)["_source"].get("rerank", {})
    return found


@pytest.fixture
def index(client, name, opensearch_url, tmp_path) -> str:
    make_source(client, f"{name}-1", 60)
    arguments = ("--source", f"{name}-1", "--dest", f"{name}-2", "--now", NOW, "--half-life-days", "365")
    reindex(opensearch_url, tmp_path, *arguments)
    return f"{name}-2"


def test_documents_written_since_get_features_once(client, index, opensearch_url, tmp_path):
    def refresh() -> dict[str, Any]:
        return run("refresh", opensearch_url, tmp_path, "--index", index)

    before = client.indices.get_mapping(index=index)
    nothing = refresh()
    assert (nothing["read"], nothing["updated"]) == (0, 0)
    assert client.indices.get_mapping(index=index) == before
    client.index(index=index, id="new", body={**document(3), "date": "2025-01-01"}, routing="r")
    client.index(index=index, id="d5", body=document(5))  # written whole: its features are gone
    told = refresh()
    assert (told["read"], told["updated"], told["written"], told["rejected"]) == (2, 2, 0, 0)
    new = client.get(index=index, id="new", routing="r")["_source"]
    assert new["title"] == "document 3"
    # 365 days at a half-life of 365, by the clock of the first run; trust and views of d3, by its knots.
    assert new["rerank"]["freshness"] == 0.5
    for factor in ("authority", "popularity"):
        assert new["rerank"][factor] == features(client, index, "d3")[factor]
    assert features(client, index, "d5")["popularity"] == features(client, index, "d55")["popularity"]
    versions = {hit["_id"]: hit["_seq_no"] for hit in every(client, index)}
    again = refresh()
    assert (again["read"], again["updated"]) == (0, 0)
    assert versions == {hit["_id"]: hit["_seq_no"] for hit in every(client, index)}


def every(client, index: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.search(index=index, body={"size": 1000, "seq_no_primary_term": True})["hits"][
        "hits"
    ]
    return found


def test_new_events_change_popularity_where_they_matter(client, index, opensearch_url, tmp_path):
    events = [{"_id": "d0", "views": 500}, {"_id": "d40", "views": 1}, {"_id": "nobody", "views": 5}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    arguments = ("--index", index, "--events", "events.jsonl")
    told = run("refresh", opensearch_url, tmp_path, *arguments)
    # d40 has 40 views already: one more moves it by less than a hundredth.
    assert (told["read"], told["updated"], told["skipped"]) == (60, 1, 59)
    assert features(client, index, "d0")["popularity"] == 1.0
    assert run("refresh", opensearch_url, tmp_path, *arguments)["updated"] == 0
    assert run("refresh", opensearch_url, tmp_path, *arguments, "--threshold", "0")["updated"] == 1


def test_events_of_a_kind_that_was_never_scaled_are_told(client, index, opensearch_url, tmp_path):
    (tmp_path / "events.jsonl").write_text('{"_id": "d0", "downloads": 500, "impressions": 9}\n', encoding="utf-8")
    arguments = ("--index", index, "--events", "events.jsonl")
    told = run("refresh", opensearch_url, tmp_path, *arguments)
    [note] = told["notes"]
    assert (told["updated"], note.split()[0], "--refit" in note) == (0, "downloads", True)
    refitted = run("refresh", opensearch_url, tmp_path, *arguments, "--refit", "--now", NOW)
    assert (refitted["notes"], features(client, index, "d0")["popularity"] > 0) == ([], True)


def test_a_copy_without_the_vectors_of_its_source_says_so(client, index, name, opensearch_url, tmp_path):
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    had = {"rerank": {**meta["rerank"], "vectors": {"name": "v", "checksum": "c", "model": "m", "dimensions": 3}}}
    client.indices.put_mapping(index=index, body={"_meta": had})
    told = reindex(opensearch_url, tmp_path, "--source", index, "--dest", f"{name}-3", "--now", NOW)
    assert told["notes"] == [f"the vectors of {index} are not those of {name}-3: give --vectors for them and novelty"]


def test_new_links_change_authority(client, index, opensearch_url, tmp_path):
    lines = [f"d{number}\td7\n" for number in range(30) if number != 7]
    (tmp_path / "links.tsv").write_text("".join(lines), encoding="utf-8")
    old = features(client, index, "d7")
    told = run("refresh", opensearch_url, tmp_path, "--index", index, "--links", "links.tsv")
    assert told["signals"]["authority"]["links"] == 29
    assert features(client, index, "d7")["authority"] > 0.5 > old["authority"]
    assert features(client, index, "d7")["popularity"] == old["popularity"]
    assert run("refresh", opensearch_url, tmp_path, "--index", index, "--links", "links.tsv")["updated"] == 0


def test_a_refit_measures_everything_anew(client, index, opensearch_url, tmp_path):
    arguments = ("--index", index, "--refit", "--now", "2031-01-01", "--half-life-days", "365")
    told = run("refresh", opensearch_url, tmp_path, *arguments)
    assert told["updated"] > 50
    assert features(client, index, "d1")["freshness"] < 0.1
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["rerank"]
    assert (meta["reference_time"], meta["documents"]) == ("2031-01-01T00:00:00Z", 60)
    assert run("refresh", opensearch_url, tmp_path, *arguments)["updated"] == 0


def test_an_index_that_load_made_is_refreshed_too(client, name, opensearch_url, tmp_path):
    records = [{"_id": f"d{number}", "text": "t", "views": number, "trust": number} for number in range(30)]
    records += [{"_id": "citing", "text": "t", "cites": ["d0", "d1"], "date": "2024-01-01"}]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    run("load", opensearch_url, tmp_path, "--index", name, "--docs", "docs.jsonl")
    copied = features(client, name, "d7")
    client.index(index=name, id="d7", body={"text": "t", "views": 7, "trust": 7})
    assert run("refresh", opensearch_url, tmp_path, "--index", name)["updated"] == 1
    again = features(client, name, "d7")
    assert again == {**copied, **{each: pytest.approx(copied[each], abs=1e-6) for each in ("authority", "popularity")}}


def test_what_cannot_be_refreshed_is_said(client, name, opensearch_url, tmp_path):
    make_source(client, name, 1)
    told = run("refresh", opensearch_url, tmp_path, "--index", name, fails=True)["error"]
    assert "was not made by rerank-index" in told
    common = {"index": "i", "now": parse_date(NOW), "rejects": tmp_path / "r", "run_id": "r"}
    with pytest.raises(ConfigError, match="use --refit with them"):
        RefreshJob(**common, signals=SignalConfig())
    with pytest.raises(ConfigError, match="--threshold must be from 0 to 1"):
        RefreshJob(**common, threshold=2.0)


def test_what_a_rule_writes_by_hand():
    rule = Rule(("popularity", "freshness"), 0.01)
    found = {"features_version": 1, "popularity": 0.5, "authority": 0.9, "published_at": "2020"}
    assert rule.changes(None, found) == found
    assert rule.changes({"popularity": 0.5}, found) == found, "no version: not ours"
    stored = {"features_version": 1, "popularity": 0.505, "authority": 0.1, "published_at": "2020"}
    assert rule.changes(stored, found) == {}
    assert rule.changes({**stored, "popularity": 0.489}, found) == {"popularity": 0.5}
    assert rule.changes({**stored, "freshness": 0.3}, found) == {"freshness": None}
    assert rule.changes({**stored, "published_at": "2021"}, found) == {"published_at": "2020"}


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_change_once_written_is_none_any_more(old, new, threshold):
    rule = Rule(("popularity",), threshold)
    stored = {"features_version": 1, "popularity": old}
    found = {"features_version": 1, "popularity": new}
    assert rule.changes({**stored, **rule.changes(stored, found)}, found) == {}
