"""The driver of the flows for opensearch-py's synchronous clients: a transport around a transport (DESIGN 6.0)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rerank_plugin.client.calls import EngineCall, Flow, LocalCall, RankCall

if TYPE_CHECKING:
    from rerank_plugin.client.pipeline import Pipeline


class RerankTransport:
    """An opensearch-py transport whose searches come back reranked.

    Everything that is no search goes to the wrapped transport as it came, and every other attribute is its own.
    """

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
        from rerank_plugin.client.flow import flow_for  # here, so that importing the client costs next to nothing

        call = EngineCall(method=method, path=url, params=params or {}, body=body, headers=headers, ignore=ignore)
        flow = flow_for(call, self._pipeline)
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
            return self._pipeline.rank(call.requests)
        if isinstance(call, LocalCall):
            return call.run()
        return self._inner.perform_request(
            call.method,
            call.path,
            params=dict(call.params),  # the transport takes its own parameters out of what it gets
            body=call.body,
            timeout=timeout,
            ignore=call.ignore,
            headers=call.headers,
        )
