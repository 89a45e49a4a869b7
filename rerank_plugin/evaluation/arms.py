"""The arms of a comparison: how each one answers a query, and the text form in which a command names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast, get_args

from rerank_plugin.config import Dense, Rerank
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.retrieval.fusion import min_max_sum

#: Documents per query in every run: R@100 needs no more.
DEPTH = 100
#: The names of arms, in the order of a report.
KINDS: tuple[str, ...] = ("bm25", "dense", "fused", "rerank")
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
    #: The document's ``rerank`` object; empty when the index was never enriched.
    enriched: Mapping[str, Any] = field(default_factory=dict)


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
class ArmSpec:
    """An arm as a command names it: ``NAME[:key=value,...]``.

    ``bm25`` and ``dense`` take no keys but ``as``; ``fused`` takes ``depth``; ``rerank`` takes ``window``, ``dense``,
    ``dense_size``, ``deadline_ms``, ``model`` and ``weights``, in which ``+`` stands for the comma:
    ``rerank:window=50,weights=authority=1+freshness=0.5``. ``as=LABEL`` names the arm in the report; without it an arm
    is called what was written.
    """

    kind: str
    label: str
    #: BM25 hits, for ``fused``.
    depth: int = FUSION_DEPTH
    #: Settings that differ from the command's, for ``rerank``.
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ArmSpec:
        """The arm of a text.

        :raises ConfigError: an unknown arm or key, or a value that is not allowed.
        """
        kind, _, rest = text.strip().partition(":")
        if kind not in KINDS:
            raise ConfigError(f"unknown arm {kind!r}; the arms are {', '.join(KINDS)}, as NAME[:key=value,...]")
        values: dict[str, Any] = {}
        for part in filter(None, (piece.strip() for piece in rest.split(","))):
            key, sign, value = part.partition("=")
            converters = _KEYS[kind]
            if not sign or key not in converters:
                raise ConfigError(
                    f"arm {text!r}: {kind} takes {', '.join(f'{each}=...' for each in converters)}; got {part!r}"
                )
            try:
                values[key] = converters[key](value.strip())
            except ValueError as error:
                raise ConfigError(f"arm {text!r}: {key}={value} is not possible ({error})") from error
        label = values.pop("as", text.strip())
        depth = values.pop("depth", FUSION_DEPTH)
        try:
            replace(Rerank(vectors=Path()), **values)  # refused now, not after the first arm has run
        except ConfigError as error:
            raise ConfigError(f"arm {text!r}: {error}") from error
        return cls(kind=kind, label=label, depth=depth, settings=values)

    def rerank(self, base: Rerank) -> Rerank:
        """The command's settings with this arm's own.

        :raises ConfigError: they do not go together.
        """
        return replace(base, **self.settings)


def _label(text: str) -> str:
    if not text or not all(letter.isalnum() or letter in "_-" for letter in text):
        raise ValueError("a label has letters, digits, _ and -")
    return text


def _depth(text: str) -> int:
    depth = int(text)
    if not DEPTH <= depth <= 10_000:
        raise ValueError(f"from {DEPTH} to 10000")
    return depth


def _dense(text: str) -> Dense:
    if text not in get_args(Dense):
        raise ValueError(f"one of {', '.join(get_args(Dense))}")
    return cast(Dense, text)


_KEYS: dict[str, dict[str, Callable[[str], Any]]] = {
    "bm25": {"as": _label},
    "dense": {"as": _label},
    "fused": {"as": _label, "depth": _depth},
    "rerank": {
        "as": _label,
        "window": int,
        "dense": _dense,
        "dense_size": int,
        "deadline_ms": float,
        "model": Path,
        "weights": lambda text: Weights.parse(text.replace("+", ",")),
    },
}


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

    client: SearchClient
    index: str
    fields: tuple[str, ...]

    def answer(self, query: Query) -> Answer:
        """The hits in their order."""
        response = self.client.search(
            index=self.index,
            body={
                "query": query_body(query.text, self.fields, drop=query.drop),
                "size": DEPTH,
                "_source": ["rerank"],
            },
        )
        said: Mapping[str, Any] = response.get("rerank") or {}
        return Answer(
            tuple(_found(hit) for hit in response["hits"]["hits"]),
            status=str(said.get("status") or ""),
            reason=str(said.get("reason") or _unused_vectors(said)),
            truncated=int(said.get("truncated") or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseArm:
    """Answers with the nearest vectors; their documents are fetched from the engine, as an application must."""

    client: SearchClient
    index: str
    dense: DenseSearch

    def answer(self, query: Query) -> Answer:
        """Nearest documents by cosine."""
        near = self.dense(query.text, DEPTH + len(query.drop))
        kept = [(document, cosine) for document, cosine in near if document not in query.drop][:DEPTH]
        return Answer(_fetched(self.client, self.index, kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedArm:
    """Answers with the sum of BM25 and cosine, each brought to [0, 1] per query; absent from a list counts as 0."""

    client: SearchClient
    index: str
    fields: tuple[str, ...]
    dense: DenseSearch
    depth: int = FUSION_DEPTH

    def answer(self, query: Query) -> Answer:
        """Best sums over the union of both lists."""
        response = self.client.search(
            index=self.index,
            body={"query": query_body(query.text, self.fields, drop=query.drop), "size": self.depth, "_source": False},
        )
        words = {str(hit["_id"]): float(hit["_score"]) for hit in response["hits"]["hits"]}
        near = self.dense(query.text, FUSION_VECTORS)
        cosines = {document: cosine for document, cosine in near if document not in query.drop}
        # What no word of the query reached has a BM25 score of 0: so the least score is that of a whole collection.
        sums = min_max_sum({**dict.fromkeys(cosines, 0.0), **words}, cosines)
        best = sorted(sums.items(), key=lambda each: (-each[1], each[0]))[:DEPTH]
        return Answer(_fetched(self.client, self.index, best))


def _unused_vectors(said: Mapping[str, Any]) -> str:
    """Why the vector index did nothing: reranking was applied, but an evaluation must not hide half of it missing."""
    told = str(said.get("dense") or "")
    return "" if not told or told.endswith("documents added") else f"vectors were not used: {told}"


def _found(hit: Mapping[str, Any]) -> Found:
    enriched = (hit.get("_source") or {}).get("rerank")
    score = hit.get("_score")
    return Found(
        str(hit["_id"]), 0.0 if score is None else float(score), enriched if isinstance(enriched, Mapping) else {}
    )


def _fetched(client: SearchClient, index: str, scored: Sequence[tuple[str, float]]) -> tuple[Found, ...]:
    """The documents that the engine has, in the given order; one deleted since the vectors were made is left out."""
    if not scored:
        return ()
    response = client.mget(index=index, body={"ids": [document for document, _ in scored]}, _source_includes="rerank")
    sources = {str(doc["_id"]): doc.get("_source") or {} for doc in response["docs"] if doc.get("found")}
    return tuple(
        _found({"_id": document, "_score": score, "_source": sources[document]})
        for document, score in scored
        if document in sources
    )
