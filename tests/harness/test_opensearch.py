"""The harness brings up a real OpenSearch, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from harness import distribution, java, opensearch
from harness.data import CHECKOUT

#: Starts a harness-shaped process group whose leader ignores SIGTERM, so that only SIGKILL ends it.
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


def _node(tmp_path: Path, program: str) -> opensearch.Node:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    if process.stdout:
        process.stdout.readline()
        process.stdout.close()
    return opensearch.Node("http://127.0.0.1:9", tmp_path / "node", process)


def test_the_node_indexes_and_searches(opensearch_url: str) -> None:
    client = OpenSearch(opensearch_url)
    try:
        assert client.info()["version"]["distribution"] == "opensearch"
        client.bulk(
            body=[
                {"index": {"_index": "harness", "_id": "a"}},
                {"title": "red shoes"},
                {"index": {"_index": "harness", "_id": "b"}},
                {"title": "blue hat"},
            ],
            refresh=True,
        )
        found = client.search(index="harness", body={"query": {"match": {"title": "hat"}}})
        assert [hit["_id"] for hit in found["hits"]["hits"]] == ["b"]
    finally:
        client.indices.delete(index="harness", ignore_unavailable=True)
        client.close()


def test_a_stopped_node_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "STOP_SECONDS", 0.5)
    node = _node(tmp_path, STUBBORN)
    (tmp_path / "node").mkdir()
    assert node.running
    node.stop()
    assert not node.running
    assert not (tmp_path / "node").exists()
    node.stop()  # a second stop does nothing


def test_a_node_dies_with_the_process_that_started_it() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child that its parent was killed")
    parent = (
        "import os, signal, subprocess, sys; from harness.opensearch import _die_with_parent\n"
        "child = subprocess.Popen(['sleep', '60'], preexec_fn=_die_with_parent())\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The pipe ends only when the last holder of its writing end, the child, is gone.
    done = subprocess.run(
        [sys.executable, "-c", parent], env={"PYTHONPATH": str(CHECKOUT / "tests")}, capture_output=True, timeout=30
    )
    assert done.returncode == -9
    assert int(done.stdout) > 0


def test_a_node_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    node = _node(tmp_path, "print('x')")
    node.log.write_text("java.net.BindException: Address already in use\n")
    with pytest.raises(opensearch.StartFailed, match=r"ended with status 0; its log .*\n.*BindException"):
        node.wait_until_ready()
    node.stop()


@pytest.mark.parametrize(
    ("release", "version"), [('JAVA_VERSION="25.0.2"\n', 25), ('A="1"\nJAVA_VERSION="17.0.15"\n', 17), ("", None)]
)
def test_java_version_is_read_from_the_release_file(tmp_path: Path, release: str, version: int | None) -> None:
    binary = tmp_path / "bin" / "java"
    binary.parent.mkdir()
    assert java.java_version(tmp_path) is None
    binary.touch(mode=0o755)
    (tmp_path / "release").write_text(release)
    assert java.java_version(tmp_path) == version


def test_without_a_java_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "java_home", lambda: None)
    assert distribution.missing() == "no Java 21 or newer was found; install one or set OPENSEARCH_JAVA_HOME"
    with pytest.raises(distribution.Unobtainable, match="no Java 21"):
        opensearch.start()


def test_another_file_than_the_pinned_one_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as zipped:
        zipped.writestr("opensearch-3.5.0/bin/opensearch", "#!/bin/sh\n")
    maven.write_text(
        '#!/bin/sh\nfor each in "$@"; do case $each in -Dmaven.repo.local=*) at=${each#*=};; esac; done\n'
        "at=$at/org/opensearch/distribution/integ-test-zip/opensearch/3.5.0\n"
        f'mkdir -p "$at" && cp {planted} "$at/opensearch-3.5.0.zip"\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(maven.parent), prepend=":")
    monkeypatch.setattr(distribution, "cache_dir", lambda: tmp_path / "cache")
    with pytest.raises(distribution.Unobtainable, match=r"has sha256 [0-9a-f]{64}, wanted b676ad39"):
        distribution.distribution()
    assert not (tmp_path / "cache" / "opensearch-3.5.0").exists()


def test_a_taken_port_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "missing", lambda: None)
    monkeypatch.setattr(opensearch, "java_home", lambda: Path("anywhere"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(opensearch.StartFailed, match=f"port {port} of 127.0.0.1 cannot be used"):
            opensearch.start(http_port=port)
