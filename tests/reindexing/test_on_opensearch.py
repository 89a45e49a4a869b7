"""reindex on a real OpenSearch: what comes out is what went in, with features, behind the same alias."""

from __future__ import annotations

import json
from pathlib import Path

from opensearchpy import OpenSearch

from reindexing.library import contents, document, make_source, reindex

NOW = "2026-01-01T00:00:00Z"


def settings_of(client: OpenSearch, index: str) -> dict[str, str]:
    found: dict[str, str] = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return found


def test_the_copy_is_the_source_with_features(client, name, opensearch_url, tmp_path):
    source, dest = f"{name}-1", f"{name}-2"
    make_source(client, source, 300)
    odd = [
        ("routed", {"routing": "x"}, '{"n": 1, "title": "same id"}'),
        ("routed", {"routing": "the other shard, or not"}, '{"n": 2}'),
        ("lines", {}, '{\n  "n": 3,\r\n  "title": "line\\nbreak"\n}\n'),
        ("exact", {}, '{"n":4,"big":123456789012345678901234567890,"price":1.10,"tiny":1e-400}'),
        ("old", {}, '{"n":5,"rerank":{"authority":0.9},"date":"2016-01-01"}'),
        ("says", {}, '{"title":"a \\"rerank\\" in a text \\u00e9 \\ud83d\\ude00 日本"}'),
        ("empty", {}, "{}"),
        ("bad date", {}, '{"views":3,"published_at":"yesterday"}'),
        ("i/d?&%", {}, '{"n":6}'),
    ]
    for doc_id, parameters, body in odd:
        client.index(index=source, id=doc_id, body=body, params=parameters)
    client.delete(index=source, id="d7")
    client.indices.put_alias(index=source, name=f"{name}-live", body={"filter": {"exists": {"field": "n"}}})

    arguments = ("--source", f"{name}-live", "--dest", dest, "--alias", f"{name}-live", "--now", NOW)
    report = reindex(opensearch_url, tmp_path, *arguments, "--half-life-days", "365", "--verify-all")

    copied = contents(client, dest)
    wanted = contents(client, source)
    assert copied == wanted
    assert len(copied) == 308
    assert (report["read"], report["written"], report["rejected"], report["compared"]) == (308, 308, 0, 308)
    assert report["problems"] == {"bad_date": 1}
    exact = client.transport.perform_request("GET", f"/{dest}/_doc/exact")["_source"]
    assert (exact["big"], exact["price"]) == (123456789012345678901234567890, 1.10)
    old = client.get(index=dest, id="old")["_source"]["rerank"]
    # 3653 days at a half-life of 365: 1 / (1 + 3653 / 365).
    assert old == {"features_version": 1, "freshness": 0.090841, "published_at": "2016-01-01T00:00:00Z"}

    aliases = client.indices.get_alias(name=f"{name}-live")
    assert aliases == {dest: {"aliases": {f"{name}-live": {"filter": {"exists": {"field": "n"}}}}}}
    settings = settings_of(client, dest)
    assert settings["index.refresh_interval"] == "7s"
    assert settings["index.number_of_replicas"] == "0"
    meta = client.indices.get_mapping(index=dest)[dest]["mappings"]["_meta"]["rerank"]
    assert (meta["documents"], meta["source"], meta["text_fields"]) == (308, source, ["body", "title"])
    assert meta["half_life_days"] == 365.0
    assert not list(tmp_path.glob("*.reindex.json")), "the run is over"
    assert settings_of(client, source)["index.blocks.write"] == "true", "what is written to the old index would be lost"

    back = reindex(opensearch_url, tmp_path, "--alias", f"{name}-live", "--rollback")
    assert (back["index"], back["was"]) == (source, dest)
    assert list(client.indices.get_alias(name=f"{name}-live")) == [source]
    client.index(index=source, id="again", body=document(1))


def test_refused_documents_keep_the_alias_where_it_is(client, name, opensearch_url, tmp_path):
    source, dest, alias = f"{name}-1", f"{name}-2", f"{name}-live"
    make_source(client, source, 50)
    client.index(index=source, id="bad", body={"later": "no number"})
    # Not mapped when it was written, so it was taken; its copy meets the mapping of today.
    client.indices.put_mapping(index=source, body={"properties": {"later": {"type": "integer"}}})
    client.indices.put_alias(index=source, name=alias)
    arguments = ("--source", source, "--dest", dest, "--alias", alias)
    error = reindex(opensearch_url, tmp_path, *arguments, fails=True)["error"]
    assert "lacks 1 documents" in error
    assert list(client.indices.get_alias(name=alias)) == [source]
    client.index(index=source, id="open", body=document(2))  # the write block is gone
    (entry,) = [json.loads(line) for line in (tmp_path / f"{dest}.rejects.jsonl").read_text().splitlines()]
    assert (entry["kind"], "mapper_parsing" in entry["reason"]) == ("refused", True)

    report = reindex(opensearch_url, tmp_path, *arguments, "--resume", "--allow-rejects", "1")
    assert (report["read"], report["written"], report["rejected"]) == (1, 51, 1)
    assert list(client.indices.get_alias(name=alias)) == [dest]


def test_links_make_authority_and_are_not_read_twice(client, name, opensearch_url, tmp_path):
    source, dest = f"{name}-1", f"{name}-2"
    make_source(client, source, 0, shards=3)
    for doc_id, cites in {"a": ["c"], "b": ["c"], "c": [], "d": ["nobody"]}.items():
        client.index(index=source, id=doc_id, body={"title": doc_id, "metadata": {"cites": cites}}, refresh=True)
    (tmp_path / "links.tsv").write_text("d\tc\nd\tb\n", encoding="utf-8")
    report = reindex(opensearch_url, tmp_path, "--source", source, "--dest", dest, "--links", "links.tsv")
    authority = {each: client.get(index=dest, id=each)["_source"]["rerank"]["authority"] for each in "abcd"}
    # Two share the lowest rank (mid-quantile 1/4), b has one link, c three.
    assert authority == {"a": 0.25, "d": 0.25, "b": 0.625, "c": 0.875}
    assert report["signals"]["authority"]["links"] == 4
    assert report["signals"]["authority"]["dangling_links"] == 1


def test_a_dry_run_changes_nothing(client, name, opensearch_url, tmp_path):
    make_source(client, f"{name}-1", 40)
    arguments = ("--source", f"{name}-1", "--dest", f"{name}-2", "--alias", f"{name}-live", "--dry-run")
    told = reindex(opensearch_url, tmp_path, *arguments)
    assert (told["documents"], told["dated"], told["popularity_knots"]) == (40, 40, {"views": 38.62})
    assert told["alias_actions"] == [{"add": {"index": f"{name}-2", "alias": f"{name}-live"}}]
    assert not client.indices.exists(index=f"{name}-2")
    assert list(tmp_path.iterdir()) == []


def test_the_alias_takes_the_name_of_its_source_only_when_told_to(client, name, opensearch_url, tmp_path):
    make_source(client, f"{name}-1", 10)
    arguments = ("--source", f"{name}-1", "--dest", f"{name}-2", "--alias", f"{name}-1")
    assert "--replace-index" in reindex(opensearch_url, tmp_path, *arguments, fails=True)["error"]
    reindex(opensearch_url, tmp_path, *arguments, "--replace-index")
    assert list(client.indices.get_alias(name=f"{name}-1")) == [f"{name}-2"]
    error = reindex(opensearch_url, tmp_path, "--alias", f"{name}-1", "--rollback", fails=True)["error"]
    assert f"the source {name}-1 of {name}-2" in error


def test_what_cannot_be_done_is_said_in_one_line(client, name, opensearch_url, tmp_path):
    make_source(client, f"{name}-1", 5)
    make_source(client, f"{name}-other", 5)
    client.indices.put_alias(index=f"{name}-other", name=f"{name}-live")
    client.indices.put_alias(index=f"{name}-1,{name}-other", name=f"{name}-both")

    def error(source: str, dest: str, *more: str) -> str:
        told: str = reindex(opensearch_url, tmp_path, "--source", source, "--dest", dest, *more, fails=True)["error"]
        return told

    assert "no such index" in error(f"{name}-none", f"{name}-2")
    assert "exists; name a new index" in error(f"{name}-1", f"{name}-other")
    assert "stands for 2 indexes" in error(f"{name}-both", f"{name}-2")
    assert f"stands for {name}-other and not for the source" in error(
        f"{name}-1", f"{name}-2", "--alias", f"{name}-live"
    )
    assert "there is no run to resume" in error(f"{name}-1", f"{name}-2", "--resume")
    assert "both name" in error(f"{name}-1", f"{name}-1")
    Path(tmp_path / f"{name}-2.reindex.json").write_text("{}", encoding="utf-8")
    assert "cannot be read as the state of a run" in error(f"{name}-1", f"{name}-2", "--resume")
    assert (
        "does not stand for an index that rerank-index reindex made"
        in (reindex(opensearch_url, tmp_path, "--alias", f"{name}-live", "--rollback", fails=True)["error"])
    )
    assert not client.indices.exists(index=f"{name}-2")
