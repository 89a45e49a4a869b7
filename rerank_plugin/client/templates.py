"""Search templates: the engine renders them, and what comes out is a search like any other.

``_render/template`` is the engine's own; where it may not be used, or the template is none, the caller's request is
sent as it is, so that its errors are the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opensearchpy.exceptions import TransportError

from rerank_plugin.client import ndjson
from rerank_plugin.client.calls import EngineCall, Flow
from rerank_plugin.client.options import KEY
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Off, Search, make_plan, split_body
from rerank_plugin.client.render import Status, with_status

#: What a template's request may say of the search beside the template itself.
_FLAGS = ("explain", "profile")


def rendered_search(call: EngineCall, index: str, pipeline: Pipeline) -> Flow[EngineCall | Any]:
    """The search that a template stands for, or the engine's answer to the caller's own request.

    :raises ConfigError: the body's ``rerank`` object cannot be followed.
    """
    plain, template, given = split_body(call.body)
    own = replace(call, body=plain)
    if template is None or isinstance(make_plan(Search(index, call.params, call.body), pipeline.settings), Off):
        return (yield own)
    try:
        body = yield from _rendered(template, given, call.headers)
    except _NotRendered as error:
        status = Status(status="skipped", reason=str(error), window=pipeline.settings.window)
        return with_status((yield own), status)
    return replace(call, path=_of_searches(call.path), body=body)


def rendered_batch(call: EngineCall, index: str, pipeline: Pipeline) -> Flow[EngineCall | Any]:
    """The msearch that a batch of templates stands for, or the engine's answer to the caller's own request.

    :raises ConfigError: a body's ``rerank`` object cannot be followed.
    """
    try:
        items = [(item.header, *split_body(item.body)) for item in ndjson.parse(call.body)]
    except ValueError:
        return (yield call)
    if isinstance(make_plan(Search(index, call.params, None), pipeline.settings), Off):
        return (yield call)
    lines = []
    try:
        for header, _, template, given in items:
            lines.append(ndjson.lines_of(header, (yield from _rendered(template or {}, given, call.headers))))
    except _NotRendered as error:
        status = Status(status="skipped", reason=str(error), window=pipeline.settings.window)
        own = "".join(ndjson.lines_of(header, plain) for header, plain, _, _ in items)
        answer = yield replace(call, body=own)
        if not isinstance(answer, Mapping) or "responses" not in answer:
            return answer
        return {**answer, "responses": [with_status(each, status) for each in answer["responses"]]}
    return replace(call, path=_of_searches(call.path), body="".join(lines))


class _NotRendered(Exception):
    """The engine does not say what a template stands for."""


def _rendered(template: Mapping[str, Any], given: Any, headers: Mapping[str, str] | None) -> Flow[dict[str, Any]]:
    asked = {key: template[key] for key in ("id", "source", "params") if key in template}
    try:
        answer = yield EngineCall(method="POST", path="/_render/template", params={}, body=asked, headers=headers)
    except TransportError as error:
        if not isinstance(error.status_code, int):
            raise  # not reached: it will not be for the caller's own request either
        raise _NotRendered(f"the engine did not render the template: {error.status_code} {error.error}") from error
    output = answer.get("template_output") if isinstance(answer, Mapping) else None
    if not isinstance(output, Mapping):
        raise _NotRendered("the engine's rendering of the template is no JSON object")
    body = {**output, **{flag: template[flag] for flag in _FLAGS if flag in template}}
    return body if given is None else {**body, KEY: given}


def _of_searches(path: str) -> str:
    return path.rstrip("/").removesuffix("/template")
