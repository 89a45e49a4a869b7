"""Whether the copy holds what the source holds: contents side by side, and an account of the features."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.knots import Knots
from indexer.reindex.pages import BEFORE_ALL, Sweep
from indexer.reindex.vectors import VECTOR_FIELD
from indexer.reindex.wire import Wire
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import EngineError

#: Documents whose content is compared unless all are asked for.
SAMPLE = 1_000
STRETCHES = 10


def compare_contents(sweep: Sweep, dest: str, upto: dict[int, int], *, everything: bool) -> int:
    """How many documents were compared, field by field, and found equal but for ``rerank``.

    Documents that changed since they were copied are passed over: the next round brings them.

    :param upto: shard -> the last position that was copied.
    :raises EngineError: a document differs.
    """
    compared = 0
    for shard, last in upto.items():
        length = (last + 1) / STRETCHES
        wanted = max(1, SAMPLE // (STRETCHES * len(upto)))
        starts = [int(number * length) - 1 for number in range(STRETCHES)]
        stretches = [(BEFORE_ALL, last)] if everything else [(start, min(last, start + wanted)) for start in starts]
        for after, end in dict.fromkeys(stretches):
            for page in sweep.pages(shard, after, end):
                compared += _compare(sweep.wire, dest, page.hits)
    return compared


def _compare(wire: Wire, dest: str, hits: list[Any]) -> int:
    if not hits:
        return 0
    docs = [{"_id": hit.id, **({"routing": hit.routing} if hit.routing else {})} for hit in hits]
    found = json.loads(wire.text(f"reading {dest}", "POST", f"/{dest}/_mget", {"docs": docs}))["docs"]
    compared = 0
    for hit, copy in zip(hits, found, strict=True):
        if not copy.get("found") or copy["_version"] != hit.seq_no + 1:
            continue
        wanted, have = json.loads(bytes(hit.source)), copy["_source"]
        for ours in ("rerank", VECTOR_FIELD):
            wanted.pop(ours, None)
            have.pop(ours, None)
        if wanted != have:
            raise EngineError(f"{dest}: the copy of _id {hit.id!r} differs from its source; the alias was not switched")
        compared += 1
    return compared


@dataclass(frozen=True, slots=True)
class Coverage:
    """Documents of an index, and how many of them have each feature, with its spread."""

    documents: int
    factors: Mapping[str, Mapping[str, Any]]


#: Why no document may have a feature.
REASONS = {
    "authority": "no links and no trust",
    "freshness": "no dates",
    "popularity": "no counts",
    "novelty": "no vectors",
}


def coverage(wire: Wire, index: str) -> Coverage:
    """What the engine's own aggregations say of the features.

    :raises EngineError: the engine refused.
    """
    aggregations: dict[str, Any] = {}
    for factor in PRIORS:
        field = {"field": f"rerank.{factor}"}
        aggregations[f"{factor}_stats"] = {"stats": field}
        aggregations[f"{factor}_spread"] = {"percentiles": {**field, "percents": [5, 95], "keyed": False}}
    body = {"size": 0, "track_total_hits": True, "aggs": aggregations}
    found = wire.ask(f"summing up {index}", lambda client: client.search(index=index, body=body))
    documents = int(found["hits"]["total"]["value"])
    factors: dict[str, dict[str, Any]] = {}
    for factor in PRIORS:
        stats = found["aggregations"][f"{factor}_stats"]
        account = {"documents": stats["count"], "coverage": round(stats["count"] / max(documents, 1), 4)}
        if stats["count"]:
            low, high = (each["value"] for each in found["aggregations"][f"{factor}_spread"]["values"])
            account |= {"mean": round(stats["avg"], 4), "p05": round(low, 4), "p95": round(high, 4)}
        else:
            account["absent"] = REASONS[factor]
        factors[factor] = account
    return Coverage(documents, factors)


def account_of(wire: Wire, index: str, knots: Knots, links: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Factor -> coverage, spread and scaling, as reports tell it.

    :param links: what is known of the links, by its names in the report.
    :raises EngineError: the engine refused.
    """
    stored = knots.as_json()
    details: dict[str, dict[str, Any]] = {
        "authority": {"links": 0, "trusted": 0, **links},
        "freshness": {key: stored[key] for key in ("half_life_days", "half_life_from", "reference_time")},
        "popularity": {"knots": dict(knots.popularity)},
    }
    factors = coverage(wire, index).factors
    return {factor: {**account, **details.get(factor, {})} for factor, account in factors.items()}
