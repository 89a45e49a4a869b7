"""A node of a cluster dies while searches run: ours fail no more often than those of the plain client beside it."""

from __future__ import annotations

import threading
import time
from typing import Any

from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import OpenSearchException

from fakes_library import GRAPH, META, ids, library
from fakes_search import FakeRanker
from harness.opensearch import Node, get_json
from rerank_plugin.client.opensearch import wrap
from rerank_plugin.client.pipeline import Pipeline
from rerank_plugin.config import Rerank

BODY: dict[str, Any] = {"query": GRAPH, "size": 30}
#: Searches of each client before the node dies, and after.
BEFORE, AFTER = 30, 120
SECONDS = 60.0


class Asking(threading.Thread):
    """One client that searches on and on."""

    def __init__(self, client: OpenSearch, index: str) -> None:
        super().__init__(daemon=True)
        self.client, self.index = client, index
        self.answers: list[Any] = []
        self.errors: list[OpenSearchException] = []
        self.enough = threading.Event()

    @property
    def count(self) -> int:
        return len(self.answers) + len(self.errors)

    def run(self) -> None:
        while not self.enough.is_set():
            # another query each time, so that no order that is kept answers it
            body = {**BODY, "query": {"match": {"text": f"graph w{self.count}"}}}
            try:
                self.answers.append(self.client.search(index=self.index, body=body))
            except OpenSearchException as error:
                self.errors.append(error)


def _manager(nodes: list[Node]) -> Node:
    """The elected one: its death is the worst."""
    url = nodes[0].url
    state: Any = get_json(f"{url}/_cluster/state/cluster_manager_node,nodes")
    name = state["nodes"][state["cluster_manager_node"]]["name"]
    return nodes[int(name.removeprefix("n"))]


def _wait(threads: list[Asking], count: int) -> None:
    until = time.monotonic() + SECONDS
    while any(each.count < count for each in threads) and time.monotonic() < until:
        time.sleep(0.05)


def test_the_elected_manager_is_killed(three_nodes: list[Node]) -> None:
    hosts = [node.url for node in three_nodes]
    options: dict[str, Any] = {"timeout": 10, "max_retries": 4, "retry_on_timeout": True}
    plain, inner = OpenSearch(hosts, **options), OpenSearch(hosts, **options)
    ours = wrap(inner, pipeline=Pipeline(Rerank(window=20), ranker=FakeRanker()))
    settings = {"number_of_shards": 3, "number_of_replicas": 1, "index.unassigned.node_left.delayed_timeout": "2s"}
    plain.indices.create(index="three", body={"settings": settings, "mappings": {"_meta": {"rerank": META}}})
    books = library(40)
    helpers.bulk(plain, [{"_index": "three", "_id": name, **book} for name, book in books.items()], refresh=True)
    plain.cluster.health(index="three", wait_for_status="green")
    expected = {name for name, book in books.items() if str(book["text"]).startswith("graph")}
    asking = [Asking(plain, "three"), Asking(ours, "three")]
    for each in asking:
        each.start()
    _wait(asking, BEFORE)
    _manager(three_nodes).kill()
    _wait(asking, BEFORE + AFTER)
    for each in asking:
        each.enough.set()
        each.join(SECONDS)
    beside, reranked = asking
    told = f"plain {len(beside.errors)} of {beside.count} failed, ours {len(reranked.errors)} of {reranked.count}"
    assert min(beside.count, reranked.count) >= BEFORE + AFTER, told
    assert len(reranked.errors) <= len(beside.errors), f"{told}: {reranked.errors[:3]}"
    whole = [each for each in reranked.answers if each["_shards"]["failed"] == 0 and not each["timed_out"]]
    assert len(whole) >= BEFORE + AFTER // 2, told
    for answer in whole:
        assert set(ids(answer)) == expected
        assert len(ids(answer)) == answer["hits"]["total"]["value"] == len(expected)
    assert sum(each["rerank"]["status"] == "applied" for each in reranked.answers) >= BEFORE
    assert reranked.answers[-1]["rerank"]["status"] == "applied"
    for client in (plain, inner):
        client.close()
