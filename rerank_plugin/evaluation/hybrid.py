"""The engine's own hybrid query, words and vectors in one request, for engines that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import DEPTH, Answer, Target, query_body
from rerank_plugin.evaluation.collection import Query

#: Mapping type of a vector field -> length of its vectors in the mapping.
_VECTOR_TYPES = {"knn_vector": "dimension", "dense_vector": "dims"}


@dataclass(frozen=True, slots=True)
class VectorField:
    """A field that the engine searches by vector."""

    path: str
    #: ``knn_vector`` (OpenSearch) or ``dense_vector`` (Elasticsearch).
    kind: str
    dimensions: int


def vector_field(mappings: Sequence[Mapping[str, Any]], wanted: str, dimensions: int) -> VectorField:
    """The vector field of an index: the named one, else the first with vectors of that length.

    :param mappings: ``mappings`` of each concrete index.
    :param wanted: dotted path; empty for any.
    :param dimensions: of the model's vectors.
    :raises ConfigError: there is none, or its vectors have another length.
    """
    fields = [each for mapping in mappings for each in _vector_fields(mapping.get("properties") or {})]
    named = [each for each in fields if each.path == wanted] if wanted else fields
    if not named:
        what = f"no vector field {wanted!r}" if wanted else "no vector field"
        raise ConfigError(
            f"the arm hybrid needs the engine's own vector search, and the index has {what} "
            f"(knn_vector in OpenSearch, dense_vector in Elasticsearch); leave the arm out, or map one"
        )
    fitting = [each for each in named if each.dimensions == dimensions]
    if not fitting:
        raise ConfigError(
            f"the arm hybrid: {named[0].path} has {named[0].dimensions} dimensions, "
            f"the model's vectors have {dimensions}"
        )
    return fitting[0]


def _vector_fields(properties: Mapping[str, Any], above: str = "") -> list[VectorField]:
    found: list[VectorField] = []
    for name, described in properties.items():
        path, kind = f"{above}{name}", described.get("type", "object")
        if kind in _VECTOR_TYPES:
            found.append(VectorField(path, kind, int(described.get(_VECTOR_TYPES[kind], 0))))
        found += _vector_fields(described.get("properties") or {}, f"{path}.")
    return found


def hybrid_body(words: Mapping[str, Any], field: VectorField, vector: Sequence[float]) -> dict[str, Any]:
    """The body of one hybrid search in the engine's own words.

    OpenSearch: the ``hybrid`` query with its normalisation processor's defaults (min-max, arithmetic mean).
    Elasticsearch: ``query`` and ``knn`` side by side, whose scores it adds up.
    """
    near = list(vector)
    if field.kind == "dense_vector":
        knn = {"field": field.path, "query_vector": near, "k": DEPTH, "num_candidates": 10 * DEPTH}
        return {"query": dict(words), "knn": knn}
    queries = [dict(words), {"knn": {field.path: {"vector": near, "k": DEPTH}}}]
    return {
        "query": {"hybrid": {"queries": queries}},
        "search_pipeline": {"phase_results_processors": [{"normalization-processor": {}}]},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridArm:
    """Answers with the engine's own mixture of words and vectors."""

    target: Target
    field: VectorField
    #: Query text -> vector.
    encode: Callable[[str], Sequence[float]]

    def answer(self, query: Query) -> Answer:
        """The hits in their order."""
        body = hybrid_body(query_body(query.text, self.target.fields), self.field, self.encode(query.text))
        size = DEPTH + len(query.drop)
        response = self.target.client.search(
            index=self.target.index, body={**body, "size": size, "_source": self.target.reader.paths}
        )
        found = (self.target.found(hit) for hit in response["hits"]["hits"])
        return Answer(tuple(each for each in found if each.doc_id not in query.drop)[:DEPTH])
