"""Queries that nobody judged, and what training believes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.calibrate import Window
    from rerank_plugin.training.settings import Settings


def unlabelled_queries(folder: Path, settings: Settings) -> Collection | None:
    """At most ``pseudo_queries`` of a BEIR directory's queries without any judgment; ``None`` where that is 0.

    None has the text of a query that a split judges, ``dev`` and ``test`` above all.

    :raises DataError: there is none.
    """
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.label_queue import read_unheld
    from rerank_plugin.wiring.splits import drawn

    if settings.pseudo_queries == 0:
        return None
    found = read_unheld(folder)
    queries = tuple(query for query in found.queries if query.query_id not in found.judged)
    if not queries:
        raise DataError(f"{folder} has no query without judgments; leave out pseudo_queries")
    collection = Collection(
        name=folder.resolve().name,
        queries=queries,
        qrels={query.query_id: {} for query in queries},
        unjudged=len(queries),
        without_relevant=0,
    )
    return drawn(collection, settings.pseudo_queries, settings.seed)


def with_pseudo_labels(
    judged: Sequence[Window],
    unjudged: Sequence[Window],
    head: RelevanceHead,
    settings: Settings,
    tell: Callable[[str], None],
) -> tuple[list[Window], dict[str, Any]]:
    """All windows to learn from, and how many labels nobody gave; the judged ones alone where there are no others."""
    from rerank_plugin.training.pseudo import pseudo_labelled

    if not unjudged:
        return list(judged), {}
    high, low = settings.pseudo_relevant, settings.pseudo_irrelevant
    said = pseudo_labelled(unjudged, judged, head, relevant=high, irrelevant=low)
    tell(
        f"pseudo-labels: {said.queries} of {len(unjudged)} unjudged queries can teach; {said.relevant} documents are "
        f"relevant with a chance of {high:g} or more, {said.irrelevant} with {low:g} or less, {said.open} stay open"
    )
    counts = ("queries", "relevant", "irrelevant", "open")
    return [*judged, *said.windows], {name: getattr(said, name) for name in counts}
