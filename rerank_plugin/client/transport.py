"""The drivers of the flows for opensearch-py's clients, sync and async: a transport around a transport (DESIGN 6.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rerank_plugin.client.calls import EngineCall, Flow, LocalCall, RankCall

if TYPE_CHECKING:
    from rerank_plugin.client.pipeline import Pipeline


class Reranking:
    """A transport around a transport. Every attribute that is not ours is the wrapped one's."""

    def __init__(self, inner: Any, pipeline: Pipeline) -> None:
        self._inner = inner
        self._pipeline = pipeline

    @property
    def inner(self) -> Any:
        """The wrapped transport."""
        return self._inner

    @property
    def pipeline(self) -> Pipeline:
        """What this transport reranks with."""
        return self._pipeline

    def __getattr__(self, name: str) -> Any:
        if name in {"_inner", "_pipeline"}:  # copying asks before they exist
            raise AttributeError(name)
        return getattr(self._inner, name)

    def _planned(self, call: EngineCall) -> Flow[Any] | None:
        from rerank_plugin.client.flow import flow_for  # here, so that importing the client costs next to nothing

        return flow_for(call, self._pipeline)


class RerankTransport(Reranking):
    """An opensearch-py transport whose searches come back reranked; all else goes to the wrapped one as it came."""

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The engine's answer; of a search, reranked and with the ``rerank`` status block.

        :raises opensearchpy.exceptions.RequestError: the body's ``rerank`` object cannot be followed; nothing was sent.
        :raises opensearchpy.exceptions.TransportError: what the engine says to the caller's own request.
        """
        call = EngineCall(method=method, path=url, params=params or {}, body=body, headers=headers, ignore=ignore)
        flow = self._planned(call)
        if flow is None:
            return self._inner.perform_request(
                method, url, params=params, body=body, timeout=timeout, ignore=ignore, headers=headers
            )
        return self._driven(flow, timeout)

    def _driven(self, flow: Flow[Any], timeout: float | None) -> Any:
        try:
            call = next(flow)
            while True:
                try:
                    reply = self._answered(call, timeout)
                except Exception as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(reply)
        except StopIteration as finished:
            return finished.value

    def _answered(self, call: EngineCall | RankCall | LocalCall, timeout: float | None) -> Any:
        if isinstance(call, RankCall):
            return self._pipeline.rank(call.requests).result()
        if isinstance(call, LocalCall):
            return call.run()
        return self._inner.perform_request(call.method, call.path, **_arguments(call, timeout))


class AsyncRerankTransport(Reranking):
    """The same around an ``AsyncTransport``. The model runs in a thread, so that the event loop goes on meanwhile."""

    async def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """As :meth:`RerankTransport.perform_request`.

        :raises opensearchpy.exceptions.RequestError: the body's ``rerank`` object cannot be followed; nothing was sent.
        :raises opensearchpy.exceptions.TransportError: what the engine says to the caller's own request.
        """
        call = EngineCall(method=method, path=url, params=params or {}, body=body, headers=headers, ignore=ignore)
        flow = self._planned(call)
        if flow is None:
            return await self._inner.perform_request(
                method, url, params=params, body=body, timeout=timeout, ignore=ignore, headers=headers
            )
        return await self._driven(flow, timeout)

    async def _driven(self, flow: Flow[Any], timeout: float | None) -> Any:
        try:
            call = next(flow)
            while True:
                try:
                    reply = await self._answered(call, timeout)
                except Exception as error:  # a cancelled task's CancelledError is none: it ends the flow as it should
                    call = flow.throw(error)
                else:
                    call = flow.send(reply)
        except StopIteration as finished:
            return finished.value

    async def _answered(self, call: EngineCall | RankCall | LocalCall, timeout: float | None) -> Any:
        if isinstance(call, RankCall):
            return await self._pipeline.rank(call.requests).awaited()
        if isinstance(call, LocalCall):
            return call.run() if call.brief else await asyncio.to_thread(call.run)
        return await self._inner.perform_request(call.method, call.path, **_arguments(call, timeout))


def _arguments(call: EngineCall, timeout: float | None) -> dict[str, Any]:
    """What a transport is given besides method and path; a copy, as it takes its own parameters out of it."""
    return {
        "params": dict(call.params),
        "body": call.body,
        "timeout": timeout,
        "ignore": call.ignore,
        "headers": call.headers,
    }
