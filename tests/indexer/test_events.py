"""Event logs: worked by hand, recovered in simulation, and robbed of robots, fraud and the future."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from event_samples import NOW, event
from indexer.cli import main
from indexer.events.clickmodel import fit_propensities, smoothed_rates
from indexer.events.log import is_log
from indexer.events.summary import ROBOT_EVENTS, Summary, summarise
from indexer.rejects import Rejects
from indexer.side_files import event_counts
from rerank_plugin.errors import DataError


@pytest.fixture
def summary(tmp_path: Path) -> Any:
    def of(rows: list[Any], *, now: datetime = NOW) -> Summary:
        file = tmp_path / "log.jsonl"
        file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
        return summarise(file, now=now)

    return of


class TestPropensities:
    def test_are_recovered_from_clicks_alone(self) -> None:
        """5 positions, 400 pairs shown at two or three of them: the likings differ by ten, and are not told."""
        rng = np.random.default_rng(20261)
        looks = np.array([1.0, 0.6, 0.4, 0.25, 0.15])
        likes = rng.uniform(0.05, 0.6, 400)
        pairs = np.repeat(np.arange(400), 3)
        positions = np.concatenate([rng.choice(5, 3, replace=False) + 1 for _ in range(400)])
        impressions = rng.integers(50, 300, 1200).astype(float)
        clicks = rng.binomial(impressions.astype(int), looks[positions - 1] * likes[pairs]).astype(float)
        found = fit_propensities(pairs, positions, impressions, clicks)
        assert found.positions.tolist() == [1, 2, 3, 4, 5]
        assert found.looks == pytest.approx(looks, abs=0.03)
        assert found.converged
        # the good ones stand low here: raw rates say the opposite of what people like
        naive = np.bincount(positions, clicks)[1:] / np.bincount(positions, impressions)[1:]
        assert np.abs(naive / naive[0] - looks).max() < 0.1  # so the simulation is fair at the positions

    def test_a_popular_document_that_always_stands_low_is_not_punished(self) -> None:
        rng = np.random.default_rng(3)
        looks, likes = np.array([1.0, 0.5, 0.2]), np.array([0.2, 0.2, 0.5])
        pairs = np.array([0, 0, 1, 1, 2, 2])
        positions = np.array([1, 2, 1, 3, 3, 2])
        impressions = np.full(6, 20_000.0)
        clicks = rng.binomial(20_000, looks[positions - 1] * likes[pairs]).astype(float)
        found = fit_propensities(pairs, positions, impressions, clicks)
        assert found.looks == pytest.approx(looks, abs=0.03)
        by_doc = [np.bincount(pairs, each) for each in (impressions * found.looks[positions - 1], clicks)]
        assert smoothed_rates(*by_doc) == pytest.approx(likes, abs=0.03)
        raw = np.bincount(pairs, clicks) / np.bincount(pairs, impressions)
        assert raw[2] < 0.2, "raw rates call the best document no better than the others"

    @pytest.mark.parametrize(("seed", "count", "most", "liked"), [(11, 500, 12, 0.2), (0, 8, 51, 0.5)])
    def test_are_those_of_expectation_maximisation_without_end(
        self, seed: int, count: int, most: int, liked: float
    ) -> None:
        """Many pairs seen rarely, and few: the likelihood is flat along its ridge, which rounds alone climb forever."""
        rng = np.random.default_rng(seed)
        looks, likes = np.array([1.0, 0.7, 0.5, 0.3]), rng.uniform(0.0, liked, count)
        pairs, positions = np.repeat(np.arange(count), 4), np.tile(np.arange(4), count)
        impressions = rng.integers(1, most, 4 * count).astype(float)
        clicks = rng.binomial(impressions.astype(int), looks[positions] * likes[pairs]).astype(float)

        def plain(rounds: int) -> Any:
            average = clicks.sum() / impressions.sum()
            look, like = np.full(4, 0.5), np.full(count, average)
            for _ in range(rounds):
                a, b = look[positions], like[pairs]
                missed = (impressions - clicks) / (1 - a * b)
                looked, liked = clicks + missed * a * (1 - b), clicks + missed * b * (1 - a)
                look = np.minimum(np.bincount(positions, looked) / np.bincount(positions, impressions), 1.0)
                like = (np.bincount(pairs, liked) + average) / (np.bincount(pairs, impressions) + 1)
            return look / look.max()

        found, long = fit_propensities(pairs, positions, impressions, clicks), plain(20_000)
        assert found.converged
        assert found.looks == pytest.approx(long, abs=0.002)
        assert found.rounds <= 110
        assert np.abs(plain(found.rounds) - long).max() > 0.003, "as it stands, EM is not there after as many rounds"

    def test_one_position_or_nothing_says_nothing(self) -> None:
        one = fit_propensities(np.array([0, 1]), np.array([4, 4]), np.array([9.0, 9.0]), np.array([1.0, 3.0]))
        assert (one.looks.tolist(), one.converged) == ([1.0], True)
        none = fit_propensities(*(np.array([], dtype=kind) for kind in (int, int, float, float)))
        assert none.looks.tolist() == []

    def test_rates_by_hand(self) -> None:
        # average (3 + 0) / (10 + 20) = .1: (2 + 3) / (2 / .1 + 10), 2 / (20 + 20)
        assert smoothed_rates(np.array([10.0, 20.0]), np.array([3.0, 0.0])).tolist() == pytest.approx([5 / 30, 2 / 40])
        # next to no clicks: the average is taken as .001
        assert smoothed_rates(np.array([1000.0]), np.array([0.0])).tolist() == pytest.approx([2 / 3000])


def test_windows_by_hand(summary: Any) -> None:
    rows = [event("a", "view", days, user=f"u{days}") for days in (0.2, 3, 20, 60, 200)]
    rows += [event("b", "view", 20), event("b", "view", 20), {"_id": "b", "event": "view", "user": "v"}]
    found = summary(rows)
    assert found.counts["a"] == {"views": pytest.approx(1 + 1 + 2 / 3 + 1 / 3 + 0)}
    assert found.counts["b"] == {"views": pytest.approx(2 / 3 + 2 / 3 + 1)}  # of nobody: each counts; undated: whole


@pytest.mark.parametrize(
    ("written", "share"),
    [
        ("2025-05-26T00:00:00", 3 / 3),  # of the windows of 7, 30 and 90 days, today being the first of each
        ("2025-05-25T23:59:59", 2 / 3),
        ("2025-05-03T00:00:00Z", 2 / 3),
        ("2025-05-02T23:59:59Z", 1 / 3),
        ("2025-03-04T01:00:00+01:00", 1 / 3),
        ("2025-03-04T00:59:59+01:00", 0 / 3),
    ],
)
def test_where_windows_end(summary: Any, written: str, share: float) -> None:
    for actor in ({"user": "u"}, {}):
        assert summary([{"_id": "a", "event": "view", "time": written, **actor}]).counts == {"a": {"views": share}}


def test_nothing_later_leaks_into_a_feature(summary: Any) -> None:
    rows = [event("a", "view", days, user=f"u{days}") for days in (1, 2, 3)]
    later = [event(doc, "view", -days, user="x") for doc, days in (("a", 0.01), ("a", 5), ("new", 1))]
    before, after = summary(rows), summary([*rows, *later])
    assert after.counts == before.counts
    assert after.account["events"] == {"kept": 3, "later": 3}


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("2025-06-01T09:00:00-05:00", "later"),  # 14:00 in UTC, and now is 12:00
        ("2025-06-01T13:00:00+02:00", "kept"),  # 11:00 in UTC
        ("2025-06-01 11:00:00", "kept"),  # UTC where no zone is named
        ("2025-06-01T13:00:01", "later"),
        ("2025-06-01T13:00+05", "kept"),  # as long as one without a zone
        ("2025-06-01T11:00-05", "later"),
        ("2025-06-01T11:00Z", "kept"),
        (" 2025-06-01 11:00:00\t", "kept"),
        (" 1748775600", "kept"),  # 11:00
        ("1748782800000", "later"),  # 13:00
        ("31 May 2026", "bad"),
        ("soon", "bad"),
        ("", "kept"),
    ],
)
def test_zones_count_and_a_time_that_cannot_be_read_is_not_the_past(summary: Any, written: str, what: str) -> None:
    undated = {"_id": "b", "event": "view", "user": "u"}
    query = {"user_query": "q", "query_id": "1", "query_response_hit_ids": ["c"]}
    found = summary([undated, {"_id": "a", "event": "view", "user": "u", "time": written}, {**query, "time": written}])
    assert found.account["events"] == ({"kept": 3} if what == "kept" else {"kept": 1, what: 2})
    assert set(found.counts) == ({"a", "b", "c"} if what == "kept" else {"b"})


def test_a_count_that_is_no_number_makes_no_star(summary: Any) -> None:
    found = summary([event("a", "view", 1), *(event("b", "view", 1, count=each) for each in ("nan", "inf", "-inf"))])
    assert found.counts == {"a": {"views": 1.0}}
    assert found.account["events"] == {"kept": 1, "bad": 3}


def test_who_clicks_all_day_counts_once_a_day(summary: Any) -> None:
    honest = [event("good", days=day, user=f"u{user}", query="q") for day in (1, 2) for user in range(20)]
    fraud = [event("bad", days=day, user="mallory", query="q") for day in (1, 2) for _ in range(400)]
    found = summary(honest + fraud)
    assert found.counts == {"good": {"clicks": 40.0}, "bad": {"clicks": 2.0}}


def test_robots_are_left_out_by_the_day(summary: Any) -> None:
    robot = [event(f"d{number}", "view", 1, user="crawler") for number in range(ROBOT_EVENTS + 1)]
    found = summary([*robot, event("d1", "view", 3, user="crawler"), event("d2", "view", 1, user="person")])
    assert found.counts == {"d1": {"views": 1.0}, "d2": {"views": 1.0}}
    assert found.account["events"] == {"kept": 2, "robots": ROBOT_EVENTS + 1}


def test_lines_that_are_none_are_counted_and_stop_nothing(summary: Any, tmp_path: Path) -> None:
    bad = ["{broken", "[1]", '"x"', {"event": "click", "time": "2025-05-31"}, {"_id": "a", "user": "u"}]
    found = summary([event("a", user="u"), *bad, event("a", "share", count=-3), event("a", "share", count="many")])
    assert found.counts == {"a": {"clicks": 1.0, "shares": 1.0}}
    assert found.account["events"] == {"kept": 2, "bad": 6}
    with Rejects(tmp_path / "rejects") as rejects:
        counts, account = event_counts(tmp_path / "log.jsonl", rejects, now=NOW)
        assert [each[1:] for each in counts] == list(found.counts.items())
        assert (dict(rejects.counts), rejects.lost) == ({"bad_event": 1}, 0)
    assert account == found.account


def test_user_behavior_insights_are_read(summary: Any) -> None:
    """``ubi_queries`` say what was shown and where, ``ubi_events`` what was done; the query's text is the query's."""
    shown = {
        "query_id": "q1",
        "user_query": "Graph Search",
        "client_id": "c1",
        "application": "shop",
        "timestamp": "2025-05-31T10:00:00.000Z",
        "query_response_hit_ids": ["d1", "d2"],
    }
    done = {
        "action_name": "click",
        "query_id": "q1",
        "client_id": "c1",
        "timestamp": 1748685700000,
        "event_attributes": {"object": {"object_id": "d2", "object_id_field": "_id"}, "position": {"ordinal": 2}},
    }
    found = summary([shown, done])
    assert found.account["events"] == {"kept": 3}
    assert {doc: sorted(counts) for doc, counts in found.counts.items()} == {
        "d1": ["click_rate", "impressions"],
        "d2": ["click_rate", "clicks", "impressions"],
    }
    assert found.counts["d2"]["click_rate"] > found.counts["d1"]["click_rate"]


def test_the_words_typed_are_the_query_not_the_request(summary: Any) -> None:
    """``ubi_queries`` keep the whole request as ``query``; a click that names its words must meet its impression."""
    shown = {"user_query": "graph", "client_id": "c", "query_response_hit_ids": ["d1", "d2"]}
    click = {"action_name": "click", "user_query": "graph", "client_id": "c", "object_id": "d2", "position": 2}
    plain = summary([shown, click])
    asked = summary([{**shown, "query": '{"match": {"title": "graph"}}'}, click])
    assert asked.counts == plain.counts
    assert asked.counts["d2"]["click_rate"] > asked.counts["d1"]["click_rate"]


def test_positions_are_taken_out_of_the_click_rate(summary: Any) -> None:
    """b is liked as much as a, but stands third; everything swaps places now and then."""
    rng = np.random.default_rng(5)
    looks = {1: 1.0, 2: 0.5, 3: 0.25}
    rows = []
    for user in range(3000):
        order = ["a", "c", "b"] if rng.random() < 0.8 else rng.permutation(["a", "b", "c"]).tolist()
        for place, doc in enumerate(order, start=1):
            common = {"user": f"u{user}", "query": "words", "position": place}
            rows.append(event(doc, "impression", 1, **common))
            if rng.random() < looks[place] * {"a": 0.5, "b": 0.5, "c": 0.1}[doc]:
                rows.append(event(doc, "click", 1, **common))
    found = summary(rows)
    rate = {doc: counts["click_rate"] for doc, counts in found.counts.items()}
    assert found.account["propensities"]["looks"] == pytest.approx(looks, abs=0.08)
    assert rate["b"] == pytest.approx(rate["a"], rel=0.2)
    assert rate["c"] < rate["a"] / 3
    assert found.counts["b"]["clicks"] < found.counts["a"]["clicks"] / 2, "raw clicks say otherwise"


def test_csv_and_parquet_say_the_same(tmp_path: Path, summary: Any) -> None:
    rows = [event(f"d{n % 3}", ["click", "view"][n % 2], n, user=f"u{n}", query="q", position=n % 4) for n in range(40)]
    expected = summary(rows)
    table = pa.Table.from_pylist(rows)
    pyarrow.csv.write_csv(table, tmp_path / "log.csv")
    pyarrow.parquet.write_table(table, tmp_path / "log.parquet")
    for name in ("log.csv", "log.parquet"):
        assert is_log(tmp_path / name)
        found = summarise(tmp_path / name, now=NOW)
        assert {doc: pytest.approx(counts) for doc, counts in expected.counts.items()} == found.counts


def test_counts_are_told_from_events(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for text, log in (
        ('{"_id": "a", "views": 3}\n', False),
        ('{"_id": "a", "event": "click"}\n', False),
        ('not json\n{"_id": "a", "event": "click", "time": "2025-01-01"}\n', True),
        ('{"query_id": "q", "user_query": "x", "query_response_hit_ids": []}\n', True),
        ("", False),
    ):
        file.write_text(text, encoding="utf-8")
        assert is_log(file) == log, text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.jsonl", b'{"_id": "a", "event": "view", "time": "2031-01-01"}\n', "holds no event up to 2025-06-01"),
        ("log.jsonl", b"", "it is empty"),
        ("log.parquet", b"PAR1 and no more", "cannot read the events of"),
    ],
)
def test_a_log_without_events_is_told_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        summarise(tmp_path / name, now=NOW)
    assert "\n" not in str(raised.value)


def test_counts_are_written_as_load_reads_them(
    summary: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [event(f"d{n % 3}", ["click", "view"][n % 2], n, user=f"u{n}", query="q", position=n % 4) for n in range(40)]
    rows += [event(f"d{n}", "impression", 2, query="q", position=n) for n in range(4)]
    expected, out = summary(rows), tmp_path / "counts.jsonl"
    main(["counts", "--events", str(tmp_path / "log.jsonl"), "--now", NOW.isoformat(), "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out)["events"] == expected.account["events"]
    with Rejects(tmp_path / "rejects") as rejects:
        counts, account = event_counts(out, rejects, now=NOW)
        found = {doc: counted for _, doc, counted in counts}
        assert (dict(rejects.counts), account) == ({}, {})
    assert found == expected.counts
    assert "click_rate" in found["d1"]


def test_spark_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(SystemExit) as ended:
        main(["counts", "--events", "x.jsonl", "--backend", "spark", "--out", str(tmp_path / "c.jsonl")])
    assert (ended.value.code, list(tmp_path.iterdir())) == (1, [])
    assert "needs the extra 'spark': pip install" in capsys.readouterr().err
