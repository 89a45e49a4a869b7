"""The table of queries and documents: by hand, positions taken out, people protected, and as judgments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from event_samples import NOW, event
from indexer.cli import main
from indexer.events.clicks import ClickTable, _rows, click_table, write_judgments
from indexer.events.summary import Placed
from rerank_plugin.errors import DataError


def log(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def shown(
    doc: str, place: int, user: str, *, clicked: bool, query: str = "Words ", **more: Any
) -> list[dict[str, Any]]:
    common = {"user": user, "query": query, "position": place, **more}
    return [event(doc, "impression", **common)] + ([event(doc, **common)] if clicked else [])


def by_row(found: ClickTable) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["query"], row["_id"]): row for row in found.table.to_pylist()}


def test_by_hand(tmp_path: Path) -> None:
    """One position, so every impression is a look: average 3 clicks / 10 looks, (2 + clicks) / (2 / .3 + looks)."""
    rows = [each for n in range(5) for each in shown("a", 1, f"u{n}", clicked=n < 3)]
    rows += [each for n in range(5) for each in shown("b", 1, f"v{n}", clicked=False, query="WORDS")]
    found = click_table(log(tmp_path, rows), now=NOW, least_actors=3)
    assert found.average == pytest.approx(0.3)
    first, second = found.table.to_pylist()
    assert (first["query"], first["_id"], second["_id"]) == ("words", "a", "b")
    assert [first[name] for name in ("impressions", "looks", "clicks")] == pytest.approx([5, 5, 3])
    assert first["attraction"] == pytest.approx(5 / (2 / 0.3 + 5))
    assert second["attraction"] == pytest.approx(2 / (2 / 0.3 + 5))


def test_attraction_is_a_share() -> None:
    """More clicks than looks: the propensity of its position is a mean over all documents."""
    numbers, counts = np.zeros(1, dtype=np.int64), np.array([40.0])
    placed = Placed(["q"], numbers, ["a"], numbers, counts, counts / 4, counts, {})
    assert _rows(placed, [True])[0].to_pylist()[0]["attraction"] == 1.0


def simulated(likes: dict[str, float], looks: dict[int, float]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for user in range(2500):
        order = list(likes) if rng.random() < 0.8 else rng.permutation(list(likes)).tolist()
        for place, doc in enumerate(order, start=1):
            rows += shown(doc, place, f"u{user}", clicked=bool(rng.random() < looks[place] * likes[doc]))
    return rows


def test_what_stands_low_and_is_liked_more_comes_first(tmp_path: Path) -> None:
    file = log(tmp_path, simulated({"top": 0.3, "bad": 0.05, "low": 0.5}, {1: 1.0, 2: 0.5, 3: 0.25}))
    rows = by_row(click_table(file, now=NOW, least_actors=5))
    assert [doc for _, doc in rows] == ["low", "top", "bad"]
    assert rows["words", "low"]["attraction"] == pytest.approx(0.5, abs=0.12)
    raw = {doc: row["clicks"] / row["impressions"] for (_, doc), row in rows.items()}
    assert raw["low"] < raw["top"], "raw rates say otherwise"


def test_queries_of_few_people_and_what_comes_later_are_left_out(tmp_path: Path) -> None:
    rows = [each for n in range(5) for each in shown("a", 1, f"u{n}", clicked=True)]
    rows += [each for _ in range(9) for each in shown("b", 1, "me", clicked=True, query="my illness")]
    rows += [each for n in range(4) for each in shown("b", 1, f"u{n}", clicked=True, query="four")]
    future = [each for n in range(9) for each in shown("z", 1, f"u{n}", clicked=True, query="four", days=-1.0)]
    found = click_table(log(tmp_path, rows + future), now=NOW, least_actors=5)
    assert set(by_row(found)) == {("words", "a")}
    assert (found.account["queries"], found.account["rare_queries"]) == (1, 2)
    assert found.account["events"]["later"] == 18
    everything = click_table(log(tmp_path, rows + future), now=NOW, least_actors=0)
    assert set(by_row(everything)) == {("words", "a"), ("my illness", "b"), ("four", "b")}


def test_spellings_of_a_query_are_one_query(tmp_path: Path) -> None:
    """Its impressions are under one spelling, its clicks under two, and one person wrote it both ways."""
    rows = [each for n in range(9) for each in shown("a", 1, f"u{n}", clicked=False)]
    rows += [
        event("a", user=f"u{n}", query=query, position=1) for n, query in ((1, "words"), (1, "WORDS"), (2, " Words"))
    ]
    file = log(tmp_path, rows)
    assert by_row(click_table(file, now=NOW, least_actors=2))["words", "a"]["clicks"] == 3.0
    assert not by_row(click_table(file, now=NOW, least_actors=3))


def test_what_was_clicked_but_never_shown_has_no_row(tmp_path: Path) -> None:
    rows = [*shown("a", 1, "u1", clicked=True), event("b", user="u1", query="words", position=1)]
    assert set(by_row(click_table(log(tmp_path, rows), now=NOW, least_actors=0))) == {("words", "a")}


def test_one_who_clicks_all_day_counts_once(tmp_path: Path) -> None:
    honest = [each for n in range(10) for each in shown("a", 1, f"u{n}", clicked=n < 5)]
    fraud = [each for _ in range(200) for each in shown("b", 1, "mallory", clicked=True)]
    rows = by_row(click_table(log(tmp_path, honest + fraud), now=NOW, least_actors=2))
    assert rows["words", "b"]["clicks"] == 1.0
    assert rows["words", "a"]["attraction"] > rows["words", "b"]["attraction"]


def test_from_a_log_to_what_training_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rerank_plugin.evaluation.collection import read_qrels

    file = log(tmp_path, simulated({"top": 0.3, "bad": 0.05, "low": 0.5}, {1: 1.0, 2: 0.5, 3: 0.25}))
    folder = tmp_path / "beir"
    told = ["clicks", "--events", str(file), "--now", NOW.isoformat(), "--json", "--out"]
    main([*told, str(tmp_path / "c.parquet"), "--judgments", str(folder)])
    account = json.loads(capsys.readouterr().out)
    assert account["judgments"] == {"queries": 1, "judgments": 3}
    (query,) = [json.loads(line) for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    assert query["text"] == "words"
    assert read_qrels(folder / "qrels" / "train.tsv") == {query["_id"]: {"low": 1, "top": 1, "bad": 0}}

    main([*told, str(tmp_path / "c.csv")])
    main([*told, str(tmp_path / "c.jsonl")])
    table = pyarrow.parquet.read_table(tmp_path / "c.parquet").to_pylist()
    assert [row["_id"] for row in table] == ["low", "top", "bad"]
    assert [json.loads(line) for line in (tmp_path / "c.jsonl").read_text("utf-8").splitlines()] == table
    assert [row["_id"] for row in pyarrow.csv.read_csv(tmp_path / "c.csv").to_pylist()] == ["low", "top", "bad"]


@pytest.mark.parametrize(
    ("rows", "more", "line"),
    [
        ([event("a", user="u", query="q")], [], "has no impression with a query and a position"),
        (shown("a", 1, "u", clicked=True), [], "was clicked by 5 different people; nothing was written"),
        (shown("a", 1, "u", clicked=True), ["--out", "x.xls"], "x.xls must end in .parquet, .csv, .jsonl"),
        ([], ["--events", "none.jsonl"], "cannot read the events of none.jsonl: No such file"),
        (shown("a", 1, "u", clicked=True), ["--least-actors", "1", "--judgments", "j"], "nothing to learn"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    rows: list[dict[str, Any]], more: list[str], line: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    file = log(tmp_path, rows)
    with pytest.raises(SystemExit) as ended:
        main(["clicks", "--events", str(file), "--now", NOW.isoformat(), "--out", "c.csv", *more])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert line in said.err
    assert said.err.count("\n") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.jsonl"]


def test_what_lies_between_is_not_judged(tmp_path: Path) -> None:
    """The average is 4 / 20: good has 5 / 15, middle 3 / 13 with one click, bad 2 / 22."""
    rows: list[dict[str, Any]] = []
    for doc, looks, clicks in (("good", 5, 3), ("middle", 3, 1), ("bad", 12, 0)):
        rows += [each for n in range(looks) for each in shown(doc, 1, f"u{n}", clicked=n < clicks)]
    found = click_table(log(tmp_path, rows), now=NOW, least_actors=3)
    assert write_judgments(found, tmp_path / "j") == {"queries": 1, "judgments": 2}
    assert [line.split("\t")[1:] for line in (tmp_path / "j/qrels/train.tsv").read_text("utf-8").splitlines()[1:]] == [
        ["good", "1"],
        ["bad", "0"],
    ]


def test_judgments_that_are_there_are_kept(tmp_path: Path) -> None:
    rows = [each for n in range(5) for each in shown("a", 1, f"u{n}", clicked=True)]
    rows += [each for n in range(5) for each in shown("b", 1, f"u{n}", clicked=False)]
    found = click_table(log(tmp_path, rows), now=NOW, least_actors=5)
    assert write_judgments(found, tmp_path / "j") == {"queries": 1, "judgments": 2}
    with pytest.raises(DataError, match=r"queries\.jsonl exists; name a folder without judgments"):
        write_judgments(found, tmp_path / "j")
