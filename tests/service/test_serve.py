"""``rerank serve`` and the clients that name it: the local model's scores, bounded requests, keys, plain errors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from fakes_library import books
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.config import Rerank, api_key
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.errors import ConfigError
from rerank_plugin.ranking.load import load_ranker
from rerank_plugin.ranking.remote import RemoteRanker
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.service.app import BODY_BYTES, DOCUMENTS

KEY = "a key for tests"
TEXTS = (
    "Mending a punctured bike wheel.",
    "",
    "The roof of the castle.",
    "自行车轮胎漏气了怎么修理呢",
    "bicycle " * 900,
)
REQUEST = RankRequest(
    query="how to repair a flat bicycle tyre",
    candidates=tuple(
        Candidate(doc_id=f"d{place}", retrieval_rank=place + 1, retrieval_score=5.0 - place, text=text)
        for place, text in enumerate(TEXTS)
    ),
)


def command(*options: str) -> list[str | Path]:
    return [Path(sys.executable).with_name("rerank"), "serve", *options]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        command("--port", str(port)), env={**os.environ, "RERANK_API_KEY": KEY}, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert told.startswith(f"http://127.0.0.1:{port}/v1/rerank serves "), told
        url = f"http://127.0.0.1:{port}"
        urllib3.request("GET", f"{url}/health", retries=urllib3.Retry(connect=50, backoff_factor=0.05))
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


def post(url: str, body: Any, key: str = KEY) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    response = urllib3.request("POST", url, body=content, headers=headers, retries=False)
    return response.status, response.json()


def test_rankings_are_those_of_the_local_model(server: str) -> None:
    [local] = load_ranker(Rerank()).rank([REQUEST])
    [remote] = RemoteRanker(server, key=KEY).rank([REQUEST])
    assert [each.candidate.doc_id for each in remote.ranked] == [each.candidate.doc_id for each in local.ranked]
    assert [each.z for each in remote.ranked] == [each.z for each in local.ranked]
    assert (remote.model, remote.weights) == (local.model, local.weights)
    assert (remote.truncated, remote.unknown, remote.unread) == (local.truncated, local.unknown, local.unread)
    assert remote.truncated >= 1
    assert remote.unread >= 1


def test_searches_are_equal_in_every_hit(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_API_KEY", KEY)
    body = {"query": {"match": {"text": "graph"}}, "size": 7, "rerank": {"now": "2026-01-01T00:00:00Z"}}
    answers = []
    for settings in ({}, {"scorer": server}):
        answer = wrap(books().client(), rerank=settings).search(index="books", body=body)
        assert answer["rerank"]["status"] == "applied", answer["rerank"]["reason"]
        answers.append(answer["hits"])
    assert answers[0] == answers[1]


def test_the_usual_shape(server: str) -> None:
    body = {"model": "any", "query": "flat tyre", "documents": ["castle", {"text": "mend a flat tyre"}, "opera"]}
    for path in ("/v1/rerank", "/rerank"):
        status, answer = post(server + path, {**body, "top_n": 2, "return_documents": True})
        assert status == 200
        assert answer["results"][0]["index"] == 1
        assert len(answer["results"]) == 2
        assert answer["results"][0]["document"] == {"text": "mend a flat tyre"}
        assert set(answer["results"][0]) == {"index", "relevance_score", "document"}
    scores = [each["relevance_score"] for each in post(f"{server}/rerank", body)[1]["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(isinstance(each, float) and 0 < each < 1 and len(repr(each)) <= 18 for each in scores)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "the body must be JSON"),
        (b"[]", 400, "a JSON object, got list"),
        (b"[" * 100_000, 400, "the body must be JSON"),
        ({"documents": ["a"]}, 400, "query must be a text"),
        ({"query": "q"}, 400, "documents must be a list"),
        ({"query": "q", "documents": ["a"] * (DOCUMENTS + 1)}, 400, "a list of 1 to 1000 texts"),
        ({"query": "q", "documents": [3]}, 400, "must be a text, or an object"),
        ({"query": "q", "documents": ["a"], "retrieval_scores": ["x"]}, 400, "retrieval_scores must be"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, 400, "top_n must be a whole number"),
        ({"query": "q", "documents": ["a"], "deadline_ms": -1}, 400, "deadline_ms must be"),
        (b" " * (BODY_BYTES + 1), 413, "at most 33554432 bytes"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(server: str, body: Any, status: int, reason: str) -> None:
    found, answer = post(f"{server}/v1/rerank", body)
    assert found == status
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def test_a_wrong_key_is_refused_and_reranking_falls_back(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"query": "q", "documents": ["a"]}
    assert [post(f"{server}/rerank", body, key)[0] for key in ("", "wrong", KEY + "x", KEY)] == [401, 401, 401, 200]
    monkeypatch.setenv("RERANK_API_KEY", "wrong")
    client = wrap(books().client(), rerank={"scorer": server})
    said = client.search(index="books", body={"query": {"match": {"text": "graph"}}})["rerank"]
    assert said["status"] == "fallback"
    assert "answered 401" in said["reason"]
    assert "wrong" not in json.dumps(said)


def test_others_than_this_machine_need_a_key() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RERANK_")}
    told = subprocess.run(command("--host", "0.0.0.0"), env=environ, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr == (
        "Error: --host 0.0.0.0 opens the model to others; set RERANK_API_KEY, or listen on 127.0.0.1\n"
    )


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from a file\n", encoding="utf-8")
    assert api_key({"RERANK_API_KEY_FILE": str(file)}) == "from a file"
    assert api_key({"RERANK_API_KEY_FILE": str(file), "RERANK_API_KEY": "direct"}) == "direct"
    assert api_key({}) == ""
    with pytest.raises(ConfigError, match="cannot be read"):
        api_key({"RERANK_API_KEY_FILE": str(tmp_path / "absent")})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scorer": "localhost:8080"}, r"must be the http\(s\):// address"),
        ({"scorer": 3}, "must be the http"),
        ({"scorer": "http://me:secret@host"}, "an address without a password"),
        ({"scorer": "http://host", "vectors": "v"}, "vectors need a model of this process"),
    ],
)
def test_a_scorer_that_cannot_be_one(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        Rerank.of(settings)
    assert "secret" not in str(raised.value)
