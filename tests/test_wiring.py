"""What joins the rooms, where no command's test sees it."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionError, TransportError

from rerank_plugin.wiring import engine_version


class Engine:
    """A client that answers ``GET /`` so."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer

    def info(self) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_engine_that_does_not_tell_its_version_is_judged_all_the_same() -> None:
    assert engine_version(Engine({"version": {"distribution": "opensearch", "number": "3.5.0"}})) == "opensearch 3.5.0"
    assert engine_version(Engine({"version": {"number": "9.5.3"}})) == "elasticsearch 9.5.3"
    assert engine_version(Engine(TransportError(405, "method not allowed", {}))) == "unknown (405)"
    with pytest.raises(ConnectionError):
        engine_version(Engine(ConnectionError("N/A", "refused", OSError("refused"))))
