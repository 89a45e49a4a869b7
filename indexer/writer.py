"""Errors of opensearch-py become one line of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rerank_plugin.errors import EngineError


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turns opensearch-py's errors into :class:`EngineError`, naming what was being done."""
    from opensearchpy.exceptions import ConnectionError, OpenSearchException, SerializationError, TransportError

    try:
        yield
    except ConnectionError as error:
        raise EngineError(f"{doing}: no engine answers ({_reason(error)}); is it running there?") from error
    except TransportError as error:
        status = error.args[0] if error.args else "with an error"
        raise EngineError(f"{doing}: the engine answered {status} {_reason(error)}") from error
    except SerializationError as error:
        raise EngineError(f"{doing}: no JSON came back ({brief(error)}); is --engine an OpenSearch?") from error
    except OpenSearchException as error:
        raise EngineError(f"{doing}: {brief(error)}") from error


def _reason(error: Exception) -> str:
    """Type and reason of a failed request, as far as the client's error tells them.

    Its arguments are status, type and details; the properties by those names fail where one is absent.
    """
    _, kind, details = (*error.args, None, None, None)[:3]
    if str(kind).lstrip().startswith("<"):
        return "with a web page; is --engine an OpenSearch or Elasticsearch, or a proxy before one?"
    body = details.get("error") if isinstance(details, dict) else None
    return brief(body if isinstance(body, dict) else kind or type(error).__name__)


def brief(value: Any, limit: int = 300) -> str:
    """One line of an error, of bounded length."""
    if isinstance(value, dict):
        cause = value.get("caused_by")
        deeper = f" ({cause.get('reason')})" if isinstance(cause, dict) else ""
        value = f"{value.get('type', '')}: {value.get('reason', value)}{deeper}"
    line = " ".join(str(value).split())
    return line if len(line) <= limit else f"{line[:limit]}..."
