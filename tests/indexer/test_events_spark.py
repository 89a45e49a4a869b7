"""Spark and DuckDB on the same logs: the same events, counts and click tables."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from event_samples import NOW, event
from harness.java import java_home
from indexer.cli import main
from indexer.events.clicks import click_table
from indexer.events.summary import ROBOT_EVENTS, summarise
from rerank_plugin.errors import DataError

spark_sql = pytest.importorskip("pyspark.sql", reason="the extra spark is not installed")
#: Hadoop's client, which Spark 4.0 reads files with, asks for what Java 24 took away.
JAVA = java_home(17, 23)
if JAVA is None:
    pytest.skip("Spark needs a Java from 17 to 23", allow_module_level=True)
# Py4J leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One session for all: the backend leaves a session running that it found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(JAVA))
        yield from _session(tmp_path_factory.mktemp("warehouse"))


def _session(warehouse: Path) -> Iterator[Any]:
    builder = spark_sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "4")
    builder = builder.config("spark.sql.warehouse.dir", str(warehouse))
    session = builder.getOrCreate()
    yield session
    session.stop()
    del session
    gc.collect()  # here, where warnings of Py4J's sockets are let pass


def searches(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(20261)
    rows = []
    for n in range(count):
        for place, doc in enumerate(rng.permutation(8)[:4].tolist(), start=1):
            common = {"user": f"u{n % 40}", "query": ["Words", " words ", "other"][n % 3], "position": place}
            days = float(rng.uniform(-3, 100))
            rows.append(event(f"d{doc}", "impression", days, **common))
            if rng.random() < 0.6 / place:
                rows.append(event(f"d{doc}", "click", days, **common))
    return rows


#: Times as they are met, and as they are not.
TIMES = [
    "2025-06-01T09:00:00-05:00", "2025-06-01T13:00:00+02:00", "2025-06-01 11:00:00", "2025-06-01T13:00:01",
    "2025-06-01T13:00+05", "2025-06-01T11:00-05", "2025-06-01T11:00Z", "2025-06-01T11:00", "2025-05-31",
    "2025-05-31T11:00:00.123456Z", "2025-05-31T11:00:00.5+0530", " 2025-06-01 11:00:00\t",
    " 1748775600", "1748782800000", "1748775600123", "1748775600.0", "2025", "20250531",
    "10:00:00", "2025-05", "31 May 2026", "soon", "today", "", "  ",
]  # fmt: skip


def mixed() -> list[Any]:
    """What the readers of both have to agree on, line by line."""
    rows: list[Any] = [{"_id": f"t{n}", "event": "view", "time": time} for n, time in enumerate(TIMES)]
    rows += ["{broken", "[1]", '"x"', "", {"event": "click", "time": "2025-05-31"}, {"_id": "a", "user": "u"}]
    rows += [event("a", "share", count=count) for count in (2, 0.5, "3", "nan", "inf", -1, "many", None)]
    rows += [event(1, "views", position=place, query="q", user="p") for place in (1, "2", "3.0", "x", None)]
    rows += [
        {"_id": "b", "event": "view"},
        {"_id": "b", "event": "view", "user": "u"},
        {"_id": "b", "action_name": "view"},
    ]
    rows += [event("ö", "click", 0.1, user="é", query="Straße ")] * 3
    rows += [event(f"d{n % 3}", "view", 1, user="crawler") for n in range(ROBOT_EVENTS + 1)]
    return rows


def insights() -> list[dict[str, Any]]:
    shown = [
        {
            "query_id": f"q{n}",
            "user_query": f"Graph {n % 2}",
            "query": {"match": {"title": "graph"}},
            "client_id": f"c{n}",
            "timestamp": (NOW - timedelta(hours=n)).isoformat(),
            "query_response_hit_ids": ["d1", "d2", "d3"][: n % 4],
        }
        for n in range(12)
    ]
    done = [
        {
            "action_name": "click",
            "query_id": f"q{n}",
            "client_id": f"c{n}",
            "timestamp": 1748685700000,
            "event_attributes": {"object": {"object_id": "d2"}, "position": {"ordinal": 2}},
        }
        for n in range(0, 12, 3)
    ]
    return [*shown, *done]


def written(folder: Path, rows: list[Any]) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return file


def both(file: Path) -> tuple[Any, Any]:
    duckdb, spark = (summarise(file, now=NOW, backend=each) for each in ("duckdb", "spark"))
    assert spark.account == duckdb.account
    assert {doc: pytest.approx(counts, rel=1e-9) for doc, counts in duckdb.counts.items()} == spark.counts
    return duckdb, spark


@pytest.mark.parametrize("rows", [searches(300), mixed(), insights()], ids=["searches", "mixed", "insights"])
def test_counts_are_the_same(tmp_path: Path, rows: list[Any]) -> None:
    found, _ = both(written(tmp_path, rows))
    assert len(found.counts) > 2


def test_csv_and_parquet_too(tmp_path: Path) -> None:
    rows = [{**each, "query": f'a "quoted", {each["query"]}\nline'} for each in searches(40)]
    table = pa.Table.from_pylist(rows)
    pyarrow.csv.write_csv(table, tmp_path / "log.csv")
    pyarrow.parquet.write_table(table, tmp_path / "log.parquet")
    csv, parquet = both(tmp_path / "log.csv")[1], both(tmp_path / "log.parquet")[1]
    assert parquet.counts == {doc: pytest.approx(counts, rel=1e-9) for doc, counts in csv.counts.items()}


def test_click_tables_are_the_same(tmp_path: Path) -> None:
    file = written(tmp_path, searches(300))
    duckdb, spark = (click_table(file, now=NOW, least_actors=3, backend=each) for each in ("duckdb", "spark"))
    assert len(spark.table) == 16
    assert spark.account == duckdb.account
    for name in spark.table.column_names:
        mine, other = (each.table[name].to_pylist() for each in (spark, duckdb))
        assert mine == (other if name in ("query", "_id") else pytest.approx(other, rel=1e-9))


def test_the_command_counts_on_spark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, told = written(tmp_path, searches(40)), {}
    for backend in ("duckdb", "spark"):
        out = tmp_path / f"{backend}.jsonl"
        main(["counts", "--events", str(file), "--now", NOW.isoformat(), "--backend", backend, "--out", str(out)])
        told[backend] = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [each.pop("_id") for each in told["spark"]] == [each.pop("_id") for each in told["duckdb"]]
    assert told["spark"] == [pytest.approx(each, rel=1e-9) for each in told["duckdb"]]
    assert [list(each) for each in told["spark"]] == [sorted(each) for each in told["duckdb"]]


def test_a_log_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the events of .*nowhere.*Path does not exist") as raised:
        summarise(tmp_path / "nowhere.jsonl", now=NOW, backend="spark")
    assert "\n" not in str(raised.value)
