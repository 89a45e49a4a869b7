"""Event logs that live in the engine: its indexes of User Behavior Insights, copied to a file that ``log`` reads."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from indexer.progress import Progress
from indexer.reindex.wire import REQUEST_TIMEOUT_S, patient, quiet
from indexer.writer import engine_errors
from rerank_plugin.engines.connect import EMBEDDED_PREFIX, connect
from rerank_plugin.errors import ConfigError, DataError, EngineError

T = TypeVar("T")

#: Documents of one answer: a query may list hundreds of hits, so this bounds an answer to some megabytes.
PAGE = 1_000
#: Every page asks for that much again; longer than the patience with a busy engine.
KEEP_ALIVE = "10m"
#: What the reader of logs knows. ``query`` is left out: there UBI keeps the whole request, not the words typed.
FIELDS = (
    "action_name",
    "timestamp",
    "client_id",
    "session_id",
    "query_id",
    "user_query",
    "query_response_hit_ids",
    "event_attributes.object.object_id",
    "event_attributes.position.ordinal",
)
#: Every line has all of these: the reader takes the names of a log from its first lines, which are all queries.
_KEYS = tuple(dict.fromkeys(each.partition(".")[0] for each in FIELDS))


@dataclass(frozen=True, slots=True)
class Ubi:
    """The two indexes of User Behavior Insights; aliases and patterns do too."""

    queries: str = "ubi_queries"
    events: str = "ubi_events"

    def __str__(self) -> str:
        return f"{self.queries} and {self.events}"


@contextmanager
def events_file(given: Path | Ubi | None, engine: str, progress: Progress) -> Iterator[Path | None]:
    """The file of ``--events``: the one that was given, or a temporary copy of the engine's indexes.

    :param engine: the URL of the engine that holds the indexes.
    :raises ConfigError: the engine is the embedded one, which has no point in time to read an index by.
    :raises DataError: both indexes are empty.
    :raises EngineError: one is missing or may not be read, or the engine refused or stayed away.
    """
    if not isinstance(given, Ubi):
        yield given
        return
    if engine.startswith(EMBEDDED_PREFIX):
        raise ConfigError("--events ubi needs a server, http(s)://host:9200; give events to the embedded one as a file")
    quiet()
    with tempfile.TemporaryDirectory(prefix="rerank-ubi-") as folder:
        file = Path(folder) / "ubi.jsonl.gz"
        with closing(connect(engine, timeout=REQUEST_TIMEOUT_S)) as client:
            copy_events(client, given, file, progress)
        try:
            yield file
        except DataError as error:  # nobody knows the temporary file by its name
            raise DataError(str(error).replace(str(file), str(given))) from error


def copy_events(client: Any, ubi: Ubi, file: Path, progress: Progress) -> None:
    """Writes what both indexes hold as gzipped JSON lines, queries first.

    :raises DataError: both are empty.
    :raises EngineError: one is missing or may not be read, or the engine refused or stayed away.
    """
    lines = 0
    # The fastest compression: the file is read once and thrown away.
    with gzip.open(file, "wb", compresslevel=1) as out, progress.step("reading events", None) as advance:
        for index in (ubi.queries, ubi.events):
            for page in _pages(client, index):
                for source in page:
                    out.write(json.dumps({key: source.get(key) for key in _KEYS}).encode() + b"\n")
                lines += len(page)
                advance(len(page))
    if not lines:
        raise DataError(f"{ubi} hold nothing yet; is User Behavior Insights switched on for the searches?")


def _pages(client: Any, index: str) -> Iterator[list[dict[str, Any]]]:
    """The documents of an index as of one point in time, some fields of each."""
    # A part of the shards would be taken for the whole log, so nothing partial is put up with.
    keep = {"keep_alive": KEEP_ALIVE, "allow_partial_pit_creation": "false"}
    point = _ask(index, lambda: client.create_pit(index=index, params=keep))["pit_id"]
    try:
        # _doc is the order on disk, which is quick; _shard_doc tells equal places of several shards apart.
        body: dict[str, Any] = {
            "size": PAGE,
            "sort": [{"_doc": "asc"}, {"_shard_doc": "asc"}],
            "_source": list(FIELDS),
            "track_total_hits": False,
        }
        while True:
            body["pit"] = {"id": point, "keep_alive": KEEP_ALIVE}
            found = _ask(index, lambda: client.search(body=body, params={"allow_partial_search_results": "false"}))
            hits = found["hits"]["hits"]
            if not hits:
                return
            yield [hit.get("_source") or {} for hit in hits]
            point = found.get("pit_id", point)
            body["search_after"] = hits[-1]["sort"]
    finally:
        _forget(client, point)


def _ask(index: str, call: Callable[[], T]) -> T:
    """What ``call`` returns, asked again while the engine is only busy; usual refusals in words of their own."""
    from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError

    doing = f"reading {index}"
    with engine_errors(doing):
        try:
            return patient(call)
        except NotFoundError as error:
            if error.error != "index_not_found_exception":  # the point in time was lost with its node
                raise
            raise EngineError(
                f"{doing}: there is no such index; name yours with --events ubi:QUERIES,EVENTS"
            ) from error
        except AuthorizationException as error:
            raise EngineError(
                f"{doing}: not permitted; the user of --engine needs indices:data/read/search and "
                f"indices:data/read/point_in_time/* on it"
            ) from error
        except RequestError as error:
            if "_shard_doc" not in str(error.info):
                raise
            raise EngineError(f"{doing}: this needs OpenSearch 3.3 or later; give an export as a file") from error


def _forget(client: Any, point: str) -> None:
    """Lets a point in time go; one that stays costs the engine its ``KEEP_ALIVE`` and us nothing."""
    from opensearchpy.exceptions import OpenSearchException

    with suppress(OpenSearchException):
        client.delete_pit(body={"pit_id": [point]})
