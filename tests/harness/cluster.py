"""Three OpenSearch nodes as one cluster, of which a test may kill one."""

from __future__ import annotations

from harness.opensearch import Node, all_ready, free_port, launch


def start_three(heap: str = "384m") -> list[Node]:
    """Three nodes that see each other, all of them with data and all of them able to be elected.

    :raises Unobtainable: this machine cannot run OpenSearch, and why.
    :raises StartFailed: one of them did not come up.
    """
    ports: list[int] = []
    while len(ports) < 3:  # two calls may give the same port
        ports = list({*ports, free_port()})
    nodes: list[Node] = []
    try:
        for number, port in enumerate(ports):
            settings = {
                "cluster.name": f"rerank-three-{ports[0]}",
                "node.name": f"n{number}",
                "transport.port": port,
                "discovery.seed_hosts": [f"127.0.0.1:{each}" for each in ports],
                "cluster.initial_cluster_manager_nodes": ["n0", "n1", "n2"],
            }
            nodes.append(launch(settings, heap=heap))
    except BaseException:
        for node in nodes:
            node.stop()
        raise
    return all_ready(nodes)
