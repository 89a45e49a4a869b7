"""A rerank API over one model: ``POST /v1/rerank`` (also ``/rerank``) and ``GET /health``.

The field's usual shape: ``{"query", "documents": [text or {"text"}, ...], "top_n"?, "return_documents"?}`` gives
``{"model", "results": [{"index", "relevance_score"}, ...]}``, best first. With ``log_odds``, as our own client asks:
``z`` exactly, the model's weights, and the places of documents that could not be read.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from rerank_plugin.client.guard import Guard, OverloadedError
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.errors import DataError, RerankError
from rerank_plugin.ranking.blend import sigmoid
from rerank_plugin.ranking.ranker import ModelRanker
from rerank_plugin.ranking.scored import Scored, ranking_of
from rerank_plugin.ranking.types import RankRequest

#: The most of everything; more is refused.
BODY_BYTES = 32 << 20
DOCUMENTS = 1_000
QUERY_CHARACTERS = 10_000
PASSAGES = 100
#: How long a request may take that names no deadline, and what one with a deadline gets beyond it.
PATIENCE_SECONDS, GRACE_SECONDS = 60.0, 0.25


class TooLargeError(DataError):
    """A body has more bytes than it may have."""


def make_app(ranker: ModelRanker, *, key: str = "", at_once: int = 32) -> FastAPI:
    """The application.

    :param key: what callers must send as ``Authorization: Bearer``; empty lets everybody in.
    :param at_once: requests the model may work on; one more is answered 503.
    """
    app = FastAPI(title="rerank", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(at_once, time.monotonic)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": ranker.model}

    @app.post("/v1/rerank")
    @app.post("/rerank")
    async def rerank(request: Request) -> JSONResponse:
        sent = request.headers.get("authorization", "").encode("utf-8", "replace")
        if key and not hmac.compare_digest(sent, f"Bearer {key}".encode()):
            return _refused(401, "a key is wanted: Authorization: Bearer KEY")
        try:
            asked = Asked(await _body(request))
            [scored] = await guard.start(partial(ranker.score, [asked.request]), asked.seconds).awaited()
        except TooLargeError as error:
            return _refused(413, str(error))
        except DataError as error:
            return _refused(400, str(error))
        except OverloadedError as error:
            return _refused(503, str(error))
        except RerankError as error:
            return _refused(500, str(error))
        return JSONResponse(_answer(asked, scored, ranker))

    return app


class Asked:
    """A request that can be answered.

    :raises DataError: it cannot; the message says what was wanted.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        query, documents = body.get("query"), body.get("documents")
        if not isinstance(query, str) or not 0 < len(query) <= QUERY_CHARACTERS:
            raise DataError(f"query must be a text of 1 to {QUERY_CHARACTERS} characters")
        if not isinstance(documents, list) or not 0 < len(documents) <= DOCUMENTS:
            raise DataError(f"documents must be a list of 1 to {DOCUMENTS} texts")
        self.texts: list[Any] = [each.get("text") if isinstance(each, Mapping) else each for each in documents]
        if not all(isinstance(each, str) for each in self.texts):
            raise DataError("each of documents must be a text, or an object with text")
        scores = body.get("retrieval_scores") or [None] * len(documents)
        if not isinstance(scores, list) or len(scores) != len(documents) or not all(map(_is_score, scores)):
            raise DataError("retrieval_scores must be a list of a number or null per document")
        self.top_n = _whole(body, "top_n", len(documents), 10 * DOCUMENTS)
        self.passages = _whole(body, "passages", 1, PASSAGES)
        deadline_ms = body.get("deadline_ms")
        if deadline_ms is not None and not (is_finite_number(deadline_ms) and deadline_ms > 0):
            raise DataError("deadline_ms must be a number above 0")
        #: The longest that answering may take.
        self.seconds = min(PATIENCE_SECONDS, PATIENCE_SECONDS if deadline_ms is None else deadline_ms / 1000.0)
        self.with_texts = body.get("return_documents") is True
        self.log_odds = body.get("log_odds") is True
        candidates = (
            Candidate(doc_id=str(place), retrieval_rank=place + 1, retrieval_score=score, text=text)
            for place, (text, score) in enumerate(zip(self.texts, scores, strict=True))
        )
        deadline = None if deadline_ms is None else time.monotonic() + self.seconds
        self.request = RankRequest(query=query, candidates=tuple(candidates), deadline=deadline, passages=self.passages)
        self.seconds += GRACE_SECONDS


def _answer(asked: Asked, scored: Scored, ranker: ModelRanker) -> dict[str, Any]:
    found = [(place, z) for place, z in enumerate(scored.z) if z is not None]
    found.sort(key=lambda each: (-each[1], each[0]))
    results: list[dict[str, Any]] = []
    for place, z in found[: asked.top_n]:
        # at most eight digits: clients in Java take a longer literal for another type, and fail
        result: dict[str, Any] = {"index": place, "relevance_score": float(f"{sigmoid(z):.8g}")}
        if asked.log_odds:
            result["z"] = z
        if asked.with_texts:
            result["document"] = {"text": asked.texts[place]}
        results.append(result)
    answer: dict[str, Any] = {"model": ranker.model, "results": results}
    if asked.log_odds:
        ranking = ranking_of(asked.request, scored, weights=ranker.weights, model=ranker.model)
        answer["weights"], answer["refusal"] = ranker.weights.as_dict(), ranking.refusal
        for name in ("truncated", "unknown", "unread"):
            answer[name] = sorted(getattr(scored, name))
        answer["partial"] = len(found) < len(scored.z)
    return answer


async def _body(request: Request) -> Mapping[str, Any]:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES:
            raise TooLargeError(f"the body may have at most {BODY_BYTES} bytes")
    try:
        body = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise DataError("the body must be JSON") from error
    if not isinstance(body, Mapping):
        raise DataError(f"the body must be a JSON object, got {type(body).__name__}")
    return body


def _is_score(value: Any) -> bool:
    return value is None or is_finite_number(value)


def _whole(body: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise DataError(f"{name} must be a whole number from 1 to {most}")
    return value


def _refused(status: int, reason: str) -> JSONResponse:
    headers = {"retry-after": "1"} if status == 503 else None
    return JSONResponse({"error": reason}, status_code=status, headers=headers)
