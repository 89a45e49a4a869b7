"""Fixtures of the whole suite: the development collections and a real OpenSearch, both only where they can be had."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from opensearchpy import OpenSearch

from harness import data
from harness.cluster import start_three
from harness.distribution import Unobtainable
from harness.opensearch import Node, start
from harness.secure import Secure, secure_node

# Two busy cores make single examples slow: no deadline. In CI every run draws the same examples.
settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("suite")

# What a developer's shell sets must not decide what the tests see.
for variable in ("MODE", "MODEL", "CONFIG", "KILL_FILE", "API_KEY", "API_KEY_FILE"):
    os.environ.pop(f"RERANK_{variable}", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the real OpenSearch carries the marker ``engine``."""
    for item in items:
        if {"opensearch_url", "three_nodes", "secured"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the development collections; skips where it is absent."""
    root = data.data_root()
    if not (root / "beir").is_dir():
        pytest.skip("needs the development collections: set RERANK_DATA to their folder")
    return root


@pytest.fixture(scope="session")
def collection() -> Callable[[str], Path]:
    """A function from a collection's name to its BEIR folder; it skips the test where that is absent."""
    return data.collection


@pytest.fixture(scope="session")
def opensearch_node() -> Iterator[Node]:
    """The session's own OpenSearch, started by the first test that asks; skips where none can be had.

    ``RERANK_REQUIRE_OPENSEARCH=1`` turns that skip into a failure.
    """
    with _or_skip():
        node = start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def secured() -> Iterator[Secure]:
    """One node behind TLS with users, started by the first test that asks; skips as ``opensearch_node`` does."""
    with contextlib.ExitStack() as stack:
        with _or_skip():
            found = stack.enter_context(secure_node())
        yield found


@pytest.fixture
def three_nodes() -> Iterator[list[Node]]:
    """Three nodes as one cluster, of which the test may kill some; skips as ``opensearch_node`` does."""
    with _or_skip():
        nodes = start_three()
    yield nodes
    for node in nodes:
        node.stop()


@contextlib.contextmanager
def _or_skip() -> Iterator[None]:
    try:
        yield
    except Unobtainable as error:
        if os.environ.get("RERANK_REQUIRE_OPENSEARCH") == "1":
            pytest.fail(f"RERANK_REQUIRE_OPENSEARCH is set, and {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def opensearch_url(request: pytest.FixtureRequest) -> str:
    """Where a real OpenSearch answers: ``RERANK_TEST_OPENSEARCH_URL``, else the session's own node.

    It is shared: a test takes an index name of its own and deletes it.
    """
    given = os.environ.get("RERANK_TEST_OPENSEARCH_URL")
    if given:
        return given
    node: Node = request.getfixturevalue("opensearch_node")
    return node.url


@pytest.fixture(scope="session")
def knn_client(opensearch_url: str) -> Iterator[OpenSearch]:
    """A client of a real OpenSearch with the k-NN plugin; skips where it lacks that."""
    with OpenSearch(opensearch_url) as client:
        if "opensearch-knn" not in {each["component"] for each in client.cat.plugins(format="json")}:
            pytest.skip("this OpenSearch has no k-NN plugin")
        yield client
