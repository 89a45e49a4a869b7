"""Joins a collection, the read path and active learning for ``rerank train label-queue``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_plugin.errors import DataError
from rerank_plugin.wiring import Progress, Setup, calibration_windows

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.label_queue import Row


def unheld(folder: Path, *, most: int, seed: int) -> Collection:
    """The queries of a BEIR directory that may be judged for training, judged ones among them.

    :param most: how many at most, drawn at random.
    :raises DataError: a file cannot be read, or no query is left.
    """
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.label_queue import read_unheld

    found = read_unheld(folder)
    if not found.queries:
        raise DataError(f"{folder} has no query but those of other splits than train; add some to queries.jsonl")
    kept = found.queries
    if len(kept) > most:
        chosen = set(random.Random(seed).sample(range(len(kept)), most))
        kept = tuple(query for place, query in enumerate(kept) if place in chosen)
    grades = {query.query_id: found.judged.get(query.query_id, {}) for query in kept}
    return Collection(
        name=folder.resolve().name,
        queries=kept,
        qrels=grades,
        unjudged=sum(not each for each in grades.values()),
        without_relevant=0,
    )


def label_queue(
    setup: Setup, collection: Collection, model: Path, *, count: int, seed: int, progress: Progress
) -> Sequence[Row]:
    """The pairs to judge next, most useful first.

    :param setup: where the collection can be searched, its vectors by the model.
    :param count: how many at most.
    :raises RerankError: the model gives no relevance, or the collection cannot be searched.
    """
    from rerank_plugin.domain.factors import Weights
    from rerank_plugin.evaluation.label_queue import Row, snippet
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.active import queue

    folder = ModelFolder.open(model)
    head = RelevanceHead.from_manifest(folder.relevance, where=str(folder.path))
    windows = calibration_windows(setup, collection, model, progress=progress)
    found = queue(windows, head, Weights.of(folder.weights), count=count, seed=seed)
    return [
        Row(
            query_id=collection.queries[place].query_id,
            doc_id=each.candidate.doc_id,
            query=collection.queries[place].text,
            text=snippet(each.candidate.text),
            why=each.why,
        )
        for place, each in found
    ]
