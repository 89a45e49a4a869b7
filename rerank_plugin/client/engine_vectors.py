"""The engine's own k-NN field in the part of the vector index: cosines of a window, and documents near the query.

Cosines come from a script over the documents at hand, so they are exact, and cosines whatever space the field was built
for. (The plugin's own ``knn_score`` is 1 + cosine in version 2 and half of that in version 3.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from opensearchpy.exceptions import TransportError

from rerank_plugin.client.meta import Metas
from rerank_plugin.client.plan import Plan
from rerank_plugin.client.rewrite import Key, key_of, of_keys, waived_query, without_inner_hits
from rerank_plugin.client.similarity import Similarity, cannot_extend, waived_clauses
from rerank_plugin.client.steps import Fetch, Local
from rerank_plugin.errors import RerankError

#: Sends a search of ours and returns its response.
Fetching = Callable[[Mapping[str, Any]], Generator[Any, Any, Any]]


def engine_similarity(
    plan: Plan,
    encode: Callable[[str], Sequence[float]],
    metas: Metas,
    keys: Sequence[Key],
    fetch: Fetching,
) -> Generator[Local | Fetch, Any, Similarity]:
    """Cosines of the window, and with ``extend`` the documents to add: the same as ``similarity`` does with a folder.

    A field that cannot be used costs nothing but its help: the note says so.

    :param encode: the query's vector; raises ``RerankError`` where the model makes none.
    :raises TransportError: the engine was not reached.
    """
    none: tuple[float | None, ...] = (None,) * len(keys)
    try:
        vector = yield Local(partial(encode, plan.text))
        near: list[Key] = []
        note = ""
        if plan.settings.dense == "extend":
            note = cannot_extend(plan, metas)
            if not note:
                found = yield from fetch(_nearest_body(plan, metas, vector, keys))
                near = [key_of(hit) for hit in found["hits"]["hits"]]
        if not keys and not near:
            return Similarity(none, note=note)
        several = len({index for index, _ in (*keys, *near)}) > 1
        scored = yield from fetch(_cosines_body(plan, vector, [*keys, *near], several=several))
    except RerankError as error:
        return Similarity(none, note=" ".join(str(error).split()))
    except TransportError as error:
        if not isinstance(error.status_code, int):
            raise
        return Similarity(none, note=f"{plan.settings.vector_field} is of no use as vectors: {error.status_code}")
    cosines = {key_of(hit): min(max(float(hit["_score"]) - 1.0, -1.0), 1.0) for hit in scored["hits"]["hits"]}
    if keys and not cosines:
        note = note or f"no document of the window has vectors in {plan.settings.vector_field}"
    added = sorted((key for key in near if key in cosines), key=lambda key: -cosines[key])
    return Similarity(tuple(cosines.get(key) for key in keys), near={key: cosines[key] for key in added}, note=note)


def _nearest_body(plan: Plan, metas: Metas, vector: Sequence[float], keys: Sequence[Key]) -> dict[str, Any]:
    """The nearest documents outside the window among those that every condition of the caller's lets through."""
    conditions: list[Any] = [without_inner_hits(waived_query(plan.query, waived_clauses(plan, metas)))]
    if plan.body.get("post_filter"):
        conditions.append(plan.body["post_filter"])
    fence: dict[str, Any] = {"filter": conditions}
    if keys:
        fence["must_not"] = [of_keys(keys, several=len({index for index, _ in keys}) > 1)]
    size = plan.settings.dense_size
    asked = {"vector": list(vector), "k": size, "filter": {"bool": fence}}
    return _bare({"knn": {plan.settings.vector_field: asked}}, size)


def _cosines_body(plan: Plan, vector: Sequence[float], keys: Sequence[Key], *, several: bool) -> dict[str, Any]:
    field = plan.settings.vector_field
    having = {"bool": {"filter": [of_keys(keys, several=several), {"exists": {"field": field}}]}}
    params = {"field": field, "vector": list(vector)}
    script = {"source": "1.0 + cosineSimilarity(params.vector, doc[params.field])", "params": params}
    return _bare({"script_score": {"query": having, "script": script}}, len(keys))


def _bare(query: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"query": query, "size": size, "_source": False, "track_total_hits": False}
