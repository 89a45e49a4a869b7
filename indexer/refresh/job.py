"""``rerank-index refresh``: partial updates of the documents whose features are missing or have moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from indexer.knots import Evidence, Knots, rerank_object
from indexer.progress import Progress
from indexer.refresh.change import Rule
from indexer.refresh.vectors import FolderChange, update_folder
from indexer.reindex import target
from indexer.reindex.bulk import BulkWriter, Operation, action
from indexer.reindex.copying import Throttle
from indexer.reindex.enricher import FieldReader, add_links_file, events_by_id
from indexer.reindex.pages import BEFORE_ALL, PageSize, Sweep, refresh, safe_positions
from indexer.reindex.ranks import Ranks
from indexer.reindex.survey import collect_links, link_keys, only, survey
from indexer.reindex.wire import Wire, load_msgspec
from indexer.rejects import Rejects
from indexer.signal_config import SignalConfig
from indexer.vectors import Encoder
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import ConfigError, EngineError, VectorIndexError

#: Documents that the application changed at the same moment are tried again so often.
PASSES = 3
WITHOUT_FEATURES = {"bool": {"must_not": [{"exists": {"field": "rerank.features_version"}}]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshJob:
    """What to bring up to date, and how."""

    #: An enriched index, or an alias of one.
    index: str
    links: Path | None = None
    events: Path | None = None
    #: The vector folder of the index, to be brought up to date too.
    vectors: Path | None = None
    #: Fit the scaling knots anew, to the documents of today.
    refit: bool = False
    #: New settings of the signals, with ``refit`` only; ``None`` keeps those of the index.
    signals: SignalConfig | None = None
    #: The clock of a refit, with a time zone.
    now: datetime
    half_life_days: float | None = None
    #: Smallest change of a feature that is worth a write.
    threshold: float = 0.01
    throttle: float | None = None
    rejects: Path
    run_id: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"--threshold must be from 0 to 1, got {self.threshold:g}")
        if self.signals is not None and not self.refit:
            raise ConfigError("new --signals change what every feature means: use --refit with them")
        if self.throttle is not None and not self.throttle > 0:
            raise ConfigError(f"--throttle must be above 0 documents per second, got {self.throttle:g}")

    @property
    def everything(self) -> bool:
        """Whether documents that have features are looked at too."""
        return self.refit or self.links is not None or self.events is not None

    @property
    def factors(self) -> tuple[str, ...]:
        """The features that may change of documents that have them."""
        if self.refit:
            return tuple(factor for factor in PRIORS if factor != "novelty")
        told = {"authority": self.links, "popularity": self.events}
        return tuple(factor for factor, file in told.items() if file is not None)


@dataclass(slots=True)
class Account:
    """What a refresh did."""

    read: int = 0
    updated: int = 0
    #: Looked at and left as they were.
    skipped: int = 0
    #: Changed by the application at the same moment; the next refresh finds them.
    conflicts: int = 0
    refused: int = 0
    links: dict[str, Any] = field(default_factory=dict)
    #: Ids of documents that had no features.
    new: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """An index brought up to date."""

    index: str
    knots: Knots
    account: Account
    #: Kind of problem -> how often.
    problems: dict[str, int]
    #: ``None`` where the vectors stayed as they were.
    vectors: FolderChange | None
    #: Kinds of the events that count in popularity, but have no knot.
    unscaled: tuple[str, ...] = ()


def refresh_index(job: RefreshJob, wire: Wire, progress: Progress, encoder: Encoder | None = None) -> Refreshed:
    """The account of the refresh.

    :param encoder: makes the vectors, where the job names their folder.

    :raises ConfigError: the settings do not fit each other.
    :raises DataError: a file cannot be read, or the index keeps no knots.
    :raises EngineError: the index is no enriched one, or the engine refused.
    """
    index = target.describe(wire, job.index)
    if not isinstance(index.meta, dict):
        raise EngineError(f"{index.name} was not made by rerank-index; make an enriched copy with rerank-index reindex")
    signals = index.meta.get("signals", {})
    config = job.signals or SignalConfig.from_json(signals.get("config", {}))
    with Rejects(job.rejects) as rejects:
        work = _Work(job, wire, index, config, rejects, progress, FieldReader(config, also=("rerank",)))
        refresh(wire, index.name)
        events = events_by_id(job.events, rejects, now=job.now)
        knots, ranks = work.scaling(signals, events)
        work.update(knots, ranks, events)
        vectors = None if encoder is None or job.vectors is None else work.bring_vectors(job.vectors, encoder)
        if work.account.updated or job.refit or vectors is not None:
            work.describe(signals, knots, vectors)
        kinds = {kind for counts in events.values() for kind in counts if config.counts.get(kind, 0.0) > 0}
        unscaled = tuple(sorted(kinds - set(knots.popularity)))
        return Refreshed(index.name, knots, work.account, dict(rejects.counts), vectors, unscaled)


@dataclass(frozen=True, slots=True)
class _Work:
    job: RefreshJob
    wire: Wire
    index: target.Described
    config: SignalConfig
    rejects: Rejects
    progress: Progress
    read: FieldReader
    account: Account = field(default_factory=Account)

    @property
    def sweep(self) -> Sweep:
        where = None if self.job.everything else WITHOUT_FEATURES
        most = PageSize(most=target.page_limit(self.index))
        return only(Sweep(wire=self.wire, index=self.index.name, where=where, size=most), self.read.keys)

    def upto(self) -> dict[int, int]:
        """The last safe position of every shard."""
        return safe_positions(self.wire, self.index.name)

    def scaling(self, signals: dict[str, Any], events: dict[str, dict[str, float]]) -> tuple[Knots, Ranks]:
        """The knots to measure against, and PageRank where it is needed."""
        frozen = None if self.job.refit else Knots.from_json(signals.get("knots", {}))
        whole = Sweep(wire=self.wire, index=self.index.name)
        seen = survey(whole, self.upto(), self.config, self.read, events.get) if self.job.refit else None
        ranks = Ranks.none()
        linked = bool(frozen.ranks) if frozen is not None else bool(seen and seen.links)
        if self.job.links is not None or (linked and (self.job.refit or self.new_documents())):
            upto = self.upto()
            with self.progress.step("links", sum(upto.values()) + len(upto)) as advance:
                table = collect_links(only(whole, link_keys(self.config)), upto, self.config, self.read, advance)
            add_links_file(table, self.job.links, self.rejects)
            ranks, links = table.ranks(self.config)
            self.account.links.update(links)
        if seen is not None:
            half_life, now = self.job.half_life_days, self.job.now
            return seen.knots(self.config, now=now, half_life_days=half_life, ranks=ranks.values), ranks
        assert frozen is not None
        if ranks.values.size and not frozen.ranks:  # the first links of this collection
            frozen = frozen.with_ranks(ranks.values)
        return frozen, ranks

    def new_documents(self) -> int:
        """Documents without features."""
        body = {"query": WITHOUT_FEATURES}
        found = self.wire.ask(
            f"counting {self.index.name}", lambda client: client.count(index=self.index.name, body=body)
        )
        return int(found["count"])

    def update(self, knots: Knots, ranks: Ranks, events: dict[str, dict[str, float]]) -> None:
        """Writes what changed; what changes meanwhile under our hands is looked at again."""
        rule = Rule(self.job.factors, self.job.threshold)
        after: dict[int, int] = {}
        throttle = Throttle(self.job.throttle)
        writer = BulkWriter(self.wire, self.index.name, self.rejects)
        for _ in range(PASSES):
            upto = self.upto()
            behind = sum(last - after.get(shard, BEFORE_ALL) for shard, last in upto.items())
            conflicts = 0
            with self.progress.step("refreshing", behind) as advance, ThreadPoolExecutor(1) as ahead:
                for shard, last in upto.items():
                    done = after.get(shard, BEFORE_ALL)
                    pages = self.sweep.pages(shard, done, last)
                    fetched = ahead.submit(next, pages, None)
                    while (page := fetched.result()) is not None:
                        fetched = ahead.submit(next, pages, None)
                        updates = [self._change(hit, knots, ranks, events, rule) for hit in page.hits]
                        operations = [each for each in updates if each is not None]
                        throttle.wait(len(operations))
                        outcome = writer.write(operations)
                        conflicts += outcome.conflicts
                        self.account.read += len(page.hits)
                        self.account.updated += outcome.done
                        self.account.refused += outcome.refused
                        self.account.skipped += len(page.hits) - len(operations)
                        advance(page.upto - done)
                        done = page.upto
            after = upto
            self.account.conflicts = conflicts
            if not conflicts:
                return
            refresh(self.wire, self.index.name)

    def _change(
        self, hit: Any, knots: Knots, ranks: Ranks, events: dict[str, dict[str, float]], rule: Rule
    ) -> Operation | None:
        fields = self.read(hit.source)
        stored = fields.pop("rerank", None)
        evidence = Evidence.of(self.config, fields, events.get(hit.id))
        if stored is None:
            self.account.new.add(hit.id)
        if evidence.bad_date is not None and stored is None:
            self.rejects.add("bad_date", source=self.index.name, line=None, reason=evidence.bad_date, record=hit.id)
        changed = rule.changes(stored, rerank_object(evidence, knots, self.config, rank=ranks(hit.id)))
        if not changed:
            return None
        head = action("update", hit.id, routing=hit.routing, if_seq_no=hit.seq_no, if_primary_term=hit.primary_term)
        return Operation(hit.id, head + load_msgspec().json.encode({"doc": {"rerank": changed}}) + b"\n")

    def bring_vectors(self, folder: Path, encoder: Encoder) -> FolderChange | None:
        """What was done to the vector folder.

        :raises VectorIndexError: it is not that of the index.
        """
        meta = IndexMeta.from_json(self.index.meta)
        if meta.vectors is None:
            raise VectorIndexError(f"{self.index.name} was made without a vector folder; make one with load or reindex")
        refresh(self.wire, self.index.name)
        return update_folder(
            self.wire,
            self.index.name,
            self.upto(),
            folder,
            encoder,
            expected=meta.vectors,
            rewritten=self.account.new,
            text_fields=meta.text_fields,
            progress=self.progress,
        )

    def describe(self, signals: dict[str, Any], knots: Knots, vectors: FolderChange | None) -> None:
        """Brings ``_meta.rerank`` up to date."""
        refresh(self.wire, self.index.name)
        links = {"links": self.account.links} if self.account.links else {}
        described = {
            **signals,
            "config": self.config.as_json(),
            "config_hash": self.config.digest,
            "knots": knots.as_json(),
            **links,
        }
        meta = {
            **self.index.meta,
            "reference_time": knots.as_json()["reference_time"],
            "half_life_days": knots.half_life_days,
            "run_id": self.job.run_id,
            "documents": target.count(self.wire, self.index.name),
            "signals": described,
        }
        if vectors is not None:
            meta["vectors"] = replace(IndexMeta.from_json(self.index.meta), vectors=vectors.meta).to_json()["vectors"]
        target.write_meta(self.wire, target.describe(self.wire, self.index.name), meta)
