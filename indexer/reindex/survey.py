"""The look at a source before it is copied: a sample for the scaling knots, and all links where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from indexer.evidence import linked_ids, owner_of, trust_of
from indexer.knots import Evidence, Knots, fit
from indexer.progress import Advance
from indexer.reindex.enricher import FieldReader
from indexer.reindex.pages import BEFORE_ALL, PageSize, Sweep
from indexer.reindex.ranks import LinkTable
from indexer.signal_config import SignalConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Documents that the knots are fitted on; a quantile of so many is right within .01, nineteen times of twenty.
SAMPLE = 10_000
#: Stretches of each shard's history that the sample is drawn from.
STRETCHES = 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sample of the documents says."""

    evidence: list[Evidence]
    #: Whether some document of the sample links to another.
    links: bool

    def knots(
        self, config: SignalConfig, *, now: datetime, half_life_days: float | None, ranks: NDArray[np.float64] | None
    ) -> Knots:
        """The knots that suit the sample.

        :param ranks: PageRank times documents of all documents, where there are links.
        """
        return fit(
            config,
            dates=[each.date for each in self.evidence],
            trust=[each.trust for each in self.evidence],
            counts=[each.counts for each in self.evidence],
            now=now,
            half_life_days=half_life_days,
            ranks=ranks,
        )


def survey(
    sweep: Sweep,
    upto: dict[int, int],
    config: SignalConfig,
    read: FieldReader,
    events: Callable[[str], dict[str, float] | None],
) -> Survey:
    """A sample of even stretches of each shard; everything where the index is no larger than ``SAMPLE``.

    :param upto: shard -> its last position.
    """
    evidence: list[Evidence] = []
    links = False
    for hit in _sampled(sweep, upto):
        fields = read(hit.source)
        evidence.append(Evidence.of(config, fields, events(hit.id)))
        links = links or bool(linked_ids(config, fields))
    return Survey(evidence, links)


def collect_links(
    sweep: Sweep, upto: dict[int, int], config: SignalConfig, read: FieldReader, advance: Advance
) -> LinkTable:
    """Every document with its links and who is behind it."""
    table = LinkTable()
    for shard, last in upto.items():
        for page in sweep.pages(shard, BEFORE_ALL, last):
            for hit in page.hits:
                fields = read(hit.source)
                linked = linked_ids(config, fields)
                table.add(hit.id, linked, trust=trust_of(config, fields), owner=owner_of(config, fields))
            advance(len(page.hits))
    return table


def link_keys(config: SignalConfig) -> set[str]:
    """Top-level fields with links, and with who is behind a document."""
    names = [*config.links, *config.trust, *config.trust_table, *config.owner]
    return {"metadata", *(name.split(".")[0] for name in names)}


def only(sweep: Sweep, keys: Iterable[str]) -> Sweep:
    """The same index, of whose documents only some top-level fields come; for long documents."""
    size = PageSize(min(2_000, sweep.size.most), sweep.size.most)
    return Sweep(wire=sweep.wire, index=sweep.index, source=list(keys), where=sweep.where, size=size)


def _sampled(sweep: Sweep, upto: dict[int, int]) -> Iterable[Any]:
    total = sum(last + 1 for last in upto.values())
    for shard, last in upto.items():
        if total <= SAMPLE:
            stretches = [(BEFORE_ALL, last)]
        else:
            length = (last + 1) / STRETCHES
            wanted = length * SAMPLE / total
            starts = [int(number * length) - 1 for number in range(STRETCHES)]
            stretches = [(start, min(last, start + max(1, int(wanted)))) for start in starts]
        for after, end in stretches:
            for page in sweep.pages(shard, after, end):
                yield from page.hits
