"""From a request to the engine's REST interface to the flow that answers it; the driver only carries out calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rerank_plugin.client.attempt import attempt
from rerank_plugin.client.batch import batch_flow
from rerank_plugin.client.calls import EngineCall, Flow, LocalCall, RankCall
from rerank_plugin.client.meta import mapping_call
from rerank_plugin.client.options import refusal
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Search, split_body
from rerank_plugin.client.steps import Fetch, FetchOwn, Local, Rank, ReadMapping, Step
from rerank_plugin.client.templates import rendered_batch, rendered_search
from rerank_plugin.errors import ConfigError, RerankError

_ENDPOINT = re.compile(r"/(?:(?P<index>[^/]+)/)?(?P<name>_search|_msearch)(?P<template>/template)?/?")


def flow_for(call: EngineCall, pipeline: Pipeline) -> Flow[Any] | None:
    """The flow that answers a request, or ``None`` for everything that is no search."""
    found = _ENDPOINT.fullmatch(call.path)
    if found is None or call.method.upper() not in {"GET", "POST"}:
        return None
    index = found["index"] or ""
    if found["template"]:
        return template_flow(call, index, pipeline)
    return (batch_flow if found["name"] == "_msearch" else search_flow)(call, index, pipeline)


def search_flow(call: EngineCall, index: str, pipeline: Pipeline, *, own: EngineCall | None = None) -> Flow[Any]:
    """One search.

    :param own: the caller's request, where it is another way to ask for this search.
    :raises RequestError: its ``rerank`` object cannot be followed (a 400).
    """
    steps = attempt(Search(index, call.params, call.body), pipeline)
    try:
        step = next(steps)
        while True:
            try:
                reply = yield from _carried_out(step, call, own)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as finished:
        return finished.value
    except ConfigError as error:
        raise refusal(error) from error


def template_flow(call: EngineCall, index: str, pipeline: Pipeline) -> Flow[Any]:
    """A search template, or a batch of them.

    :raises RequestError: a ``rerank`` object cannot be followed (a 400).
    """
    try:
        if "_msearch" in call.path:
            batch = yield from rendered_batch(call, index, pipeline)
            return (yield from batch_flow(batch, index, pipeline)) if isinstance(batch, EngineCall) else batch
        search = yield from rendered_search(call, index, pipeline)
    except ConfigError as error:
        raise refusal(error) from error
    if not isinstance(search, EngineCall):
        return search
    own = replace(call, body=split_body(call.body)[0])
    return (yield from search_flow(search, index, pipeline, own=own))


def _carried_out(step: Step, call: EngineCall, own: EngineCall | None) -> Flow[Any]:
    """The reply to a step of a single search."""
    if isinstance(step, ReadMapping):
        return (yield mapping_call(step, call.headers))
    if isinstance(step, Local):
        return (yield LocalCall(step.run, step.brief))
    if isinstance(step, Rank):
        [ranking] = yield RankCall((step.request,))
        return ranking
    if isinstance(step, FetchOwn):
        return (yield own if own is not None else replace(call, body=step.body))
    return (yield from _fetched(step, call))


def _fetched(step: Fetch, call: EngineCall) -> Flow[Any]:
    params = {name: value for name, value in step.params.items() if name != "ignore"}
    response = yield EngineCall(method=call.method, path=call.path, params=params, body=step.body, headers=call.headers)
    if not isinstance(response, Mapping) or not isinstance(response.get("hits"), Mapping):
        raise RerankError("the engine's answer to the rewritten search has no hits")
    return response
