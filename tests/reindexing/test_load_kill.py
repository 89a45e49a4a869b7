"""load killed with -9 at random moments: the same command ends with the index holding exactly the file's documents."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from indexer.load_state import LoadState
from reindexing.library import ENVIRONMENT, command, contents, document, run, start
from rerank_plugin.engines.connect import connect

DOCUMENTS = 12_000


def write_documents(folder: Path, words: int = 1) -> dict[tuple[str, str | None], dict[str, Any]]:
    """The documents of the file, as :func:`contents` would tell them."""
    records = {
        f"d{number}": {"text": document(number)["body"] * words, **document(number)} for number in range(DOCUMENTS)
    }
    lines = (json.dumps({"_id": doc_id, **fields}) for doc_id, fields in records.items())
    (folder / "docs.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=1))
    return {(doc_id, None): fields for doc_id, fields in records.items()}


def position(file: Path) -> int:
    state = LoadState.read_file(file)
    return 0 if state is None else state.position


def kill_at(process: subprocess.Popen[bytes], file: Path, least: int, wait: float) -> None:
    """Kills the process a while after it has noted so many documents."""
    while process.poll() is None and position(file) < least:
        time.sleep(0.002)
    time.sleep(wait)
    process.kill()
    assert process.wait() in {0, -signal.SIGKILL}


def is_complete(client: OpenSearch, index: str) -> bool:
    """Whether the index is there and described, which is the last thing that happens to it."""
    if not client.indices.exists(index=index):
        return False
    return "rerank" in client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again(client, name, opensearch_url, tmp_path, seed):
    expected = write_documents(tmp_path)
    state = tmp_path / f"{name}.load.json"
    arguments = ("--index", name, "--docs", "docs.jsonl.gz", "--now", "2026-01-01")
    chance = random.Random(seed)
    kills = 0
    while kills < 4 and not is_complete(client, name):
        kill_at(start(opensearch_url, tmp_path, *arguments, verb="load"), state, 0, chance.uniform(0.5, 3.0))
        kills += 1
    if state.exists() or not is_complete(client, name):  # killed between describing and taking the state away, too
        report = run("load", opensearch_url, tmp_path, *arguments)
        assert report["written"] + report["skipped"] == DOCUMENTS
    assert contents(client, name) == expected
    meta = client.indices.get_mapping(index=name)[name]["mappings"]["_meta"]["rerank"]
    assert meta["documents"] == DOCUMENTS
    settings = client.indices.get_settings(index=name, flat_settings=True)[name]["settings"]
    assert (settings["index.number_of_replicas"], "index.refresh_interval" in settings) == ("1", False)
    assert not list(tmp_path.glob(f"{name}.load.*"))


@pytest.mark.parametrize("engine", ["opensearch", "embedded"])
def test_what_was_noted_is_not_written_again(request, name, tmp_path, engine):
    """The embedded engine dies with the process: what it had not refreshed is gone, and must come again."""
    url = request.getfixturevalue("opensearch_url") if engine == "opensearch" else f"embedded:{tmp_path / 'engine'}"
    expected = write_documents(tmp_path, words=1 if engine == "opensearch" else 5)
    state = tmp_path / f"{name}.load.json"
    arguments = ("--index", name, "--docs", "docs.jsonl.gz")
    kill_at(start(url, tmp_path, *arguments, verb="load"), state, 1, 0.0)
    noted = LoadState.read_file(state)
    assert noted is not None, "it was to be killed on its way"
    assert 0 < noted.position < DOCUMENTS
    report = run("load", url, tmp_path, *arguments)
    assert (report["written"], report["skipped"]) == (DOCUMENTS - noted.position, noted.position)
    client = connect(url)
    assert client.count(index=name)["count"] == DOCUMENTS
    if engine == "opensearch":
        assert contents(client, name) == expected
    for number in (0, noted.position, DOCUMENTS - 1):
        source = client.get(index=name, id=f"d{number}")["_source"]
        assert {key: value for key, value in source.items() if key != "rerank"} == expected[f"d{number}", None]
    client.close()


def test_standard_input_begins_from_the_beginning_and_says_so(client, name, opensearch_url, tmp_path):
    expected = write_documents(tmp_path)
    given = tmp_path / "docs.jsonl.gz"
    arguments = command("load", "--engine", opensearch_url, "--index", name, "--docs", "-", "--json")
    with given.open("rb") as stdin:
        process = subprocess.Popen(arguments, cwd=tmp_path, env=ENVIRONMENT, stdin=stdin, stdout=subprocess.DEVNULL)
        kill_at(process, tmp_path / f"{name}.load.json", 1, 0.0)
    assert client.indices.exists(index=name)
    finished = subprocess.run(
        arguments, cwd=tmp_path, env=ENVIRONMENT, input=given.read_bytes(), capture_output=True, check=True
    )
    report = json.loads(finished.stdout)
    assert (report["written"], report["skipped"]) == (DOCUMENTS, 0)
    assert report["notes"] == [
        "an earlier load was cut off; this one began from the beginning, because standard input cannot be read twice"
    ]
    assert contents(client, name) == expected
