"""A ranker whose model runs elsewhere: ``rerank serve``, or any server of the usual rerank API over HTTP.

Sent: ``{"query", "documents": [text, ...], "top_n"}`` and, for servers of ours, ``retrieval_scores``, ``passages``,
``deadline_ms`` and ``log_odds``, which others ignore. Wanted:
``{"results": [{"index", "relevance_score"}, ...]}``, each document once; ours add the exact log-odds
``z`` and what could not be read.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import urllib3

from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.scored import Scored, ranking_of
from rerank_plugin.ranking.types import RankRequest

#: Where a server of the usual API listens; added to an address without a path.
PATH = "/v1/rerank"
#: Characters of a document that are sent: models read a few thousand at most.
CHARACTERS = 50_000
#: The most bytes of an answer that are read, per document and besides.
ANSWER_BYTES_EACH, ANSWER_BYTES = 1_000, 100_000
#: What a server gets where the caller set no deadline.
PATIENCE_SECONDS = 30.0
CONNECT_SECONDS = 2.0
#: How near to 0 and 1 a score of another server may come before its log-odds are cut.
_EPSILON = 1e-9


class RemoteRanker:
    """Has windows scored by a server and blends here; threads may share it.

    :param url: ``http(s)://host:port``, or with the path of the endpoint.
    :param key: sent as ``Authorization: Bearer``; empty sends none.
    """

    def __init__(self, url: str, *, key: str = "") -> None:
        self._url = url if urlsplit(url).path.strip("/") else url.rstrip("/") + PATH
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(maxsize=32, retries=False)

    @property
    def model(self) -> str:
        """The address: it stands in the status until a server names its model."""
        return self._url

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request, in their order; each is one request to the server.

        :raises RerankError: it could not be reached, refused, or answered something else than a score per document.
        """
        return [self._ranking(request) for request in requests]

    def _ranking(self, request: RankRequest) -> Ranking:
        count = len(request.candidates)
        left = PATIENCE_SECONDS if request.deadline is None else request.deadline - time.monotonic()
        if left <= 0 or not count:
            return ranking_of(request, Scored([None] * count), weights=Weights(), model=self.model)
        began = time.monotonic()
        answer = self._answer(request, left)
        scored = Scored([None] * count, model_seconds=time.monotonic() - began)
        try:
            self._read(answer, scored, request)
            weights = Weights.of(answer.get("weights") or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RerankError(
                f"the scorer at {self._url} answered something else than results with index and relevance_score"
            ) from error
        return ranking_of(request, scored, weights=weights, model=str(answer.get("model") or self.model)[:200])

    def _answer(self, request: RankRequest, seconds: float) -> Mapping[str, Any]:
        body = {
            "query": request.query,
            "documents": [each.text[:CHARACTERS] for each in request.candidates],
            "top_n": len(request.candidates),
            "retrieval_scores": [each.retrieval_score for each in request.candidates],
            "passages": request.passages,
            "deadline_ms": 1000.0 * seconds,
            "log_odds": True,
        }
        # the server ends at the deadline; its answer then takes a moment to come here
        timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds + 0.2)
        most = ANSWER_BYTES + ANSWER_BYTES_EACH * len(request.candidates)
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=json.dumps(body).encode("ascii"),  # lone surrogates stay escapes
                headers=self._headers,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            content = response.read(most + 1)
            whole = len(content) <= most
            if whole:
                response.release_conn()
            else:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise RerankError(f"the scorer at {self._url} could not be reached: {type(error).__name__}") from error
        if response.status != 200:
            said = " ".join(content[:200].decode("utf-8", "replace").split())
            raise RerankError(f"the scorer at {self._url} answered {response.status}: {said}")
        if not whole:
            raise RerankError(f"the scorer at {self._url} answered more than {most} bytes")
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RerankError(f"the scorer at {self._url} answered no JSON") from error
        if not isinstance(answer, Mapping):
            raise RerankError(f"the scorer at {self._url} answered no JSON object")
        return answer

    def _read(self, answer: Mapping[str, Any], scored: Scored, request: RankRequest) -> None:
        """Takes over what the server says; a document it says nothing of was not reached by its deadline.

        :raises ValueError: a place that is none or came before, a score that is no number, or too few of them.
        """
        for result in answer["results"]:
            place = result["index"]
            if type(place) is not int or not 0 <= place < len(scored.z) or scored.z[place] is not None:
                raise ValueError(place)
            z = result["z"] if "z" in result else _log_odds(result["relevance_score"])
            if not is_finite_number(z):
                raise ValueError(z)
            scored.z[place] = float(z)
        if None in scored.z and not answer.get("partial"):
            raise ValueError("too few")
        scored.refusal = str(answer.get("refusal") or "")[:300]
        for name in ("truncated", "unknown"):
            getattr(scored, name).update(int(place) for place in answer.get(name) or ())
        without_text = (place for place, each in enumerate(request.candidates) if not each.text.strip())
        scored.unread.update(int(place) for place in answer.get("unread", without_text))


def _log_odds(score: Any) -> float:
    """Of a score in [0, 1], as other servers give it."""
    if not is_finite_number(score) or not 0 <= score <= 1:
        raise ValueError(score)
    share = min(max(float(score), _EPSILON), 1.0 - _EPSILON)
    return math.log(share / (1.0 - share))
