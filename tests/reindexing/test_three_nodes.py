"""reindex on a cluster of three nodes, one of which dies on the way: the copy is the source all the same."""

from __future__ import annotations

import json
import time
from typing import Any

from harness.opensearch import Node, get_json
from reindexing.library import Writer, client_of, contents, make_source, reindex, start

DOCUMENTS = 5_000


def manager(nodes: list[Node]) -> Node:
    """The elected one: its death is the worst."""
    state: Any = get_json(f"{nodes[0].url}/_cluster/state/cluster_manager_node,nodes")
    return nodes[int(state["nodes"][state["cluster_manager_node"]]["name"].removeprefix("n"))]


def test_a_node_dies_and_then_the_run_itself(three_nodes: list[Node], tmp_path) -> None:
    hosts = ",".join(node.url for node in three_nodes)
    source, dest, alias = "three-1", "three-2", "three-live"
    client = client_of(hosts)
    make_source(client, source, DOCUMENTS, shards=3, replicas=1)
    client.indices.put_settings(index=source, body={"index.unassigned.node_left.delayed_timeout": "1s"})
    client.indices.put_alias(index=source, name=alias)
    client.cluster.health(index=source, wait_for_status="green", timeout="60s", request_timeout=70)
    arguments = ("--source", source, "--dest", dest, "--alias", alias, "--keep-replicas", "--throttle", "800")
    state = tmp_path / f"{dest}.reindex.json"

    def read() -> int:
        return int(json.loads(state.read_text(encoding="utf-8"))["read"]) if state.exists() else 0

    with Writer(hosts, source, DOCUMENTS, pause=0.05):
        process = start(hosts, tmp_path, *arguments)
        while process.poll() is None and read() < DOCUMENTS // 4:
            time.sleep(0.05)
        manager(three_nodes).kill()
        while process.poll() is None and read() < DOCUMENTS // 2:
            time.sleep(0.05)
        assert process.poll() is None, "the run outlives the node"
        process.kill()
        process.wait()
        report = reindex(hosts, tmp_path, *arguments, "--resume")
    assert report["read"] < DOCUMENTS
    assert list(client.indices.get_alias(name=alias)) == [dest]
    assert contents(client, dest) == contents(client, source)
    client.close()
