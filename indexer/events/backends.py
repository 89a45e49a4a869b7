"""What runs the expressions of ``log`` and ``summary``: DuckDB on this machine, or Spark on as many as it is given.

Both read the same texts the same way. Where they differ by nature (what is a time, what is a whole number) each says
it in its own expression; everything else is Ibis's and is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from indexer.lines import numbered_lines, parse_json
from rerank_plugin.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa
    from ibis import Table

BACKENDS = ("duckdb", "spark")
#: Memory of DuckDB's aggregation; what does not fit goes to a temporary folder.
MEMORY = "1GB"
#: Without a zone, a plain timestamp would take 09:00-05:00 for 09:00 in DuckDB; with one it is 14:00.
INSTANT = "timestamp('UTC')"
#: Lines that are looked at for the names a log uses: every column more that is asked for is time.
_NAMES_FROM = 10_000


class Backend(Protocol):
    """Where a log is read and aggregated."""

    def table(self, location: str, names: Collection[str]) -> Table:
        """The file's columns: of CSV and Parquet all, of JSON lines those of ``names`` that its first 10,000 lines use.

        They are texts, but ``event_attributes`` (of User Behavior Insights) and ``query_response_hit_ids``, texts in
        an array. A line that is no JSON object has nothing in any column.

        :raises DataError: there is no such file.
        """

    def kept(self, name: str, table: Table) -> Table:
        """The rows of an expression, computed once and held until the backend is closed."""

    def fetched(self, table: Table) -> pa.Table:
        """The rows of an expression, in this process's memory."""

    def instant(self, text: Any) -> Any:
        """The instant that an ISO 8601 text names, in UTC where it names no zone; null for anything else."""

    def instant_at(self, milliseconds: Any) -> Any:
        """The instant so long after 1970."""

    def whole(self, text: Any) -> Any:
        """The whole number that a text names, 2.0 too; null for anything else."""

    def close(self) -> None:
        """Lets go of everything."""


def open_backend(name: str) -> Backend:
    """One of ``BACKENDS``.

    :raises MissingExtraError: its libraries are not installed.
    :raises ConfigError: Spark does not start.
    """
    return Spark() if name == "spark" else DuckDB()


class DuckDB:
    """DuckDB in this process, bounded in memory."""

    def __init__(self) -> None:
        try:
            import ibis
        except ImportError as error:
            raise MissingExtraError("event logs", "index") from error
        self._connection: Any = ibis.duckdb.connect(memory_limit=MEMORY, preserve_insertion_order=False)

    def table(self, location: str, names: Collection[str]) -> Table:
        try:
            open(location, "rb").close()
        except OSError as error:
            raise DataError(f"cannot read the events of {location}: {error.strerror}; check the path") from error
        kind = Path(location).suffix.lower()
        if kind == ".parquet":
            return self._connection.read_parquet(location)
        if kind == ".csv":
            return self._connection.read_csv(location, all_varchar=True)
        types = {
            "event_attributes": 'STRUCT(object STRUCT(object_id VARCHAR), "position" STRUCT(ordinal VARCHAR))',
            "query_response_hit_ids": "VARCHAR[]",
        }
        lines = (line for _, line in numbered_lines(Path(location)))
        columns = {name: types.get(name, "VARCHAR") for name in _used(lines, names)}
        return self._connection.read_json(location, format="newline_delimited", ignore_errors=True, columns=columns)

    def kept(self, name: str, table: Table) -> Table:
        return self._connection.create_table(name, table, temp=True)

    def fetched(self, table: Table) -> pa.Table:
        # Ibis's own to_pyarrow imports pandas on the way.
        return self._connection.con.sql(self._connection.compile(table)).to_arrow_table()

    def instant(self, text: Any) -> Any:
        return text.try_cast(INSTANT)

    def instant_at(self, milliseconds: Any) -> Any:
        return milliseconds.as_timestamp("ms").cast(INSTANT)

    def whole(self, text: Any) -> Any:
        return text.try_cast("int64")

    def close(self) -> None:
        self._connection.disconnect()


class Spark:
    """The Spark that PySpark's own settings name (``spark-submit``, ``SPARK_CONF_DIR``), else one on this machine.

    A session that the process has already is used and left running.
    """

    def __init__(self) -> None:
        try:
            import ibis
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise MissingExtraError("--backend spark", "spark") from error
        #: Whether the session is somebody else's.
        self._lasts = SparkSession.getActiveSession() is not None
        builder = SparkSession.builder.appName("rerank-index").config("spark.ui.showConsoleProgress", "false")
        try:
            self._session = builder.getOrCreate()
        except PySparkException as error:
            raise ConfigError(f"Spark does not start: {str(error).splitlines()[0]}; it needs Java 17") from error
        self._connection: Any = ibis.pyspark.connect(self._session)  # sets the zone to UTC

    def table(self, location: str, names: Collection[str]) -> Table:
        kind = location.rpartition(".")[2].lower()
        if kind == "parquet":
            return self._connection.read_parquet(location)
        if kind == "csv":  # quotes are doubled and may hold lines, as DuckDB has it
            return self._connection.read_csv(location, inferSchema=False, escape='"', multiLine=True)
        types = {
            "event_attributes": "STRUCT<object: STRUCT<object_id: STRING>, position: STRUCT<ordinal: STRING>>",
            "query_response_hit_ids": "ARRAY<STRING>",
        }
        first = self._session.read.text(location).limit(_NAMES_FROM).toLocalIterator()
        used = _used((row.value.encode() for row in first), names)
        columns = ", ".join(f"`{name}` {types.get(name, 'STRING')}" for name in used)
        return self._connection.read_json(location, schema=columns)

    def kept(self, name: str, table: Table) -> Table:
        frame = self._session.sql(self._connection.compile(table)).cache()
        frame.createOrReplaceTempView(name)
        return self._connection.table(name)

    def fetched(self, table: Table) -> pa.Table:
        return self._session.sql(self._connection.compile(table)).toArrow()

    def instant(self, text: Any) -> Any:
        import ibis

        # Spark takes 2025 for a date, 10:00 for today's, and no zone after a time without seconds.
        dated = text.re_search(r"^\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}.*)?$")
        whole = text.re_replace(r"^([^T ]+[T ]\d{1,2}:\d{2})([^:\d].*)$", "$1:00$2")
        return ibis.cases((dated, whole.try_cast(INSTANT)), else_=ibis.null(INSTANT))

    def instant_at(self, milliseconds: Any) -> Any:
        return (milliseconds / 1000).cast(INSTANT)  # Spark counts seconds and their fractions

    def whole(self, text: Any) -> Any:
        import ibis

        return ibis.coalesce(text.try_cast("int64"), text.try_cast("float64").round().cast("int64"))

    def close(self) -> None:
        self._session.catalog.clearCache()
        if not self._lasts:
            self._session.stop()


def _used(lines: Iterable[bytes], names: Collection[str]) -> list[str]:
    """The names that the first lines use, in the order of ``names``."""
    used: set[str] = set()
    for line in islice(lines, _NAMES_FROM):
        try:
            value = parse_json(line)
        except ValueError:
            continue
        used.update(value if isinstance(value, dict) else ())
    return [name for name in names if name in used] or ["_id"]


def error_line(error: Exception) -> str:
    """What a backend says of its failure, in one line."""
    return " ".join(str(error).split("\n", 2)[:2])[:300]
