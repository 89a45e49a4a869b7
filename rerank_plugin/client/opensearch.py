"""The drop-in clients: opensearch-py's own classes, and their own copies, over a reranking transport."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import opensearchpy
from opensearchpy.client.utils import NamespacedClient
from opensearchpy.transport import Transport

from rerank_plugin.client.transport import AsyncRerankTransport, Reranking, RerankTransport
from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from rerank_plugin.client.pipeline import Pipeline

#: How the address of an embedded engine begins; a folder follows.
EMBEDDED = "embedded:"

Client = TypeVar("Client")


class OpenSearch(opensearchpy.OpenSearch):
    """opensearch-py's ``OpenSearch`` whose searches come back reranked.

    >>> client = OpenSearch("http://localhost:9200", rerank={"window": 50, "weights": {"freshness": 1.0}})
    """

    def __init__(
        self,
        hosts: Any = None,
        transport_class: type[Transport] = Transport,
        *,
        rerank: Rerank | Mapping[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Takes what opensearch-py's class takes, and besides:

        :param hosts: also ``embedded:FOLDER``, the embedded engine.
        :param rerank: settings, a mapping of them, or False for none of it.
        :raises ConfigError: a setting is wrong.
        """
        pipeline = pipeline_of(rerank)
        address = hosts[0] if isinstance(hosts, (list, tuple)) and len(hosts) == 1 else hosts
        if isinstance(address, str) and address.startswith(EMBEDDED):
            from rerank_plugin.engines.connect import connect

            embedded = connect(address, **kwargs).transport
            super().__init__(None, lambda *_args, **_kwargs: embedded)
        else:
            super().__init__(hosts, transport_class, **kwargs)
        self.transport: Any = RerankTransport(self.transport, pipeline)


def wrap(
    client: Client, rerank: Rerank | Mapping[str, Any] | bool | None = None, *, pipeline: Pipeline | None = None
) -> Client:
    """A new client of the same class that reranks over the connections of ``client``, which stays as it was.

    A client that reranks already gives one that reranks by the new settings alone. Both share their connections:
    closing one closes the other's.

    :param pipeline: used in place of one built from ``rerank``, to share a model between clients.
    :raises ConfigError: a setting is wrong, or ``client`` is no client of opensearch-py.
    """
    transport = getattr(client, "transport", None)
    inner = transport.inner if isinstance(transport, Reranking) else transport
    request = getattr(inner, "perform_request", None)
    if request is None:
        raise ConfigError(f"wrap takes an OpenSearch or AsyncOpenSearch of opensearch-py, got {type(client).__name__}")
    kind = AsyncRerankTransport if inspect.iscoroutinefunction(request) else RerankTransport
    copies: dict[int, Any] = {}
    wrapped: Client = _repointed(client, copies)
    wrapped.transport = kind(  # type: ignore[attr-defined]
        inner, pipeline if pipeline is not None else pipeline_of(rerank)
    )
    return wrapped


def pipeline_of(rerank: Rerank | Mapping[str, Any] | bool | None) -> Pipeline:
    """A pipeline of the given settings.

    :raises ConfigError: a setting is wrong, in the environment too.
    """
    from rerank_plugin.client.pipeline import Pipeline  # here, so that importing the client costs next to nothing

    settings = Rerank.of(rerank)
    settings.with_environment()  # a mistake in the environment shows here, not at the first search
    return Pipeline(settings)


def _repointed(client: Any, copies: dict[int, Any]) -> Any:
    """A copy of a client or namespace, in which namespaces are copies that belong to it: they know it by reference."""
    known = copies.get(id(client))
    if known is not None:
        return known
    copied = copies[id(client)] = copy.copy(client)
    for name, value in vars(client).items():
        if isinstance(value, NamespacedClient) or id(value) in copies:
            setattr(copied, name, _repointed(value, copies))
    return copied
