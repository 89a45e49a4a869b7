"""A client of the real OpenSearch, and names that a test may use for its own indexes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from reindexing.library import client_of


@pytest.fixture
def client(opensearch_url: str) -> Iterator[OpenSearch]:
    client = client_of(opensearch_url)
    yield client
    client.close()


@pytest.fixture
def name(client: OpenSearch) -> Iterator[str]:
    """A prefix; every index that begins with it is deleted afterwards."""
    prefix = f"r{uuid.uuid4().hex[:8]}"
    yield prefix
    client.indices.delete(index=f"{prefix}*", ignore=[404])
