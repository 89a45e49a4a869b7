"""``rerank-index reindex``: the steps, in order, each of which may be cut off and taken up again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.progress import Progress
from indexer.reindex import target
from indexer.reindex.alias import Switch, plan_switch
from indexer.reindex.bulk import BulkWriter, Operation, action
from indexer.reindex.copying import AT_ONCE, Throttle, copy_slices
from indexer.reindex.difference import Difference
from indexer.reindex.enricher import Enricher
from indexer.reindex.pages import PageSize, Sweep, checkpoints, refresh, safe_positions
from indexer.reindex.preparation import open_run
from indexer.reindex.state import RunState
from indexer.reindex.verify import compare_contents
from indexer.reindex.wire import Wire
from indexer.rejects import Rejects
from indexer.saved import alone
from indexer.signal_config import SignalConfig
from indexer.vectors import Encoder
from rerank_plugin.errors import ConfigError, EngineError

#: Changes that may wait for the short write block.
FEW = 500
#: Sweeps before the write block, even where writers are faster than the copy.
MOST_ROUNDS = 20
#: How long the shards may take to agree on their last writes once nobody writes.
SETTLE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexJob:
    """What to copy, and how."""

    #: An index, or an alias of one.
    source: str
    dest: str
    #: The alias that moves to ``dest`` at the end; ``None`` moves none.
    alias: str | None = None
    #: The alias may take the place of the source that has its name; the source is deleted.
    replace_index: bool = False
    resume: bool = False
    #: Where the run remembers how far it is.
    state: Path
    #: Folder for the vector index, which makes novelty; ``None`` makes none.
    vectors: Path | None = None
    #: Vectors in a k-NN field of the engine instead.
    engine_vectors: bool = False
    links: Path | None = None
    events: Path | None = None
    #: The clock of freshness, with a time zone.
    now: datetime
    half_life_days: float | None = None
    signals: SignalConfig = field(default_factory=SignalConfig)
    #: Dotted paths the model reads; empty chooses them from the mapping.
    text_fields: tuple[str, ...] = ()
    rejects: Path
    #: Refused documents that do not keep the alias from moving.
    allow_rejects: int = 0
    #: Make copies while loading, so that the loss of a node loses nothing.
    keep_replicas: bool = False
    #: Documents per second at most.
    throttle: float | None = None
    #: Slices (shards, or stretches of one) at work at once.
    workers: int = 4
    #: Compare the contents of every document, not of a sample.
    verify_all: bool = False
    run_id: str

    def __post_init__(self) -> None:
        if self.source == self.dest:
            raise ConfigError(f"--source and --dest both name {self.dest}; the copy needs a name of its own")
        if self.throttle is not None and not self.throttle > 0:
            raise ConfigError(f"--throttle must be above 0 documents per second, got {self.throttle:g}")
        if self.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.workers}")


@dataclass(slots=True)
class Account:
    """What one run did beside copying."""

    read: int = 0
    deleted: int = 0
    compared: int = 0
    blocked_seconds: float = 0.0
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run at work: everything the steps share."""

    job: ReindexJob
    wire: Wire
    source: target.Described
    state: RunState
    rejects: Rejects
    enrich: Enricher
    executor: ThreadPoolExecutor
    progress: Progress
    account: Account

    @property
    def sweep(self) -> Sweep:
        """How the source is read."""
        return Sweep(wire=self.wire, index=self.source.name, size=PageSize(most=target.page_limit(self.source)))

    @property
    def writer(self) -> BulkWriter:
        """How the destination is written."""
        return BulkWriter(self.wire, self.job.dest, self.rejects)

    def copy(self, label: str, upto: dict[int, int]) -> None:
        """Brings the destination up to these positions."""
        behind = self.state.behind(upto)
        self.account.rounds += 1
        before = self.state.read
        with self.progress.step(label, behind) as advance:
            copy_slices(
                upto,
                sweep=self.sweep,
                writer=self.writer,
                state=self.state,
                operations=self.enrich.page,
                executor=self.executor,
                workers=self.job.workers,
                throttle=Throttle(self.job.throttle),
                advance=advance,
            )
        self.account.read += self.state.read - before

    def catch_up(self) -> None:
        """Copies until what the application wrote meanwhile is little, or as often as makes sense."""
        for number in range(MOST_ROUNDS):
            upto = safe_positions(self.wire, self.source.name)
            behind = self.state.behind(upto)
            if number and behind <= FEW:
                return
            refresh(self.wire, self.source.name)
            self.copy("copying" if number == 0 else "catching up", upto)

    def compare(self) -> tuple[int, int]:
        """How many documents the destination lacks, or has in an older state; what was deleted is deleted there too.

        :raises EngineError: the engine refused, or stayed away.
        """
        with self.progress.step("comparing", None), Difference(self.wire, self.executor) as difference:
            difference.look(self.source.name, self.job.dest)
            gone: list[Operation] = []
            for stray in difference.deleted():
                # Only this state of it: the application may have written the document anew.
                head = action(
                    "delete", stray.doc_id, routing=stray.routing, version=stray.version, version_type="external_gte"
                )
                gone.append(Operation(stray.doc_id, head))
            for start in range(0, len(gone), 10_000):
                self.account.deleted += self.writer.write(gone[start : start + 10_000]).done
            return sum(1 for _ in difference.missing()), sum(1 for _ in difference.stale())

    def counts(self) -> tuple[int, int]:
        """Documents of the source and of the copy."""
        refresh(self.wire, self.job.dest)
        return target.count(self.wire, self.source.name), target.count(self.wire, self.job.dest)

    def settle(self) -> dict[int, int]:
        """The last position of every shard, once all copies agree on it: nobody writes any more.

        :raises EngineError: they did not agree in time.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            found = checkpoints(self.wire, self.source.name)
            if all(safe == newest for safe, newest in found.values()):
                return {shard: newest for shard, (_, newest) in found.items()}
            if time.monotonic() > deadline:
                raise EngineError(f"the copies of {self.source.name} do not agree after {SETTLE_S} s; use --resume")
            time.sleep(0.05)

    def finish(self, switch: Switch | None, meta: dict[str, Any]) -> None:
        """The last changes under a write block, the counts, the description, the alias; in seconds, or not at all.

        :raises EngineError: the copy is not whole; the source is open for writing again.
        """
        with self._write_block(keep=switch is not None):
            upto = self.settle()
            refresh(self.wire, self.source.name)
            self.copy("last changes", upto)
            ours, theirs = self.counts()
            if ours != theirs or self.state.rejected or self.job.verify_all:
                self._check_difference()
            dest = target.describe(self.wire, self.job.dest)
            if dest.uuid != self.state.dest_uuid:
                raise EngineError(f"{self.job.dest} was made anew by somebody else; the alias was not switched")
            meta = {**meta, "documents": target.count(self.wire, self.job.dest), "source": self.source.name}
            target.write_meta(self.wire, dest, meta)
            if switch is not None:
                switch.run(self.wire)

    def _check_difference(self) -> None:
        missing, stale = self.compare()
        refresh(self.wire, self.job.dest)
        if missing + stale > self.job.allow_rejects:
            raise EngineError(
                f"{self.job.dest} lacks {missing} documents of {self.source.name} and has {stale} in an older state; "
                f"{self.state.rejected} were refused, see {self.job.rejects}; the alias was not switched. Correct them "
                "and go on with --resume, or allow them with --allow-rejects"
            )

    @contextmanager
    def _write_block(self, *, keep: bool) -> Iterator[None]:
        """Nobody writes to the source inside; afterwards neither where the alias moved (``keep``) and all went well."""
        if not self.source.blocked:
            self.state.blocked = True
            self.state.save()
        started = time.perf_counter()
        target.block_writes(self.wire, self.source.name)
        try:
            yield
        except BaseException:
            keep = False
            raise
        finally:
            if self.state.blocked and not keep:
                target.allow_writes(self.wire, self.source.name)
                self.state.blocked = False
                self.state.save()
            self.account.blocked_seconds = time.perf_counter() - started


def _source(job: ReindexJob, wire: Wire) -> target.Described:
    """The index to copy: where an alias was named and has moved already, the one that the run began with."""
    found = target.describe(wire, job.source)
    if job.resume and found.name == job.dest and isinstance(found.meta, dict):
        return target.describe(wire, str(found.meta.get("source")))
    return found


def reindex(job: ReindexJob, wire: Wire, progress: Progress, encoder: Encoder | None = None) -> Run:
    """The run, once the copy is whole and the alias stands for it.

    :param encoder: makes the vectors, where the job asks for some.
    :raises ConfigError: the settings do not fit what is there.
    :raises DataError: a file cannot be read or written.
    :raises EngineError: the engine refused or stayed away; what is there can be taken up with ``resume``.
    """
    source = _source(job, wire)
    switch = None
    if job.alias is not None:
        switch = plan_switch(wire, job.alias, source, job.dest, replace_index=job.replace_index)
    with (
        alone(job.state),
        Rejects(job.rejects, append=job.resume) as rejects,
        ThreadPoolExecutor(job.workers * (AT_ONCE + 1), "request") as executor,
    ):
        state, enrich, meta = open_run(job, wire, source, rejects, progress, encoder)
        run = Run(job, wire, source, state, rejects, enrich, executor, progress, Account())
        if switch is not None and not switch.actions:
            state.remove()  # cut off after the alias had moved: the destination is the application's now
            return run
        if state.blocked:
            target.allow_writes(wire, source.name)
            state.blocked = False
            run = replace(run, source=target.describe(wire, source.name))
        run.catch_up()
        # Everything the source has is in the copy: where both have as many, they have the same.
        ours, theirs = run.counts()
        if ours != theirs or job.verify_all:
            run.compare()
        run.account.compared = compare_contents(run.sweep, job.dest, state.cursors, everything=job.verify_all)
        if state.phase == "copying":
            target.put_back(wire, job.dest, state.set_aside)
            state.phase = "loaded"
            state.save()
        run.catch_up()
        run.finish(switch, meta)
        state.remove()
    return run
