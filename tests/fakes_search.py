"""A search engine over documents in memory behind opensearch-py's own client, and rankers whose orders are obvious."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from opensearchpy import AsyncConnection, AsyncOpenSearch, Connection, OpenSearch

from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.blend import blend, in_order
from rerank_plugin.ranking.types import RankRequest

Source = dict[str, Any]
#: Status and error type for a request that the engine is told to refuse.
Refusal = tuple[int, str]


class SearchEngine:
    """Answers ``_search``, ``_msearch``, ``_mapping`` and ``_bulk`` the engines' way, for the few queries tests use.

    A text clause scores the number of query words it finds; equal scores keep insertion order.
    """

    def __init__(self, indices: Mapping[str, Mapping[str, Source]], *, metas: Mapping[str, Any] | None = None) -> None:
        self.indices = {index: dict(documents) for index, documents in indices.items()}
        self.metas = dict(metas or {})
        #: Method, path, parameters and parsed body of every request.
        self.requests: list[tuple[str, str, dict[str, Any], Any]] = []
        self.refuse: Callable[[str, Any], Refusal | None] = lambda path, body: None
        self.highlighted = 0
        #: The time limit of every request.
        self.timeouts: list[Any] = []

    def client(self) -> OpenSearch:
        """A plain client of this engine."""
        return OpenSearch(hosts=[{"host": "fake", "engine": self}], connection_class=_Connection, max_retries=0)

    def async_client(self) -> AsyncOpenSearch:
        """The same for asyncio."""
        hosts = [{"host": "fake", "engine": self}]
        return AsyncOpenSearch(hosts=hosts, connection_class=FakeAsyncConnection, max_retries=0)

    @property
    def searches(self) -> list[Any]:
        """The bodies of all ``_search`` requests."""
        return [body for _, path, _, body in self.requests if path.endswith("/_search")]

    def answer(self, method: str, path: str, params: dict[str, Any], raw: Any) -> tuple[int, Any]:
        """Status and JSON for one request."""
        text = raw.decode() if isinstance(raw, bytes) else raw
        lines = path.endswith(("_msearch", "_bulk"))
        body = text if lines or text is None else json.loads(text)
        self.requests.append((method, path, dict(params), body))
        refused = self.refuse(path, body)
        if refused is not None:
            return refused[0], _error(*refused)
        parts = unquote(path).strip("/").split("/")
        if parts[-1] == "_mapping":
            return self._mapping(parts[0], params)
        if parts[-1] == "_bulk":
            return self._bulk(text)
        if parts[-1] == "_msearch":
            return self._msearch(parts[0] if len(parts) > 1 else "", text)
        if parts[-1] in {"_search", "template"}:
            return self._search(parts[0], {**(body or {}), **_body_params(params)})
        return 200, {"path": path, "body": body}

    def _mapping(self, index: str, params: dict[str, Any]) -> tuple[int, Any]:
        picked = "filter_path" in params
        found = {name: {"mappings": {"_meta": {"rerank": self.metas[name]}}} for name in self.metas if _in(name, index)}
        if not picked:
            found = {name: {"mappings": {}} for name in self.indices if _in(name, index)} | found
        return 200, found

    def _bulk(self, text: str) -> tuple[int, Any]:
        lines = text.strip().split("\n")
        items = []
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            target = json.loads(action)["index"]
            self.indices.setdefault(target["_index"], {})[target["_id"]] = json.loads(source)
            items.append({"index": {"_id": target["_id"], "status": 201}})
        return 200, {"errors": False, "items": items}

    def _msearch(self, index: str, text: str) -> tuple[int, Any]:
        lines = text.strip().split("\n")
        responses = []
        for header, line in zip(lines[::2], lines[1::2], strict=True):
            body = json.loads(line)
            refused = self.refuse("item", body)
            status, answer = (refused[0], _error(*refused)) if refused else (200, None)
            if answer is None:
                status, answer = self._search(_named(json.loads(header).get("index", index)), body)
            responses.append({**answer, "status": status})
        return 200, {"took": 3, "responses": responses}

    def _search(self, index: str, body: dict[str, Any]) -> tuple[int, Any]:
        if "rerank" in body:
            return 400, _error(400, "parsing_exception")
        if body.get("from", 0) + body.get("size", 10) > 10_000:
            return 400, _error(400, "result_window_exception")
        matched = [
            (-found, name, doc_id, source)
            for name, documents in self.indices.items()
            if _in(name, index)
            for doc_id, source in documents.items()
            if (found := score({**source, "_id": doc_id, "_index": name}, body.get("query", {"match_all": {}})))
            is not None
            and score({**source, "_id": doc_id, "_index": name}, body.get("post_filter", {"match_all": {}})) is not None
        ]
        matched.sort(key=lambda each: each[0])
        start, size = int(body.get("from", 0)), int(body.get("size", 10))
        hits = [self._hit(*each, body) for each in matched[start : start + size]]
        answer: dict[str, Any] = {
            "took": 2,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {
                "total": {"value": len(matched), "relation": "eq"},
                "max_score": -matched[0][0] if matched and size else None,
                "hits": hits,
            },
        }
        if body.get("track_total_hits") is False:
            del answer["hits"]["total"]
        if "aggs" in body:
            answer["aggregations"] = {name: {"value": len(matched)} for name in body["aggs"]}
        return 200, answer

    def _hit(self, negated: float, index: str, doc_id: str, source: Source, body: dict[str, Any]) -> dict[str, Any]:
        hit: dict[str, Any] = {"_index": index, "_id": doc_id, "_score": -negated}
        asked = SourceFilter.parse(body.get("_source", None if "stored_fields" not in body else False))
        if asked.fetch and not ("script_fields" in body and "_source" not in body):
            hit["_source"] = asked.apply(source)
        if body.get("highlight"):
            self.highlighted += 1
            hit["highlight"] = {"text": [f"<em>{doc_id}</em>"]}
        if body.get("script_fields"):
            hit["fields"] = {name: [len(source)] for name in body["script_fields"]}
        if body.get("explain"):
            hit["_explanation"] = {"value": -negated}
        return hit


def score(document: Source, query: dict[str, Any]) -> float | None:
    """What a document scores, ``None`` when it does not match."""
    [(kind, inside)] = query.items()
    if kind == "match_all":
        return float(inside.get("boost", 1.0))
    if kind == "ids":
        return 1.0 if document["_id"] in inside["values"] else None
    if kind == "bool":
        return _bool_score(document, inside)
    if kind == "multi_match":
        scores = [score(document, {"match": {field: inside["query"]}}) for field in inside["fields"]]
        return max((each for each in scores if each is not None), default=None)
    if kind == "query_string":
        words = [word for word in inside["query"].split() if word not in {"AND", "OR"}]
        return score(document, {"match": {inside.get("default_field", "text"): " ".join(words)}})
    [(field, asked)] = inside.items()
    if kind in {"term", "terms"}:
        wanted = asked if isinstance(asked, list) else [asked]
        return 1.0 if document.get(field) in wanted else None
    if kind == "match":
        words = str(asked["query"] if isinstance(asked, dict) else asked).lower().split()
        found = sum(str(document.get(field, "")).lower().split().count(word) for word in words)
        return float(found) if found else None
    raise AssertionError(f"the fake engine knows no {kind}")


def _bool_score(document: Source, inside: dict[str, Any]) -> float | None:
    def parts(name: str) -> list[float | None]:
        given = inside.get(name, [])
        return [score(document, each) for each in (given if isinstance(given, list) else [given])]

    must, should, needed = parts("must"), parts("should"), [*parts("must"), *parts("filter")]
    if None in needed or any(each is not None for each in parts("must_not")):
        return None
    optional = [each for each in should if each is not None]
    if should and not optional and (not needed or inside.get("minimum_should_match")):
        return None
    return sum(each for each in must if each is not None) + sum(optional)


def _named(index: Any) -> str:
    return ",".join(index) if isinstance(index, list) else index


def _in(name: str, expression: str) -> bool:
    return expression in {"", "_search", "_mapping", "_all"} or name in expression.split(",")


def _body_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """URL parameters the engine treats as parts of the body."""
    moved: dict[str, Any] = {}
    if "q" in params:
        moved["query"] = {"query_string": {"query": str(params["q"], "utf-8")}}
    for name in ("from", "size"):
        if name in params:
            moved[name] = int(params[name])
    if any(name.startswith("_source") for name in params):
        given = {
            name: str(value, "utf-8") if isinstance(value, bytes) else str(value) for name, value in params.items()
        }
        source = given.get("_source", "true")
        includes = given.get("_source_includes", "" if source in {"true", "false"} else source)
        excludes = given.get("_source_excludes", "")
        moved["_source"] = source != "false" and {
            "includes": [each for each in includes.split(",") if each],
            "excludes": [each for each in excludes.split(",") if each],
        }
    return moved


def _error(status: int, kind: str) -> dict[str, Any]:
    cause = {"type": kind, "reason": f"refused by the test: {kind}"}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


class _Connection(Connection):
    def __init__(self, *, engine: SearchEngine, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._engine = engine

    def perform_request(
        self,
        method: str,
        url: str,
        params: Any = None,
        body: Any = None,
        timeout: Any = None,
        ignore: Any = (),
        headers: Any = None,
    ) -> tuple[int, dict[str, str], str]:
        self._engine.timeouts.append(timeout)
        status, answer = self._engine.answer(method, url, dict(params or {}), body)
        raw = json.dumps(answer)
        if not 200 <= status < 300 and status not in (ignore or ()):
            self._raise_error(status, raw, "application/json")
        return status, {"content-type": "application/json"}, raw

    def close(self) -> None:
        """Nothing is open."""


class FakeAsyncConnection(AsyncConnection):
    """The same for asyncio: every request gives the loop a turn before it is answered."""

    def __init__(self, *, engine: SearchEngine, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._blocking = _Connection(engine=engine)

    async def perform_request(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, str], str]:
        await asyncio.sleep(0)
        return self._blocking.perform_request(*args, **kwargs)

    async def close(self) -> None:
        """Nothing is open."""


Z = Callable[[Candidate], float]


def longer_is_better(candidate: Candidate) -> float:
    """Log-odds by the length of the text: 0 at 10 characters."""
    return (len(candidate.text) - 10) / 10


class FakeRanker:
    """Ranks by a function of the candidate and blends as the real one does; keeps what it was asked."""

    model = "fake@1"

    def __init__(self, z: Z = longer_is_better, *, scores_at_most: int | None = None) -> None:
        self._z = z
        self._scores_at_most = scores_at_most
        self.calls: list[list[RankRequest]] = []

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request."""
        self.calls.append(list(requests))
        return [self._ranking(request) for request in requests]

    def _ranking(self, request: RankRequest) -> Ranking:
        weights = request.weights or Weights()
        count = len(request.candidates) if self._scores_at_most is None else self._scores_at_most
        scored = request.candidates[:count]
        return Ranking(
            ranked=in_order(blend([self._z(each) for each in scored], scored, weights, dict.fromkeys(PRIORS, 1.0))),
            unscored=request.candidates[count:],
            weights=weights,
            model=self.model,
            truncated=0,
            features_missing=sum(each.features.missing > 0 for each in request.candidates),
            model_ms=1.5,
        )


class EncodingRanker(FakeRanker):
    """Also encodes queries: all point along the first axis."""

    encoder = "fake@1"

    def encode_query(self, query: str) -> Sequence[float]:
        """(2,)"""
        return [1.0, 0.0]


class BrokenRanker(FakeRanker):
    """A ranker that fails in a way of the test's choice."""

    def __init__(self, error: Exception | None = None, change: Callable[[Ranking], Ranking] | None = None) -> None:
        super().__init__()
        self._error = error
        self._change = change

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """Raises, or rankings that were tampered with."""
        if self._error is not None:
            raise self._error
        rankings = super().rank(requests)
        return [self._change(each) for each in rankings] if self._change is not None else []


class FakeDense:
    """A vector index that knows a fixed cosine for some documents, whatever the query."""

    def __init__(self, cosines: Mapping[str, float], *, checksum: str = "c0ffee", error: str = "") -> None:
        self._cosines = dict(cosines)
        self._checksum = checksum
        self._error = error
        #: What each search was restricted to.
        self.asked_among: list[Collection[str] | None] = []

    def checksum(self) -> str:
        """The checksum, or the error."""
        if self._error:
            raise RerankError(self._error)
        return self._checksum

    def nearest(self, query: str, k: int, among: Collection[str] | None = None) -> list[tuple[str, float]]:
        """The highest cosines."""
        self.asked_among.append(among)
        known = [each for each in self._cosines.items() if among is None or each[0] in among]
        return sorted(known, key=lambda each: -each[1])[:k]

    def cosines(self, query: str, doc_ids: Sequence[str]) -> list[float | None]:
        """The known cosines."""
        return [self._cosines.get(doc_id) for doc_id in doc_ids]
