"""Who is reranked: modes, the share of traffic, the kill switch and settings by index from a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fakes_library import GRAPH, books, ids, reranking
from fakes_search import BrokenRanker
from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError, RerankError

BODY = {"query": GRAPH, "size": 4, "aggs": {"n": {}}}


def test_shadow_ranks_and_logs_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    engine = books()
    expected = engine.client().search(index="books", body=BODY)
    with caplog.at_level(logging.INFO, logger="rerank_plugin"):
        response = reranking(engine, mode="shadow").search(index="books", body=BODY)
    said = response.pop("rerank")
    assert response == expected
    assert (said["status"], said["reranked"]) == ("shadow", 20)
    applied = ids(reranking(engine).search(index="books", body=BODY))
    assert said["shadow"] == [{"_index": "books", "_id": doc_id} for doc_id in applied]
    [logged] = [each.message for each in caplog.records if each.message.startswith("shadow: ")]
    assert json.loads(logged.removeprefix("shadow: "))["shadow"] == said["shadow"]
    failing = reranking(books(), BrokenRanker(RerankError("broken")), mode="shadow").search(index="books", body=BODY)
    assert (failing["rerank"]["status"], failing["rerank"]["reason"]) == ("shadow", "would have fallen back: broken")
    assert ids(failing) == ids(expected)
    lines: list[Any] = [{}, BODY, {}, {**BODY, "rerank": {"mode": "on"}}]
    several = reranking(books(), mode="shadow").msearch(index="books", body=lines)["responses"]
    assert [each["rerank"]["status"] for each in several] == ["shadow", "applied"]


def test_a_share_is_sticky_by_user_and_about_as_large_as_asked() -> None:
    client = reranking(books(), share=0.3, window=5)

    def status(who: dict[str, str], words: str = "graph") -> str:
        body = {"query": {"match": {"text": words}}, "size": 1, "rerank": who}
        return client.search(index="books", body=body)["rerank"]["status"]

    said = {f"user{number}": status({"user": f"user{number}"}) for number in range(300)}
    assert set(said.values()) == {"applied", "skipped"}
    assert 60 < sum(each == "applied" for each in said.values()) < 120  # 90 +- 3.8 standard deviations
    assert {name: status({"user": name}, "graph x") for name in list(said)[:20]} == dict(list(said.items())[:20])
    assert len({status({}, f"graph w{number}") for number in range(40)}) == 2  # without a user, by the words
    assert status({}, "graph again") == status({}, "Graph again")
    reason = client.search(
        index="books",
        body={"query": GRAPH, "rerank": {"user": next(name for name in said if said[name] == "skipped")}},
    )
    assert reason["rerank"]["reason"] == "outside the share of 0.3 of the traffic"
    none, everyone = reranking(books(), share=0.0), reranking(books(), share=1.0)
    assert none.search(index="books", body=BODY)["rerank"]["status"] == "skipped"
    assert everyone.search(index="books", body=BODY)["rerank"]["status"] == "applied"


def test_a_file_switches_every_client_off_while_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "rerank-off"
    monkeypatch.setenv("RERANK_KILL_FILE", str(switch))
    client = reranking(books())
    body = {**BODY, "rerank": {"mode": "on"}}
    assert client.search(index="books", body=body)["rerank"]["status"] == "applied"
    switch.touch()
    assert "rerank" not in client.search(index="books", body=body)  # above the request's own wish
    switch.unlink()
    assert client.search(index="books", body=body)["rerank"]["status"] == "applied"


TOML = """
window = 40
weights = { authority = 1.0 }
share = 0.5

[indices."articles-*"]
window = 20
text_fields = ["title", "body"]

[indices.shop]
mode = "off"
"""


def test_settings_come_from_a_file_and_differ_by_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = tmp_path / "rerank.toml"
    toml.write_text(TOML, encoding="utf-8")
    settings = Rerank.of(toml)
    assert Rerank.of(str(toml)) == settings
    assert (settings.window, settings.for_index("other").window) == (40, 40)
    articles = settings.for_index("articles-2026,articles-2025")
    assert (articles.window, articles.text_fields, articles.share) == (20, ("title", "body"), 0.5)
    assert articles.weights == settings.weights
    assert settings.for_index("shop").mode == "off"
    assert settings.for_index("shop,articles-1").window == 40  # no pattern fits both
    assert settings.for_index("").window == 40
    as_json = tmp_path / "rerank.json"
    as_json.write_text('{"window": 7, "indices": {"books": {"window": 3}}}', encoding="utf-8")
    monkeypatch.setenv("RERANK_CONFIG", str(as_json))
    assert (Rerank.of(None).window, Rerank.of({"window": 9}).window) == (7, 9)
    client = reranking(books(), window=7, indices={"books": {"window": 3}})
    assert client.search(index="books", body=BODY)["rerank"]["window"] == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.toml", None, r"cannot be read: No such file"),
        ("rerank.yaml", "window: 3", r"must end in \.toml or \.json"),
        ("rerank.toml", "window = ", "is no TOML"),
        ("rerank.json", "{", "is no JSON"),
        ("rerank.json", "[]", "must hold an object, found list"),
        ("rerank.json", " " * (2 << 20), "more than 1048576 bytes"),
        ("rerank.toml", "windw = 3", r"unknown setting rerank\.windw"),
        ("rerank.toml", "[indices.a]\nwindow = 0", r"indices\.a: window must be a whole number"),
        ("rerank.toml", "[indices.a]\nmodel = 'm'", r"indices\.a\.model cannot differ by index"),
        ("rerank.toml", "indices = 3", "indices must be an object"),
        ("rerank.toml", "share = 1.5", "share must be from 0 to 1, got 1.5"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as raised:
        Rerank.of(path)
    assert "\n" not in str(raised.value)
