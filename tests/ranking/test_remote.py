"""A ranker over HTTP against servers that answer badly, late, or in the plain shape of others."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.remote import RemoteRanker
from rerank_plugin.ranking.types import RankRequest

CANDIDATES = tuple(
    Candidate(doc_id=f"d{place}", retrieval_rank=place + 1, retrieval_score=3.0 - place, text=f"text {place}")
    for place in range(3)
)
REQUEST = RankRequest(query="q", candidates=CANDIDATES)
GOOD = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0}]


class Server(ThreadingHTTPServer):
    """Answers what the test says, and keeps what it was asked."""

    daemon_threads = True
    answer: bytes = b""
    status = 200
    wait = threading.Event()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(content)))
        self.server.wait.wait(30)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is not the place."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.wait = threading.Event()
    server.wait.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.wait.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_server_of_the_usual_api(server: Server) -> None:
    server.answer = json.dumps({"results": GOOD}).encode()
    [ranking] = RemoteRanker(server.url, key="k").rank([REQUEST])
    assert [each.candidate.doc_id for each in ranking.ranked] == ["d2", "d0", "d1"]
    assert [each.z for each in ranking.ranked][:2] == pytest.approx([math.log(9), 0.0])
    assert ranking.ranked[2].z == pytest.approx(math.log(1e-9), abs=1e-6)
    [(path, headers, body)] = server.asked
    assert (path, headers["authorization"]) == ("/v1/rerank", "Bearer k")
    assert (body["query"], body["documents"], body["top_n"]) == ("q", ["text 0", "text 1", "text 2"], 3)
    assert ranking.model == f"{server.url}/v1/rerank"
    RemoteRanker(f"{server.url}/v2/other").rank([REQUEST])
    assert server.asked[1][0] == "/v2/other"
    assert "authorization" not in server.asked[1][1]


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (503, b"busy\nindeed", "answered 503: busy indeed"),
        (307, b"", "answered 307"),
        (200, b"<html>", "answered no JSON"),
        (200, b"[]", "no JSON object"),
        (200, b"{}", "something else than results"),
        (200, json.dumps({"results": GOOD[:2]}).encode(), "something else than results"),
        (200, json.dumps({"results": [*GOOD, GOOD[0]]}).encode(), "something else than results"),
        (200, json.dumps({"results": [{**GOOD[0], "index": 3}, *GOOD[1:]]}).encode(), "something else than results"),
        (
            200,
            json.dumps({"results": [{**GOOD[0], "relevance_score": math.nan}, *GOOD[1:]]}).encode(),
            "something else",
        ),
        (200, json.dumps({"results": [{**GOOD[0], "relevance_score": 7}, *GOOD[1:]]}).encode(), "something else"),
        (200, b" " * 200_000, "more than 103000 bytes"),
    ],
)
def test_a_server_that_answers_badly(server: Server, status: int, answer: bytes, reason: str) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(RerankError, match=reason):
        RemoteRanker(server.url).rank([REQUEST])
    assert len(server.asked) == 1  # neither repeated nor redirected


def test_a_server_that_does_not_answer(server: Server) -> None:
    server.wait.clear()
    late = RankRequest(query="q", candidates=CANDIDATES, deadline=time.monotonic() + 0.05)
    with pytest.raises(RerankError, match="could not be reached: ReadTimeoutError"):
        RemoteRanker(server.url).rank([late])


def test_a_deadline_that_has_passed_asks_nobody(server: Server) -> None:
    late = RankRequest(query="q", candidates=CANDIDATES, deadline=time.monotonic() - 1)
    [ranking] = RemoteRanker(server.url).rank([late])
    assert (ranking.ranked, ranking.unscored, server.asked) == ((), CANDIDATES, [])


def test_nobody_at_the_address() -> None:
    with pytest.raises(RerankError, match="could not be reached: NewConnectionError"):
        RemoteRanker("http://127.0.0.1:9").rank([REQUEST])
