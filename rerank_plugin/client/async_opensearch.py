"""The drop-in client for asyncio: opensearch-py's ``AsyncOpenSearch`` over a reranking transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from opensearchpy import AsyncOpenSearch as _Plain
    from opensearchpy import AsyncTransport
except ImportError as error:  # opensearch-py has these names only where aiohttp is
    raise ImportError("AsyncOpenSearch needs aiohttp: pip install 'rerank-plugin[async]'") from error

from rerank_plugin.client.opensearch import EMBEDDED, pipeline_of
from rerank_plugin.client.transport import AsyncRerankTransport
from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError


class AsyncOpenSearch(_Plain):
    """opensearch-py's ``AsyncOpenSearch`` whose searches come back reranked, without blocking the event loop.

    >>> client = AsyncOpenSearch("http://localhost:9200", rerank={"window": 50})
    """

    def __init__(
        self,
        hosts: Any = None,
        transport_class: type[AsyncTransport] = AsyncTransport,
        *,
        rerank: Rerank | Mapping[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Takes what opensearch-py's class takes, and besides:

        :param rerank: settings, a mapping of them, or False for none of it.
        :raises ConfigError: a setting is wrong, or the host is an embedded engine, which has no async client.
        """
        pipeline = pipeline_of(rerank)
        for address in hosts if isinstance(hosts, (list, tuple)) else [hosts]:
            if isinstance(address, str) and address.startswith(EMBEDDED):
                raise ConfigError("the embedded engine has no async client; use OpenSearch in a thread")
        super().__init__(hosts, transport_class, **kwargs)
        self.transport: Any = AsyncRerankTransport(self.transport, pipeline)
