"""Clients of every engine the contract holds for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearchpy import OpenSearch, helpers

from engines.library import DOCUMENTS, MAPPING
from rerank_plugin.engines.connect import connect


@pytest.fixture(scope="session", params=["embedded", pytest.param("opensearch", marks=pytest.mark.engine)])
def engine_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    """opensearch-py's client of the embedded engine, then of a real OpenSearch (skipped where there is none)."""
    if request.param == "embedded":
        client = connect(f"embedded:{tmp_path_factory.mktemp('engine')}")
    else:
        client = connect(request.getfixturevalue("opensearch_url"), timeout=60)
    yield client
    client.close()


@pytest.fixture
def index(engine_client: OpenSearch) -> Iterator[str]:
    """The name of an index that does not exist yet and is deleted afterwards: engines are shared by all tests."""
    name = _new_name()
    yield name
    engine_client.indices.delete(index=name, ignore_unavailable=True, ignore=404)


@pytest.fixture(scope="session")
def library(engine_client: OpenSearch) -> Iterator[str]:
    """An index with ``DOCUMENTS`` under the ids "0" to "4", for all tests that only read."""
    name = _new_name()
    _fill(engine_client, name)
    yield name
    engine_client.indices.delete(index=name)


@pytest.fixture
def own_library(engine_client: OpenSearch, index: str) -> str:
    """The same for a test that writes."""
    _fill(engine_client, index)
    return index


def _new_name() -> str:
    return f"contract-{uuid.uuid4().hex[:12]}"


def _fill(client: OpenSearch, index: str) -> None:
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=index, body={"settings": settings, "mappings": MAPPING})
    actions = [{"_index": index, "_id": str(at), **document} for at, document in enumerate(DOCUMENTS)]
    assert helpers.bulk(client, actions, refresh=True) == (len(DOCUMENTS), [])


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[OpenSearch]:
    """A client of an empty embedded engine in ``tmp_path``."""
    client = connect(f"embedded:{tmp_path}")
    yield client
    client.close()
