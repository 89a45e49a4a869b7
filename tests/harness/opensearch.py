"""A real OpenSearch on this machine, for tests and for ``make opensearch``: one node, or several as one cluster.

The distribution is fetched once (``harness.distribution``). Each node has a folder of its own for configuration, data
and logs, listens on 127.0.0.1 only, and dies with the process that started it: by ``stop()``, at exit, and on Linux
by the kernel when that process is killed.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.distribution import VERSION, Unobtainable, distribution, missing, with_vectors
from harness.java import java_home

#: Slowest start seen on 2 busy cores is 47 s.
START_SECONDS = 180.0
#: SIGTERM takes about 2.5 s.
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
#: What every node is told. Test machines have little disk: its watermarks would make indexes read-only.
_EVERY_NODE = {"network.host": "127.0.0.1", "cluster.routing.allocation.disk.threshold_enabled": "false"}
# Loopback must not go through a proxy that the environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StartFailed(Exception):
    """OpenSearch did not come up; the message names its log and ends with the log's last lines."""


class Node:
    """A running OpenSearch."""

    def __init__(
        self,
        url: str,
        folder: Path,
        process: subprocess.Popen[bytes],
        *,
        keep: bool = False,
        ask: Callable[[str], dict[str, object]] | None = None,
    ) -> None:
        #: ``http://127.0.0.1:PORT``
        self.url = url
        self._ask = ask or get_json
        self.log = folder / "opensearch.log"
        self.pid = process.pid
        self._folder = folder
        self._process = process
        self._keep = keep
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the process and its group, and removes its folder; a second call does nothing."""
        atexit.unregister(self.stop)
        _end(self._process)
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Ends the process as a power cut would; ``stop`` is still to be called."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    def wait_until_ready(self, seconds: float = START_SECONDS, *, nodes: int = 1) -> None:
        """Returns once the cluster is yellow or green and has so many nodes.

        :raises StartFailed: the process ended, or the time is over.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise StartFailed(self._trouble(f"ended with status {self._process.returncode}"))
            with contextlib.suppress(urllib.error.URLError, OSError, ValueError):
                health = self._ask(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s")
                if health.get("status") in {"yellow", "green"} and health.get("number_of_nodes") == nodes:
                    return
            time.sleep(0.25)
        raise StartFailed(self._trouble(f"was not ready after {seconds:g} s"))

    def _trouble(self, what: str) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"OpenSearch {what}; its log {self.log} ends with:", *lines[-30:]])


def start(*, http_port: int = 0, heap: str = "512m", data: Path | None = None) -> Node:
    """A node that answers, on a free port unless one is given.

    :param heap: of the JVM, as its ``-Xmx`` takes it.
    :param data: a folder that survives the node; by default the node's own, removed with it.
    :raises Unobtainable: this machine cannot run OpenSearch, and why.
    :raises StartFailed: it did not come up; its folder with the log is kept.
    """
    node = launch({"discovery.type": "single-node"}, http_port=http_port, heap=heap, data=data, home=with_vectors)
    return all_ready([node])[0]


def launch(
    settings: Mapping[str, object],
    *,
    http_port: int = 0,
    heap: str = "512m",
    data: Path | None = None,
    home: Callable[[], Path] = distribution,
    configure: Callable[[Path], None] | None = None,
    scheme: str = "http",
    ask: Callable[[str], dict[str, object]] | None = None,
) -> Node:
    """A node on its way: :func:`all_ready` waits for it. Parameters as :func:`start`, and besides:

    :param settings: of ``opensearch.yml``, besides those that every node has.
    :param home: brings an unpacked OpenSearch here; by default the plain distribution.
    :param configure: what is to be written into the node's own configuration folder, which it is given.
    :param ask: reads JSON from a URL of the node; by default over plain HTTP.
    """
    lacking = missing()
    java = java_home()
    if lacking is not None or java is None:
        raise Unobtainable(lacking or "no Java was found")
    port = free_port(http_port)
    unpacked = home()
    folder = Path(tempfile.mkdtemp(prefix="rerank-opensearch-"))
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    told = {"cluster.name": f"rerank-{port}", "http.port": port, "transport.port": 0, **_EVERY_NODE, **settings}
    told.update({"path.data": str(data or folder / "data"), "path.logs": str(folder / "logs")})
    if not told["transport.port"]:
        told["transport.port"] = free_port()
    _prepare(folder, unpacked, told, configure)
    for path in (folder, *folder.rglob("*"), *((data, *data.rglob("*")) if data else ())) if account else ():
        os.chown(path, account.pw_uid, account.pw_gid)
    with (folder / "opensearch.log").open("wb") as log:
        process = subprocess.Popen(
            [unpacked / "bin" / "opensearch"],
            cwd=folder,
            env=_environment(folder, java, heap),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    return Node(f"{scheme}://127.0.0.1:{port}", folder, process, ask=ask)


def all_ready(nodes: list[Node]) -> list[Node]:
    """The nodes, once each of them answers and sees them all; where one does not, all are stopped.

    :raises StartFailed: one did not come up; its folder with the log is kept.
    """
    try:
        for node in nodes:
            try:
                node.wait_until_ready(nodes=len(nodes))
            except StartFailed:
                node._keep = True
                raise
    except BaseException:
        for node in nodes:
            node.stop()
        raise
    return nodes


def start_or_leave(**options: Any) -> Node:
    """A node for a script that is of no use without one: where none can be had, it says so and ends with status 0."""
    try:
        return start(**options)
    except Unobtainable as error:
        sys.stdout.write(f"skipped: {error}; a server of your own may be named with --engine URL\n")
        sys.exit(0)


def get_json(url: str) -> dict[str, object]:
    """The JSON object at ``url``, asked without a proxy.

    :raises OSError: no answer, or an error status.
    """
    with _DIRECT.open(url, timeout=10) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def _prepare(
    folder: Path, home: Path, settings: Mapping[str, object], configure: Callable[[Path], None] | None
) -> None:
    """The node's own configuration, with everything it writes kept below ``folder``."""
    config = shutil.copytree(home / "config", folder / "config")
    options = config / "jvm.options"
    options.write_text(
        options.read_text(encoding="utf-8").replace("logs/", f"{folder}/logs/").replace("=data", f"={folder}/data"),
        encoding="utf-8",
    )
    for name in ("data", "logs", "tmp"):
        (folder / name).mkdir()
    Path(str(settings["path.data"])).mkdir(parents=True, exist_ok=True)
    # JSON is YAML
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]
    (config / "opensearch.yml").write_text("".join(lines), encoding="utf-8")
    if configure is not None:
        configure(config)


def _environment(folder: Path, java: Path, heap: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OPENSEARCH_JAVA_HOME": str(java),
        "OPENSEARCH_JAVA_OPTS": f"-Xms{heap} -Xmx{heap}",
        "OPENSEARCH_PATH_CONF": str(folder / "config"),
        "OPENSEARCH_TMPDIR": str(folder / "tmp"),
    }


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs before exec so that the kernel ends it with its parent; Linux has that, others rely on exit."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(wanted: int = 0) -> int:
    """The port that was wanted, or any for 0; a port that somebody listens on is refused before anything starts."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise StartFailed(
                f"port {wanted} of 127.0.0.1 cannot be used ({error.strerror}); choose another"
            ) from error
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole process group, gently first."""
    if process.poll() is not None:
        return
    for sign, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return


def main() -> int:
    """``--fetch``: only bring the distribution here. Otherwise runs a node until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=f"OpenSearch {VERSION} on this machine, in the foreground.")
    parser.add_argument("--port", type=int, default=9200, help="HTTP port; 0 takes a free one (default: 9200)")
    parser.add_argument("--data", type=Path, help="folder that keeps the indexes; default: gone when it stops")
    parser.add_argument("--fetch", action="store_true", help="fetch the distribution and exit; 1 where that fails")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if asked.fetch:
            lacking = missing()
            if lacking is not None:
                raise Unobtainable(lacking)
            with_vectors()
            return 0
        sys.stderr.write("starting OpenSearch; the first time fetches 194 MB ...\n")
        node = start(http_port=asked.port, data=asked.data and asked.data.resolve())
    except (Unobtainable, StartFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{node.url}\n")
    sys.stdout.flush()
    sys.stderr.write(f"OpenSearch {VERSION} answers; log {node.log}; Ctrl-C stops it\n")
    try:
        while node.running:
            time.sleep(0.5)
        sys.stderr.write("OpenSearch ended by itself\n")
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        node.stop()


if __name__ == "__main__":
    sys.exit(main())
