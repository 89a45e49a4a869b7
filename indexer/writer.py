"""Writing documents to an engine through opensearch-py's helpers; its errors become one line of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from indexer.progress import Progress
from indexer.rejects import Rejects
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import EngineError

#: A bulk request holds at most this many documents, and at most this many bytes unless one document is larger.
CHUNK_DOCUMENTS = 500
CHUNK_BYTES = 8 * 1024 * 1024
REQUEST_TIMEOUT_S = 120
#: A node that is short of memory answers 429: wait 1, 2, 4 and 8 seconds, then count the document as refused.
RETRIES = 4


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


class IndexWriter:
    """One new index of one engine."""

    def __init__(self, client: Any, index: str) -> None:
        """Writes to ``index`` through an opensearch-py client."""
        self._client = client
        self._index = index

    def check_free(self, *, recreate: bool) -> None:
        """Nothing, where the index can be made; asked before any work, so that the wait is not in vain.

        :raises EngineError: it exists and may not be replaced, or is an alias, or the engine cannot be reached.
        """
        with engine_errors(f"looking for the index {self._index}"):
            exists = self._client.indices.exists(index=self._index)
            alias = exists and self._index not in self._client.indices.get(index=self._index)
        if alias:
            raise EngineError(f"{self._index} is an alias; name a new index and switch the alias to it afterwards")
        if exists and not recreate:
            raise EngineError(f"the index {self._index} exists; replace it with --recreate or name another")

    def create(self, body: dict[str, Any], *, recreate: bool) -> None:
        """Makes the index, in the place of an older one if asked to.

        :raises EngineError: the engine refused.
        """
        with engine_errors(f"creating the index {self._index}"):
            if recreate and self._client.indices.exists(index=self._index):
                self._client.indices.delete(index=self._index)
            self._client.indices.create(index=self._index, body=body)

    def write(
        self, documents: Iterable[tuple[str, dict[str, Any]]], total: int, rejects: Rejects, progress: Progress
    ) -> int:
        """How many documents the engine took, by its own count after a refresh; refused ones go to ``rejects``.

        :raises EngineError: the engine went away, or its count differs from what it acknowledged.
        """
        from opensearchpy.helpers import streaming_bulk

        # What was sent and not yet answered: the beginning of a refused document stands in the rejects file.
        pending: dict[str, dict[str, Any]] = {}
        taken = 0

        def actions() -> Iterator[dict[str, Any]]:
            for doc_id, source in documents:
                pending[doc_id] = source
                yield {"_index": self._index, "_id": doc_id, "_source": source}

        with engine_errors(f"writing to {self._index}"), progress.step("writing", total) as advance:
            for ok, item in streaming_bulk(
                self._client,
                actions(),
                chunk_size=CHUNK_DOCUMENTS,
                max_chunk_bytes=CHUNK_BYTES,
                raise_on_error=False,
                raise_on_exception=False,
                max_retries=RETRIES,
                initial_backoff=1,
                request_timeout=REQUEST_TIMEOUT_S,
            ):
                outcome = item["index"]
                source = pending.pop(str(outcome.get("_id")), {})
                if not ok:
                    self._refused(outcome, source, rejects, taken)
                taken += bool(ok)
                advance(1)
        self._verify(taken)
        return taken

    def _verify(self, taken: int) -> None:
        with engine_errors(f"counting the documents of {self._index}"):
            self._client.indices.refresh(index=self._index)
            counted = int(self._client.count(index=self._index)["count"])
        if counted != taken:
            raise EngineError(
                f"{self._index} holds {counted} documents, the engine acknowledged {taken}; is something else writing "
                "to it? Load again with --recreate"
            )

    def describe(self, meta: IndexMeta) -> None:
        """Puts ``meta`` under ``_meta.rerank``: the last step, so that an index without it is an unfinished one.

        :raises EngineError: the engine refused.
        """
        with engine_errors(f"describing the index {self._index}"):
            self._client.indices.put_mapping(index=self._index, body={"_meta": {"rerank": meta.to_json()}})

    def _refused(self, outcome: dict[str, Any], source: dict[str, Any], rejects: Rejects, taken: int) -> None:
        if not isinstance(outcome.get("status"), int):  # "N/A" or "TIMEOUT": no answer at all
            raise EngineError(
                f"writing to {self._index}: the engine stopped answering after {taken} documents "
                f"({brief(outcome.get('error'))}); the index is incomplete, load again with --recreate"
            )
        rejects.add(
            "refused",
            source=self._index,
            line=None,
            reason=f"{outcome['status']} {brief(outcome.get('error'))}",
            record=json.dumps({"_id": outcome.get("_id"), **source}, ensure_ascii=False),
        )


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
