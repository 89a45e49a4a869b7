"""Reranking for OpenSearch and Elasticsearch behind the client applications already use.

>>> from rerank_plugin import OpenSearch          # instead of: from opensearchpy import OpenSearch
>>> client = OpenSearch("http://localhost:9200")
>>> client.search(index="articles", body={"query": {"match": {"body": "graph search"}}})["rerank"]["status"]
'applied'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerank_plugin.client.async_opensearch import AsyncOpenSearch as AsyncOpenSearch
    from rerank_plugin.client.opensearch import OpenSearch as OpenSearch
    from rerank_plugin.client.opensearch import wrap as wrap
    from rerank_plugin.config import FieldSource as FieldSource
    from rerank_plugin.config import Rerank as Rerank
    from rerank_plugin.domain.factors import Weights as Weights

__version__ = "0.1.0"

#: Public name -> the module it lives in: nothing is imported before it is asked for.
_HOMES = {
    "AsyncOpenSearch": "rerank_plugin.client.async_opensearch",
    "FieldSource": "rerank_plugin.config",
    "OpenSearch": "rerank_plugin.client.opensearch",
    "Rerank": "rerank_plugin.config",
    "Weights": "rerank_plugin.domain.factors",
    "wrap": "rerank_plugin.client.opensearch",
}
__all__ = ["AsyncOpenSearch", "FieldSource", "OpenSearch", "Rerank", "Weights", "__version__", "wrap"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'rerank_plugin' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
