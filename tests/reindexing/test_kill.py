"""reindex killed with -9 while the application writes: the resumed run ends with the source, document by document."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from reindexing.library import Writer, contents, make_source, reindex, start

DOCUMENTS = 6_000


def read_so_far(state: Path) -> int:
    return int(json.loads(state.read_text(encoding="utf-8"))["read"]) if state.exists() else 0


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_under_concurrent_writes(client, name, opensearch_url, tmp_path, seed):
    source, dest, alias = f"{name}-1", f"{name}-2", f"{name}-live"
    make_source(client, source, DOCUMENTS)
    client.indices.put_alias(index=source, name=alias)
    arguments = ("--source", source, "--dest", dest, "--alias", alias, "--throttle", "2500")
    state = tmp_path / f"{dest}.reindex.json"
    chance = random.Random(seed)
    # The writer goes to the old index by name: when that is closed for good, nothing can change behind the comparison.
    with Writer(opensearch_url, source, DOCUMENTS, seed=seed) as writer:
        for _ in range(4):
            before = read_so_far(state)
            process = start(opensearch_url, tmp_path, *arguments, *(["--resume"] if state.exists() else []))
            while process.poll() is None and read_so_far(state) == before:
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 0.8))
            process.kill()
            process.wait()
            if not state.exists():
                break
        if list(client.indices.get_alias(name=alias)) != [dest]:
            reindex(opensearch_url, tmp_path, *arguments, "--resume")
    assert list(client.indices.get_alias(name=alias)) == [dest]
    assert writer.done > 50
    copied = contents(client, dest)
    assert copied == contents(client, source)
    assert any(key[0] not in {f"d{number}" for number in range(DOCUMENTS)} for key in copied), "new documents came too"


def at_work(state: Path) -> list[bool]:
    """Whether each stretch of a one-shard index has begun."""
    if not state.exists():
        return []
    stretches = json.loads(state.read_text(encoding="utf-8"))["stretches"]
    return [done > first for (_, done, _), first in zip(stretches, (-1, DOCUMENTS // 2 - 1), strict=False)]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_killed_at_four_fifths_reads_less_than_a_third_again(client, name, opensearch_url, tmp_path, shards):
    source, dest = f"{name}-1", f"{name}-2"
    make_source(client, source, DOCUMENTS, shards=shards)
    arguments = ("--source", source, "--dest", dest, "--throttle", "2000")
    state = tmp_path / f"{dest}.reindex.json"
    process = start(opensearch_url, tmp_path, *arguments)
    both = False
    while process.poll() is None and read_so_far(state) < 0.8 * DOCUMENTS:
        both = both or at_work(state) == [True, True]
        time.sleep(0.005)
    assert process.poll() is None, "it was to be killed on its way"
    process.kill()
    process.wait()
    before = read_so_far(state)
    assert both or shards > 1, "the two stretches of a shard are copied side by side"
    report = reindex(opensearch_url, tmp_path, *arguments, "--resume")
    assert report["read"] == DOCUMENTS - before <= 0.3 * DOCUMENTS
    assert contents(client, dest) == contents(client, source)


@pytest.mark.parametrize("moment", ["blocked", "switched"])
def test_killed_in_the_last_seconds(client, name, opensearch_url, tmp_path, moment):
    """The two moments in which more than the destination has changed, made by hand: they are too short to hit."""
    source, dest, alias = f"{name}-1", f"{name}-2", f"{name}-live"
    make_source(client, source, 60)
    client.indices.put_alias(index=source, name=alias)
    arguments = ("--source", alias, "--dest", dest, "--alias", alias)
    state = tmp_path / f"{dest}.reindex.json"
    process = start(opensearch_url, tmp_path, *arguments, "--throttle", "5")
    while process.poll() is None and read_so_far(state) == 0:
        time.sleep(0.005)
    process.kill()
    process.wait()
    stored = json.loads(state.read_text(encoding="utf-8"))
    client.transport.perform_request("PUT", f"/{source}/_block/write")
    state.write_text(json.dumps({**stored, "blocked": True}), encoding="utf-8")
    if moment == "switched":
        reindex(opensearch_url, tmp_path, *arguments, "--resume")
        client.index(index=alias, id="after", body={"title": "the copy's own"}, refresh=True)
        state.write_text(json.dumps({**stored, "blocked": True}), encoding="utf-8")
    reindex(opensearch_url, tmp_path, *arguments, "--resume")
    assert list(client.indices.get_alias(name=alias)) == [dest]
    own = {("after", None)} if moment == "switched" else set()
    assert contents(client, dest).keys() == contents(client, source).keys() | own
    assert not state.exists()
