"""The documents of a source into its destination: shards or stretches of them as slices, remembered page by page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from indexer.progress import Advance
from indexer.reindex.bulk import BulkWriter, Operation, Outcome
from indexer.reindex.pages import Sweep
from indexer.reindex.state import RunState

#: Bulk requests that one slice has under way at once, while its next page is being read.
AT_ONCE = 2
#: Stretches of one shard's history copied side by side, where there are workers enough for all of them.
PARTS = 2


class Throttle:
    """At most so many documents per second, over all threads."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, documents: int) -> None:
        """Returns when these documents may go."""
        if self._per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + documents / self._per_second
        time.sleep(max(0.0, start - now))


def copy_slices(
    upto: dict[int, int],
    *,
    sweep: Sweep,
    writer: BulkWriter,
    state: RunState,
    operations: Callable[[list[Any]], list[Operation]],
    executor: Executor,
    workers: int,
    throttle: Throttle,
    advance: Advance,
) -> None:
    """Copies what changed since the remembered positions, up to the given one of each shard.

    A position is remembered once everything before it is in the destination: a run that is killed repeats a page.

    :param upto: shard -> the last position to copy.
    :param executor: its threads send the requests; slices wait for them and need threads of their own, ``workers``.
    :param operations: what to write for the documents of a page.
    :param advance: told how many positions of the shards' histories more are done.
    :raises EngineError: the engine refused, or stayed away for minutes.
    """
    stop = threading.Event()

    def run(stretch: list[int]) -> None:
        shard, done, last = stretch
        for page in _ahead(sweep.pages(shard, done, last), executor):
            if stop.is_set():
                return
            throttle.wait(len(page.hits))
            outcome = settled(send(operations(page.hits), writer, executor))
            state.advance(stretch, page.upto, read=len(page.hits), written=outcome.done, rejected=outcome.refused)
            advance(page.upto - done)
            done = page.upto

    parts = PARTS if PARTS * len(upto) <= workers else 1
    while stretches := state.plan(upto, parts):
        with ThreadPoolExecutor(workers, "slice") as pool:
            slices = [pool.submit(run, stretch) for stretch in stretches]
            try:
                finished, _ = wait(slices, return_when=FIRST_EXCEPTION)
            finally:
                stop.set()
            for each in finished:
                each.result()
        stop.clear()


def send(operations: list[Operation], writer: BulkWriter, executor: Executor) -> list[Future[Outcome]]:
    """A page under way in a few requests at once; :func:`settled` waits for them."""
    share = -(-len(operations) // AT_ONCE) if operations else 1
    parts = [operations[start : start + share] for start in range(0, len(operations), share)]
    return [executor.submit(writer.write, part) for part in parts]


def settled(sent: list[Future[Outcome]]) -> Outcome:
    """What became of a page.

    :raises EngineError: the engine refused, or stayed away for minutes.
    """
    outcome = Outcome()
    for future in sent:
        outcome += future.result()
    return outcome


def _ahead(pages: Iterator[Any], executor: Executor) -> Iterator[Any]:
    """The pages, each fetched while the one before it is worked on."""
    fetched = executor.submit(next, pages, None)
    while (page := fetched.result()) is not None:
        fetched = executor.submit(next, pages, None)
        yield page
