"""``--events ubi``: the log in the engine's own indexes counts as the same log in a file does."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opensearchpy.helpers import bulk

from indexer.cli import commands
from indexer.events.engine import PAGE, Ubi, copy_events, events_file
from indexer.progress import Silent
from reindexing.library import make_source, reindex, run
from rerank_plugin.errors import ConfigError, DataError, EngineError

NOW = "2026-01-01T00:00:00Z"
REFIT = ("--refit", "--now", NOW, "--half-life-days", "365")
#: More than the reader of logs looks at for names: it must know those of the events, which come after.
QUERIES = 10_050


def queries() -> list[dict[str, Any]]:
    return [
        {
            "timestamp": f"2025-12-{1 + number % 28:02}T10:00:00Z",
            "query_id": f"q{number}",
            "user_query": f"words {number % 9}",
            "client_id": f"c{number % 800}",
            "query_response_hit_ids": [f"d{number * step % 60}" for step in (1, 7, 11)],
        }
        for number in range(QUERIES)
    ]


def events() -> list[dict[str, Any]]:
    return [
        {
            "action_name": ("click", "view", "purchase")[number % 3],
            "timestamp": f"2025-12-{1 + number % 28:02}T11:00:00+02:00",
            "query_id": f"q{number * 5}",
            "client_id": f"c{number % 800}",
            "event_attributes": {
                "object": {"object_id": f"d{number * number % 60}", "name": "not needed"},
                "position": {"ordinal": 1 + number % 3},
            },
        }
        for number in range(2 * PAGE + 1)
    ]


def write(client, index: str, documents: list[dict[str, Any]]) -> None:
    body = {"settings": {"number_of_shards": 3, "number_of_replicas": 0}, "mappings": {"dynamic": False}}
    client.indices.create(index=index, body=body)
    bulk(client, ({"_index": index, **each} for each in documents), refresh=True, chunk_size=5_000)


@pytest.fixture
def ubi(client, name) -> Ubi:
    write(client, f"{name}-queries", queries())
    write(client, f"{name}-events", events())
    return Ubi(f"{name}-queries", f"{name}-events")


@pytest.fixture
def file(tmp_path) -> Path:
    written = tmp_path / "events.jsonl"
    written.write_text("".join(json.dumps(each) + "\n" for each in [*events()[:9], *queries(), *events()[9:]]))
    return written


def popularity(client, index: str) -> dict[str, float]:
    hits = client.search(index=index, body={"size": 100})["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["rerank"].get("popularity") for hit in hits}


def test_a_refresh_from_the_engine_equals_one_from_a_file(client, name, ubi, file, opensearch_url, tmp_path):
    make_source(client, f"{name}-1", 60)
    reindex(opensearch_url, tmp_path, "--source", f"{name}-1", "--dest", f"{name}-2", "--now", NOW)
    index = f"{name}-2"

    def after(*arguments: str) -> dict[str, float]:
        run("refresh", opensearch_url, tmp_path, "--index", index, *REFIT, "--threshold", "0", *arguments)
        client.indices.refresh(index=index)
        return popularity(client, index)

    without = after()
    told = after("--events", file.name)
    assert after() == without != told
    found = after("--events", f"ubi:{ubi.queries},{ubi.events}")
    assert found == pytest.approx(told, abs=1e-6)


def test_a_load_from_the_engine_equals_one_from_a_file(client, name, ubi, file, opensearch_url, tmp_path):
    lines = [json.dumps({"_id": f"d{number}", "text": "words"}) + "\n" for number in range(60)]
    (tmp_path / "docs.jsonl").write_text("".join(lines), encoding="utf-8")
    found = []
    for number, source in enumerate((file.name, f"ubi:{ubi.queries},{ubi.events}")):
        arguments = ("--index", f"{name}-{number}", "--docs", "docs.jsonl", "--now", NOW, "--events", source)
        run("load", opensearch_url, tmp_path, *arguments)
        found.append(popularity(client, f"{name}-{number}"))
    assert len(set(found[0].values())) > 5
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_clicks_and_counts_of_the_engine_equal_those_of_a_file(ubi, file, opensearch_url, tmp_path):
    found = []
    for number, source in enumerate((str(file), f"ubi:{ubi.queries},{ubi.events}")):
        for command in ("clicks", "counts"):
            arguments = [command, "--events", source, "--now", NOW, "--out", str(tmp_path / f"{command}{number}.jsonl")]
            told = CliRunner().invoke(commands, [*arguments, "--engine", opensearch_url], catch_exceptions=False)
            assert told.exit_code == 0, told.output
        found.append({each: (tmp_path / f"{each}{number}.jsonl").read_text("utf-8") for each in ("clicks", "counts")})
    assert len(found[0]["clicks"].splitlines()) == 60, "three of the nine queries were clicked"
    assert len(found[0]["counts"].splitlines()) == 60
    assert found[0] == found[1]


def test_the_engine_of_a_log_has_to_be_named(tmp_path):
    told = CliRunner().invoke(commands, ["clicks", "--events", "ubi", "--out", str(tmp_path / "c.csv")])
    assert (type(told.exception), list(tmp_path.iterdir())) == (ConfigError, [])
    assert "--events ubi needs --engine" in str(told.exception)


def test_the_copy_holds_everything_once_and_is_deleted(client, ubi, opensearch_url, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with events_file(ubi, opensearch_url, Silent()) as copied:
        assert copied is not None
        lines = [json.loads(line) for line in gzip.decompress(copied.read_bytes()).splitlines()]
    ids = sorted(each["query_id"] for each in lines if each["action_name"] is None)
    assert ids == sorted(f"q{number}" for number in range(QUERIES))
    assert len(lines) == QUERIES + len(events())
    assert {"name"} & {key for each in lines for key in (each["event_attributes"] or {}).get("object", {})} == set()
    with pytest.raises(DataError, match=f"^{ubi} holds no event"), events_file(ubi, opensearch_url, Silent()) as copied:
        raise DataError(f"{copied} holds no event")
    with pytest.raises(EngineError), events_file(Ubi("none", "none"), opensearch_url, Silent()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_said_in_one_line(client, name, opensearch_url, tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"_id": "a", "text": "t"}\n', encoding="utf-8")
    load = ("--index", name, "--docs", "docs.jsonl", "--events")
    told = run("load", opensearch_url, tmp_path, *load, f"ubi:{name}-q,{name}-e", fails=True)["error"]
    assert told == (
        f"rerank-index: reading {name}-q: there is no such index; name yours with --events ubi:QUERIES,EVENTS\n"
    )
    for each in ("q", "e"):
        write(client, f"{name}-{each}", [])
    told = run("load", opensearch_url, tmp_path, *load, f"ubi:{name}-q,{name}-e", fails=True)["error"]
    assert f"{name}-q and {name}-e hold nothing yet" in told
    assert not client.indices.exists(index=name)


def test_two_indexes_are_named_or_none():
    for given in ("ubi:", "ubi:one", "ubi:one,", "ubi:one,two,three", "no-such-file"):
        told = CliRunner().invoke(commands, ["refresh", "--engine", "http://x", "--index", "i", "--events", given])
        assert (told.exit_code, "--events" in told.output) == (2, True), told.output
    told = CliRunner().invoke(commands, ["clicks", "--out", "c.csv", "--events", "ubi:one"])
    assert (told.exit_code, "does not name two indexes" in told.output) == (2, True), told.output


def test_the_embedded_engine_has_no_such_log(tmp_path):
    with (
        pytest.raises(ConfigError, match="needs a server"),
        events_file(Ubi(), f"embedded:{tmp_path / 'engine'}", Silent()),
    ):
        pass


class Refusing:
    """A client whose every answer is a refusal."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def create_pit(self, **_: Any) -> None:
        raise self.error


def test_a_user_without_the_right_is_told_which(tmp_path):
    from opensearchpy.exceptions import AuthorizationException, RequestError

    for error, match in (
        (AuthorizationException(403, "security_exception", {}), "^reading ubi_queries: not permitted; .*point_in_time"),
        (RequestError(400, "x", "No mapping found for [_shard_doc] in order to sort on"), "OpenSearch 3.3 or later"),
        (RequestError(400, "x", {}), "the engine answered 400"),
    ):
        with pytest.raises(EngineError, match=match):
            copy_events(Refusing(error), Ubi(), tmp_path / "ubi.jsonl.gz", Silent())
