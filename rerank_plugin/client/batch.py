"""msearch: every search under its own rules, their windows in one request, one scoring call for all (DESIGN 6.9)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from opensearchpy.exceptions import TransportError

from rerank_plugin.client import ndjson
from rerank_plugin.client.attempt import attempt
from rerank_plugin.client.calls import EngineCall, Flow, LocalCall, RankCall
from rerank_plugin.client.meta import mapping_call
from rerank_plugin.client.options import refusal_body
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.client.plan import Search
from rerank_plugin.client.steps import Fetch, FetchOwn, Local, Rank, ReadMapping, Step
from rerank_plugin.errors import ConfigError, RerankError

#: Parameters of the whole request that change every item's response.
_SHARED_PARAMS = ("filter_path", "format")


@dataclass(slots=True)
class _Running:
    """One search of the batch on its way."""

    item: ndjson.Item
    steps: Generator[Step, Any, Any]
    #: What it waits for; None when it has its response.
    step: Step | None = None
    response: Any = None

    def resume(self, reply: Any = None, error: Exception | None = None) -> None:
        """Goes on to the next step, or to the response."""
        try:
            self.step = self.steps.send(reply) if error is None else self.steps.throw(error)
        except StopIteration as finished:
            self.step, self.response = None, finished.value
        except ConfigError as refused:
            self.step, self.response = None, refusal_body(refused)


def batch_flow(call: EngineCall, index: str, pipeline: Pipeline) -> Flow[Any]:
    """The answer to an msearch. A body that is none goes to the engine, which has words for that."""
    try:
        items = ndjson.parse(call.body)
    except ValueError:
        return (yield call)
    shared = {name: call.params[name] for name in _SHARED_PARAMS if name in call.params}
    batch = [_Running(item, attempt(_search_of(item, index, shared), pipeline)) for item in items]
    for running in batch:
        running.resume()
    answer: dict[str, Any] = {}
    mappings: dict[ReadMapping, Any] = {}
    while waiting := [running for running in batch if running.step is not None]:
        if turn := _waiting_for(waiting, ReadMapping):
            yield from _read_mapping(turn[0], call, mappings)
        elif turn := _waiting_for(waiting, Local):
            yield from _run_locally(turn[0])
        elif turn := _waiting_for(waiting, Fetch, FetchOwn):
            reply = yield from _search(turn, call)
            if reply is None:
                continue
            if not isinstance(reply, Mapping) or len(reply.get("responses", ())) != len(turn):
                return reply  # filtered or formatted as the caller asked: there is nothing to put a status in
            answer = {**reply, **answer, "took": answer.get("took", 0) + reply.get("took", 0)}
            for running, response in zip(turn, reply["responses"], strict=True):
                _hand_out(running, response)
        else:
            yield from _rank(waiting)
    return {"took": 0, **answer, "responses": [running.response for running in batch]}


def _search_of(item: ndjson.Item, index: str, shared: Mapping[str, Any]) -> Search:
    named = item.header.get("index")
    if named is not None:
        index = quote(",".join(named) if isinstance(named, list) else str(named), safe=",*")
    return Search(index, {**item.header, **shared}, item.body)


def _waiting_for(waiting: Sequence[_Running], *kinds: type) -> list[_Running]:
    return [running for running in waiting if isinstance(running.step, kinds)]


def _read_mapping(running: _Running, call: EngineCall, mappings: dict[ReadMapping, Any]) -> Flow[None]:
    """Searches of one batch over the same indices share one reading."""
    step = running.step
    if isinstance(step, ReadMapping) and step not in mappings:
        try:
            mappings[step] = yield mapping_call(step, call.headers)
        except TransportError as error:
            running.resume(error=error)
            return
    running.resume(mappings[step] if isinstance(step, ReadMapping) else None)


def _run_locally(running: _Running) -> Flow[None]:
    step = running.step
    try:
        reply = yield LocalCall(step.run, step.brief) if isinstance(step, Local) else LocalCall(lambda: None)
    except Exception as error:
        running.resume(error=error)
    else:
        running.resume(reply)


def _search(turn: Sequence[_Running], call: EngineCall) -> Flow[Any]:
    """The engine's answer to all waiting searches; None when it refused ours, which have been told."""
    ours = _waiting_for(turn, Fetch)
    try:
        return (yield replace(call, body="".join(_lines(running) for running in turn)))
    except TransportError as error:
        if not ours or not isinstance(error.status_code, int):
            raise
        for running in ours:
            running.resume(error=error)
    return None


def _lines(running: _Running) -> str:
    """The waiting search as two lines; the caller's own stay as they were written."""
    step, item = running.step, running.item
    if isinstance(step, FetchOwn):
        return item.lines if step.body is item.body else ndjson.lines_of(item.header, step.body)
    return ndjson.lines_of(step.params, step.body) if isinstance(step, Fetch) else ""


def _hand_out(running: _Running, response: Any) -> None:
    """Gives a search its item of the answer; what is no answer to a search of ours is raised in it."""
    has_hits = isinstance(response, Mapping) and isinstance(response.get("hits"), Mapping)
    if has_hits or isinstance(running.step, FetchOwn):
        running.resume(response)
    elif isinstance(response, Mapping) and isinstance(response.get("error"), Mapping):
        kind = str(response["error"].get("type", "error"))
        running.resume(error=TransportError(int(response.get("status", 500)), kind, response))
    else:
        running.resume(error=RerankError("the engine's answer to the rewritten search has no hits"))


def _rank(waiting: Sequence[_Running]) -> Flow[None]:
    """One scoring call for all windows; where it fails, each search is told."""
    try:
        rankings = yield RankCall(tuple(each.step.request for each in waiting if isinstance(each.step, Rank)))
    except Exception as error:
        for running in waiting:
            running.resume(error=error)
    else:
        for running, ranking in zip(waiting, rankings, strict=True):
            running.resume(ranking)
