"""What the tests of reindex share: a source, a writer that never rests, the command, a comparison."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk, scan

from indexer import cli

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
MAPPINGS = {
    "dynamic": False,
    "properties": {
        "title": {"type": "text"},
        "body": {"type": "text"},
        "n": {"type": "integer"},
        "date": {"type": "date"},
    },
}


def client_of(urls: str) -> OpenSearch:
    return OpenSearch(urls.split(","), timeout=60, max_retries=5, retry_on_timeout=True)


def document(number: int, revision: int = 0) -> dict[str, Any]:
    return {
        "title": f"document {number}",
        "body": f"revision {revision} " + "word " * 100,
        "n": number,
        "date": f"20{10 + number % 15}-03-01",
        "views": number % 50,
        "owner_reputation": number % 7,
    }


def make_source(client: OpenSearch, index: str, documents: int, *, shards: int = 2, replicas: int = 0) -> None:
    settings = {"number_of_shards": shards, "number_of_replicas": replicas, "refresh_interval": "7s"}
    client.indices.create(index=index, body={"settings": settings, "mappings": MAPPINGS})
    actions = ({"_index": index, "_id": f"d{number}", **document(number)} for number in range(documents))
    assert bulk(client, actions, refresh=True)[0] == documents


def contents(client: OpenSearch, index: str) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Every document by id and routing, the indexer's object taken out."""
    client.indices.refresh(index=index)
    return {
        (hit["_id"], hit.get("_routing")): {key: value for key, value in hit["_source"].items() if key != "rerank"}
        for hit in scan(client, index=index, size=2_000)
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from indexer.cli import main; main()", *arguments]


def reindex(url: str, folder: Path, *arguments: str, fails: bool = False) -> dict[str, Any]:
    """The JSON of ``rerank-index reindex ARGUMENTS``, or its line on standard error where it must fail."""
    return run("reindex", url, folder, *arguments, fails=fails)


def run(name: str, url: str, folder: Path, *arguments: str, fails: bool = False) -> dict[str, Any]:
    """The same of any command of ``rerank-index``."""
    finished = subprocess.run(
        command(name, "--engine", url, "--json", *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if fails:
        assert finished.returncode == 1, finished.stdout
        assert finished.stderr.count("\n") == 1, finished.stderr
        return {"error": finished.stderr}
    assert (finished.returncode, finished.stderr) == (0, "")
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


def start(url: str, folder: Path, *arguments: str, verb: str = "reindex") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(verb, "--engine", url, *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class Writer(threading.Thread):
    """Creates, updates and deletes documents of an index or alias until told to stop; refused writes go again later."""

    def __init__(self, url: str, index: str, documents: int, *, seed: int = 7, pause: float = 0.01) -> None:
        super().__init__(daemon=True)
        self._client = client_of(url)
        self._index, self._documents, self._pause = index, documents, pause
        self._random = random.Random(seed)
        self._over = threading.Event()
        self.done = 0

    def run(self) -> None:
        while not self._over.is_set():
            number = self._random.randrange(self._documents * 6 // 5)
            operation: dict[str, Any] = {"_index": self._index, "_id": f"d{number}"}
            if self._random.random() < 0.3:
                operation["_op_type"] = "delete"
            else:
                operation |= document(number, self.done + 1)
            # A refusal while the alias moves is what an application would see and try again.
            taken, _ = bulk(self._client, [operation], raise_on_error=False, raise_on_exception=False)
            self.done += taken
            time.sleep(self._pause)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._client.close()
