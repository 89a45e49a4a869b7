"""The index that a load makes: created, filled in bulk requests that adapt, counted, and described at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from indexer.progress import Advance
from indexer.reindex.bulk import BulkWriter, Operation, Outcome
from indexer.reindex.copying import AT_ONCE, send, settled
from indexer.reindex.pages import MOST_PER_PAGE, PAGE_BYTES
from indexer.reindex.target import REFRESH, REPLICAS, WHILE_LOADING, put_back
from indexer.reindex.wire import Wire, patient
from indexer.rejects import Rejects
from indexer.writer import engine_errors
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import EngineError

#: Key of ``_meta`` under which an unfinished index has the id of its run.
RUN_KEY = "rerank_run"
#: Pages between two refreshes of an engine that keeps writes in memory until then.
PAGES_IN_MEMORY = 6


class NewIndex:
    """One new index of one engine."""

    def __init__(self, client: Any, index: str) -> None:
        """Writes to ``index`` through an opensearch-py client."""
        self._client = client
        self._index = index

    def standing(self) -> str | None:
        """The run whose index is there: ``""`` where it is another's, ``None`` where there is none.

        Asked before any work, so that the wait is not in vain.

        :raises EngineError: it is an alias, or the engine cannot be reached.
        """
        with engine_errors(f"looking for the index {self._index}"):
            if not self._client.indices.exists(index=self._index):
                return None
            found = self._client.indices.get(index=self._index)
        if self._index not in found:
            raise EngineError(f"{self._index} is an alias; name a new index and switch the alias to it afterwards")
        meta = (found[self._index].get("mappings") or {}).get("_meta") or {}
        finished = meta.get("rerank")
        return str(meta.get(RUN_KEY) or (finished.get("run_id") if isinstance(finished, dict) else None) or "")

    def create(self, body: dict[str, Any], *, run_id: str, replace: bool) -> None:
        """Makes the index, in the place of an older one if asked to.

        :raises EngineError: the engine refused.
        """
        body = {**body, "mappings": {**body["mappings"], "_meta": {RUN_KEY: run_id}}}
        with engine_errors(f"creating the index {self._index}"):
            if replace and patient(lambda: self._client.indices.exists(index=self._index)):
                patient(lambda: self._client.indices.delete(index=self._index, ignore=[404]))
            patient(lambda: self._client.indices.create(index=self._index, body=body))

    def set_aside(self) -> dict[str, Any]:
        """Refreshes and copies as the engine and its templates have them for the index; ``None`` is the default.

        :raises EngineError: the engine refused, or stayed away.
        """
        with engine_errors(f"reading the settings of {self._index}"):
            found = patient(lambda: self._client.indices.get_settings(index=self._index, flat_settings=True))
        settings = found[self._index]["settings"]
        return {key: settings.get(key) for key in (REFRESH, *REPLICAS)}

    def hurry(self, aside: Mapping[str, Any]) -> None:
        """Does without these settings while documents are written; safe to do again.

        :raises EngineError: the engine refused, or stayed away.
        """
        body = {key: WHILE_LOADING[key] for key in aside}
        with engine_errors(f"setting refreshes and replicas of {self._index} aside"):
            patient(lambda: self._client.indices.put_settings(index=self._index, body=body))

    def put_back(self, aside: Mapping[str, Any]) -> None:
        """The settings as they were, and every copy that can be made is ready.

        :raises EngineError: the engine refused, or copies were not ready in time.
        """
        put_back(Wire.over(self._client), self._index, aside)

    def write(
        self,
        operations: Iterable[Operation],
        rejects: Rejects,
        *,
        lasting: bool,
        done: Callable[[int, Outcome], None],
        advance: Advance,
    ) -> None:
        """Writes the documents, a few requests at once, to an engine in this process one after the other.

        There every thread waits for the same lock, and documents whose scores are equal stand in the order of indexing:
        two loads of the same documents must find the same.

        :param lasting: whether what the engine acknowledged outlives its end; else it runs in this process, and is
            asked to refresh before.
        :param done: told how many documents more, in order, will never have to be written again, and their outcome.
        :param advance: told how many documents more were answered for.
        :raises EngineError: the engine refused the index, or stayed away for minutes.
        """
        writer = BulkWriter(Wire.over(self._client), self._index, rejects, pipelines=True)
        waiting, outcome, pages = 0, Outcome(), 0

        def note() -> None:
            nonlocal waiting, outcome
            if not lasting:
                self.refresh()
            done(waiting, outcome)
            waiting, outcome = 0, Outcome()

        with ThreadPoolExecutor(2 * AT_ONCE if lasting else 1, "request") as executor:
            for count, sent in _ahead(_pages(operations), writer, executor):
                outcome += settled(sent)
                waiting, pages = waiting + count, pages + 1
                advance(count)
                if lasting or pages % PAGES_IN_MEMORY == 0:
                    note()
        if waiting:
            note()

    def refresh(self) -> None:
        """Makes everything written so far visible.

        :raises EngineError: the engine refused, or stayed away.
        """
        with engine_errors(f"refreshing {self._index}"):
            patient(lambda: self._client.indices.refresh(index=self._index))

    def count(self) -> int:
        """Documents of the index after a refresh.

        :raises EngineError: the engine refused, or stayed away.
        """
        self.refresh()
        with engine_errors(f"counting the documents of {self._index}"):
            return int(patient(lambda: self._client.count(index=self._index))["count"])

    def describe(self, meta: IndexMeta) -> None:
        """Puts ``meta`` under ``_meta.rerank``: the last step, so that an index without it is an unfinished one.

        :raises EngineError: the engine refused.
        """
        body = {"_meta": {"rerank": meta.to_json()}}
        with engine_errors(f"describing the index {self._index}"):
            patient(lambda: self._client.indices.put_mapping(index=self._index, body=body))


def _pages(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """The operations in lists of about ``PAGE_BYTES``."""
    page: list[Operation] = []
    size = 0
    for operation in operations:
        if page and (size + len(operation.body) > PAGE_BYTES or len(page) == MOST_PER_PAGE):
            yield page
            page, size = [], 0
        page.append(operation)
        size += len(operation.body)
    if page:
        yield page


def _ahead(
    pages: Iterator[list[Operation]], writer: BulkWriter, executor: ThreadPoolExecutor
) -> Iterator[tuple[int, list[Future[Outcome]]]]:
    """How many documents each page has, and its requests; the next page is under way before one is given out."""
    before: tuple[int, list[Future[Outcome]]] | None = None
    for page in pages:
        sent = (len(page), send(page, writer, executor))
        if before is not None:
            yield before
        before = sent
    if before is not None:
        yield before
