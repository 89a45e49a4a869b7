"""The arms of a comparison: how each one answers a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from rerank_plugin.client.candidates import features_of
from rerank_plugin.config import FieldSource
from rerank_plugin.domain.features import NO_FEATURES, Features
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.evaluation.runs import Run, strict_scores
from rerank_plugin.retrieval.fusion import min_max_sum

#: Documents per query in every run: R@100 needs no more.
DEPTH = 100
#: BM25 hits that fusion adds up; a document beyond them counts as one that the words did not reach.
FUSION_DEPTH = 1000
#: Nearest vectors that fusion adds up: up to this size a whole collection, because the least cosine of the list sets
#: the scale of all others. (CACM nDCG@10 .554 with the nearest 1000, .569 with all 3204.)
FUSION_VECTORS = 10_000


class SearchClient(Protocol):
    """opensearch-py's client, plain or ours, as far as an arm needs it."""

    def search(self, *, body: Any, index: Any, **parameters: Any) -> Any: ...

    def mget(self, *, body: Any, index: Any, **parameters: Any) -> Any: ...


#: (query text, how many) -> ids and cosines of the nearest documents, best first.
DenseSearch = Callable[[str, int], Sequence[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class Found:
    """A document an arm answered with."""

    doc_id: str
    score: float
    features: Features = NO_FEATURES
    #: What the reranking client said of it (DESIGN 6.1, ``hit["_rerank"]``); empty for arms that do not rerank.
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm found, best first, and what the reranking client said of it."""

    found: tuple[Found, ...]
    #: ``applied``, ``fallback`` and so on; empty for arms that do not rerank.
    status: str = ""
    reason: str = ""
    truncated: int = 0


class Arm(Protocol):
    """One way to answer."""

    def answer(self, query: Query) -> Answer:
        """At most ``DEPTH`` documents, none of ``query.drop``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReader:
    """Where the factors of a document are found: in what the indexer stored, and in the fields of a field map."""

    now: datetime
    half_life_days: float
    field_map: Mapping[str, FieldSource] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """What is read of ``_source``."""
        return ["rerank", *dict.fromkeys(each.field for each in self.field_map.values())]

    def read(self, source: Mapping[str, Any]) -> Features:
        """The features of a document."""
        return features_of(source, self.field_map, now=self.now, half_life_days=self.half_life_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The index that all arms ask."""

    client: SearchClient
    index: str
    #: What a word search looks in.
    fields: tuple[str, ...]
    reader: FeatureReader

    def words(self, query: Query, size: int) -> dict[str, float]:
        """Ids and scores of a word search, best first."""
        body = {"query": query_body(query.text, self.fields, drop=query.drop), "size": size, "_source": False}
        response = self.client.search(index=self.index, body=body)
        return {str(hit["_id"]): float(hit["_score"]) for hit in response["hits"]["hits"]}

    def found(self, hit: Mapping[str, Any]) -> Found:
        """A hit of a search."""
        score = hit.get("_score")
        return Found(
            str(hit["_id"]),
            0.0 if score is None else float(score),
            self.reader.read(hit.get("_source") or {}),
            hit.get("_rerank") or {},
        )

    def sources(self, ids: Sequence[str], paths: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What the engine stores of the documents it has; one deleted meanwhile is absent."""
        if not ids:
            return {}
        body = {"ids": list(ids)}
        response = self.client.mget(index=self.index, body=body, _source_includes=",".join(paths))
        return {str(doc["_id"]): doc.get("_source") or {} for doc in response["docs"] if doc.get("found")}

    def fetched(self, scored: Sequence[tuple[str, float]]) -> tuple[Found, ...]:
        """The documents that the engine has, in the given order; one deleted since it was found is left out."""
        sources = self.sources([document for document, _ in scored], self.reader.paths)
        return tuple(
            Found(document, score, self.reader.read(sources[document]))
            for document, score in scored
            if document in sources
        )


def query_body(text: str, fields: Sequence[str], *, drop: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The ``query`` of a word search over the fields; documents in ``drop`` are excluded by the engine."""
    words: dict[str, Any] = (
        {"match": {fields[0]: text}} if len(fields) == 1 else {"multi_match": {"query": text, "fields": list(fields)}}
    )
    if not drop:
        return words
    return {"bool": {"must": [words], "must_not": [{"ids": {"values": sorted(drop)}}]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchArm:
    """Answers with the hits of one search call: BM25 with a plain client, reranking with the drop-in one."""

    target: Target
    #: The candidates to rerank, in place of those that the words find; at most ``most`` of each query.
    first_stage: Run | None = None
    most: int = DEPTH
    #: Hits asked for.
    depth: int = DEPTH

    def answer(self, query: Query) -> Answer:
        """The hits in their order."""
        body = self._body(query)
        if body is None:
            return Answer((), status="skipped", reason="the first-stage run has nothing for this query")
        response = self.target.client.search(
            index=self.target.index, body={**body, "size": self.depth, "_source": self.target.reader.paths}
        )
        said: Mapping[str, Any] = response.get("rerank") or {}
        return Answer(
            tuple(self.target.found(hit) for hit in response["hits"]["hits"]),
            status=str(said.get("status") or ""),
            reason=str(said.get("reason") or _unused_vectors(said)),
            truncated=int(said.get("truncated") or 0),
        )

    def _body(self, query: Query) -> dict[str, Any] | None:
        if self.first_stage is None:
            return {"query": query_body(query.text, self.target.fields, drop=query.drop)}
        given = [each for each in self.first_stage.found.get(query.query_id, ()) if each.doc_id not in query.drop]
        if not given:
            return None
        return {
            "query": given_query([(each.doc_id, each.score) for each in given[: self.most]]),
            "rerank": {"query_text": query.text},
        }


def given_query(scored: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """A query that finds exactly the given documents with the given scores, best first.

    Engines know no score below 0: where there are some, all are raised by the same amount, to at least 1.
    """
    scores = strict_scores([score for _, score in scored])
    raised = 1.0 - scores[-1] if scores and scores[-1] <= 0 else 0.0
    return {
        "bool": {
            "should": [
                {"constant_score": {"filter": {"ids": {"values": [document]}}, "boost": score + raised}}
                for (document, _), score in zip(scored, scores, strict=True)
            ]
        }
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseArm:
    """Answers with the nearest vectors; their documents are fetched from the engine, as an application must."""

    target: Target
    dense: DenseSearch

    def answer(self, query: Query) -> Answer:
        """Nearest documents by cosine."""
        near = self.dense(query.text, DEPTH + len(query.drop))
        kept = [(document, cosine) for document, cosine in near if document not in query.drop][:DEPTH]
        return Answer(self.target.fetched(kept))


@dataclass(frozen=True, slots=True)
class Lists:
    """What words and vectors say of the same query."""

    #: BM25 scores; what no word reached is 0, so the least score is that of a whole collection.
    words: Mapping[str, float]
    #: Cosines; empty without vectors.
    cosines: Mapping[str, float]

    def fused(self) -> list[tuple[str, float]]:
        """The ``DEPTH`` best sums of both, each brought to [0, 1]; absent from a list counts as 0."""
        sums = min_max_sum(self.words, self.cosines)
        return sorted(sums.items(), key=lambda each: (-each[1], each[0]))[:DEPTH]


def both_lists(target: Target, dense: DenseSearch | None, query: Query, depth: int) -> Lists:
    """Word search and vector search, dropped documents left out.

    :param depth: hits of the word search.
    """
    words = target.words(query, depth)
    near = () if dense is None else dense(query.text, FUSION_VECTORS)
    cosines = {document: cosine for document, cosine in near if document not in query.drop}
    return Lists({**dict.fromkeys(cosines, 0.0), **words}, cosines)


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedArm:
    """Answers with the sum of BM25 and cosine, each brought to [0, 1] per query; absent from a list counts as 0."""

    target: Target
    dense: DenseSearch
    depth: int = FUSION_DEPTH

    def answer(self, query: Query) -> Answer:
        """Best sums over the union of both lists."""
        return Answer(self.target.fetched(both_lists(self.target, self.dense, query, self.depth).fused()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunArm:
    """Answers with a saved run; a document that the engine lacks stays in it, with nothing known of its factors."""

    target: Target
    run: Run

    def answer(self, query: Query) -> Answer:
        """The run's documents in its order."""
        kept = [each for each in self.run.found.get(query.query_id, ()) if each.doc_id not in query.drop][:DEPTH]
        sources = self.target.sources([each.doc_id for each in kept], self.target.reader.paths)
        return Answer(
            tuple(
                Found(each.doc_id, each.score, self.target.reader.read(sources.get(each.doc_id, {}))) for each in kept
            )
        )


def _unused_vectors(said: Mapping[str, Any]) -> str:
    """Why the vector index did nothing: reranking was applied, but an evaluation must not hide half of it missing."""
    told = str(said.get("dense") or "")
    return "" if not told or told.endswith("documents added") else f"vectors were not used: {told}"
