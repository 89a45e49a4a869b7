"""How far two trunks order the same candidates alike: fp32 against int8, a new model against the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.models.types import TextEncoder, TwoModeTrunk


@dataclass(frozen=True, slots=True)
class Window:
    """A query with the candidates that BM25 found."""

    query: str
    texts: tuple[str, ...]
    #: Judged grade of each candidate, 0 where not judged.
    grades: tuple[int, ...]
    #: All grades of the query, best first, those of documents that were not found included.
    ideal: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """What orders by two trunks' cosines have in common."""

    #: (windows,): Kendall's tau-b of each window.
    taus: NDArray[np.float64]
    #: Mean nDCG@10, linear gain, of the first and of the second trunk.
    ndcg: tuple[float, float]


def bm25_windows(
    client: Any,
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    size: int = 100,
) -> list[Window]:
    """One window per judged query, in the order of ``queries``; queries that match nothing have none.

    :param client: opensearch-py's, of an engine in which an index ``parity`` may be made.
    :param documents: id -> text.
    """
    from opensearchpy import helpers

    mapping = {"mappings": {"properties": {"content": {"type": "text", "analyzer": "english"}}}}
    client.indices.create(index="parity", body=mapping)
    actions = ({"_index": "parity", "_id": key, "content": text} for key, text in documents.items())
    helpers.bulk(client, actions, refresh=True)
    windows: list[Window] = []
    for key, query in queries.items():
        body = {"query": {"match": {"content": query}}, "size": size, "_source": False}
        found = [hit["_id"] for hit in client.search(index="parity", body=body)["hits"]["hits"]]
        judged = qrels.get(key, {})
        if found and judged:
            grades = tuple(max(judged.get(each, 0), 0) for each in found)
            ideal = tuple(sorted((max(grade, 0) for grade in judged.values()), reverse=True))
            windows.append(Window(query, tuple(documents[each] for each in found), grades, ideal))
    return windows


def compare(first: TwoModeTrunk, second: TwoModeTrunk, windows: Sequence[Window]) -> Parity:
    """Orders of every window by either trunk's cosines; every text is encoded once."""
    ours, theirs = cosines(first, windows), cosines(second, windows)
    return Parity(
        np.array([kendall_tau(one, other) for one, other in zip(ours, theirs, strict=True)]),
        (mean_ndcg(ours, windows), mean_ndcg(theirs, windows)),
    )


def cosines(trunk: TextEncoder, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
    """(candidates,) of each window."""
    texts = sorted({text for window in windows for text in (window.query, *window.texts)})
    place = {text: index for index, text in enumerate(texts)}
    vectors = trunk.encode(texts).vectors
    return [vectors[[place[text] for text in window.texts]] @ vectors[place[window.query]] for window in windows]


def kendall_tau(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Tau-b of two scorings of the same candidates, in [-1, 1]; 1 where neither orders anything."""
    from scipy.stats import kendalltau

    found = float(kendalltau(first, second).statistic)
    return 1.0 if np.isnan(found) and np.ptp(first) == np.ptp(second) == 0 else found


def mean_ndcg(scores: Sequence[NDArray[Any]], windows: Sequence[Window]) -> float:
    """Mean over windows; 0 for none."""
    found = [ndcg_at_10(own, each.grades, each.ideal) for own, each in zip(scores, windows, strict=True)]
    return sum(found) / max(len(found), 1)


def ndcg_at_10(scores: NDArray[Any], grades: Sequence[int], ideal: Sequence[int]) -> float:
    """nDCG@10 with linear gain, as trec_eval; equal scores keep their order; 0 where nothing is relevant."""
    order = np.argsort(-scores, kind="stable")[:10]
    discounts = 1 / np.log2(np.arange(2, 12))
    best = float(np.dot(ideal[:10], discounts[: len(ideal[:10])]))
    gained = float(np.dot([grades[index] for index in order], discounts[: len(order)]))
    return gained / best if best > 0 else 0.0
