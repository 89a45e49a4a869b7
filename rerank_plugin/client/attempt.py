"""One search, whatever happens: planned, reranked, or handed to the engine as it is, and the response says which."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from typing import Any

from opensearchpy.exceptions import TransportError

from rerank_plugin.client.course import Course
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Off, Plan, Search, Skip, make_plan, split_body
from rerank_plugin.client.render import Status, with_status
from rerank_plugin.client.steps import FetchOwn, Step
from rerank_plugin.errors import ConfigError, RefusedError, RerankError

_LOG = logging.getLogger(__name__)
_REASON_LENGTH = 300


def attempt(search: Search, pipeline: Pipeline) -> Generator[Step, Any, Any]:
    """The response to a search. Whatever fails on our side, the caller's own search is sent and its answer returned.

    :raises ConfigError: the body's ``rerank`` object cannot be followed.
    :raises TransportError: the engine cannot be reached, or refuses the caller's own search.
    """
    started = pipeline.clock()
    try:
        plan = make_plan(search, pipeline.settings)
    except ConfigError:
        raise
    except Exception as error:
        plan = Skip(split_body(search.body)[0], _reason(error), pipeline.settings.window)
    if isinstance(plan, Off):
        return (yield FetchOwn(plan.body))
    if isinstance(plan, Skip):
        status = Status(status="skipped", reason=plan.reason, window=plan.window)
        return (yield from _own(plan.body, status, pipeline, started))
    status = Status(status="applied", window=plan.window)
    if plan.settings.mode == "shadow":
        return (yield from _shadow(search, plan, status, pipeline, started))
    try:
        response = yield from Course(search, plan, pipeline, status, started).run()
    except TransportError as error:
        if not isinstance(error.status_code, int) and not status.fetched:
            raise  # the engine was not reached, or did not answer: it will not do so for the caller's own either
        reason = f"the engine refused the rewritten search: {error.status_code} {_cause(error)}"
    except RefusedError as error:
        status = Status(
            status="skipped",
            reason=str(error)[:_REASON_LENGTH],
            window=plan.window,
            model=status.model,
            retrieve_ms=status.retrieve_ms,
        )
        return (yield from _own(plan.own_body, status, pipeline, started))
    except Exception as error:
        reason = _reason(error)
    else:
        status.total_ms = 1000.0 * (pipeline.clock() - started)
        return with_status(response, status)
    failed = Status(
        status="fallback", reason=reason[:_REASON_LENGTH], window=plan.window, retrieve_ms=status.retrieve_ms
    )
    _LOG.warning("reranking fell back to the engine's order: %s", failed.reason)
    return (yield from _own(plan.own_body, failed, pipeline, started))


def _shadow(
    search: Search, plan: Plan, status: Status, pipeline: Pipeline, started: float
) -> Generator[Step, Any, Any]:
    """The engine's answer to the caller's own search, and beside it what reranking would have made of it."""
    response = yield FetchOwn(plan.own_body)
    status.retrieve_ms = 1000.0 * (pipeline.clock() - started)
    if not isinstance(response, Mapping) or "hits" not in response:
        return response
    try:
        reranked = yield from Course(search, plan, pipeline, status, started).run()
    except Exception as error:
        status.reason = f"would have fallen back: {_reason(error)}"[:_REASON_LENGTH]
    else:
        status.shadow = [{"_index": hit["_index"], "_id": hit["_id"]} for hit in reranked["hits"]["hits"]]
    status.status = "shadow"
    status.total_ms = 1000.0 * (pipeline.clock() - started)
    _LOG.info("shadow: %s", json.dumps({"query": plan.text, "index": plan.index, **status.to_json()}))
    return with_status(response, status)


def _own(body: Any, status: Status, pipeline: Pipeline, started: float) -> Generator[Step, Any, Any]:
    """The engine's answer to the caller's own search."""
    began = pipeline.clock()
    response = yield FetchOwn(body)
    now = pipeline.clock()
    status.retrieve_ms += 1000.0 * (now - began)
    status.total_ms = 1000.0 * (now - started)
    return with_status(response, status)


def _reason(error: Exception) -> str:
    """One line; what an unforeseen error says may hold anything, so only its kind is told, and the log has the rest."""
    if isinstance(error, RerankError):
        return " ".join(str(error).split())
    _LOG.error("reranking failed in an unforeseen way", exc_info=error)
    return f"unforeseen {type(error).__name__}; the log has more"


def _cause(error: TransportError) -> str:
    info = error.info if len(error.args) > 2 else None
    details = info.get("error") if isinstance(info, dict) else None
    causes = details.get("root_cause") if isinstance(details, dict) else None
    said = causes[0].get("reason") if isinstance(causes, list) and causes and isinstance(causes[0], dict) else None
    return " ".join(str(said or error.error).split())
