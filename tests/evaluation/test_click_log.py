"""Impressions and clicks as a log has them, by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rerank_plugin.domain.clicks import Shown
from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.click_log import read_clicks

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def log(folder: Path, *events: dict[str, Any] | str) -> Path:
    file = folder / "events.jsonl"
    file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in events))
    return file


def event(kind: str = "impression", **more: Any) -> dict[str, Any]:
    return {"_id": "a", "event": kind, "query": "graph search", "position": 2, **more}


def test_impressions_and_clicks_by_query_document_and_place(tmp_path: Path) -> None:
    file = log(
        tmp_path,
        event(),
        event("impressions", query=" Graph  SEARCH", count=3),
        event("click", query="graph search"),
        event(position=1),
        event(_id="b", position=7, query="other"),
        event("clicks", _id="b", position=7, query="other", count=5),  # more than it was shown
        event("click", _id="c"),  # never shown
    )
    assert read_clicks(file, now=NOW) == {
        "graph search": {"a": (Shown(1, 1, 0), Shown(2, 4, 1)), "c": ()},
        "other": {"b": (Shown(7, 1, 1),)},
    }


def test_one_actor_counts_once_a_day(tmp_path: Path) -> None:
    at = {"user": "u1", "time": "2025-05-31T10:00:00Z"}
    file = log(
        tmp_path,
        *[event(**at)] * 3,
        event("click", **at),
        event("click", **{**at, "time": "2025-05-31T23:00:00Z"}),
        event("click", **{**at, "time": "2025-05-31T23:30:00-05:00"}),  # the next day in UTC
        event(**{**at, "time": "2025-06-01"}),
        event(client_id="u2", timestamp="2025-05-31"),
    )
    assert read_clicks(file, now=NOW) == {"graph search": {"a": (Shown(2, 3, 2),)}}


def test_names_of_user_behavior_insights(tmp_path: Path) -> None:
    ubi = {"action_name": "click", "object_id": "a", "user_query": "graph search", "query": "{}", "position": "2"}
    assert read_clicks(log(tmp_path, event(), ubi), now=NOW) == {"graph search": {"a": (Shown(2, 1, 1),)}}


def test_what_is_no_event_or_later_is_passed_over(tmp_path: Path) -> None:
    other = [
        event("view"),
        event(position=None),
        event(position=0),
        event(position="first"),
        event(query=""),
        "[1]",
        "{",
    ]
    other += [event(time="2026-01-02"), event(time="soon"), event(_id=None), event(count=-1)]
    assert read_clicks(log(tmp_path, *other, event()), now=NOW) == {"graph search": {"a": (Shown(2, 1, 0),)}}
    with pytest.raises(DataError, match="has no impression with query, document and position"):
        read_clicks(log(tmp_path, *other, event("click")), now=NOW)
    with pytest.raises(DataError, match="does not exist"):
        read_clicks(tmp_path / "none.jsonl", now=NOW)
