"""What the embedded engine keeps through crashes, full disks and several processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opensearchpy import helpers
from opensearchpy.exceptions import TransportError

from rerank_plugin.engines.connect import connect

PRELUDE = """
import os, signal, sys
from opensearchpy import helpers
from opensearchpy.exceptions import TransportError
from rerank_plugin.engines.connect import connect

client = connect("embedded:" + sys.argv[1])

def add(*ids, refresh=False, **fields):
    return helpers.bulk(client, [{"_index": "i", "_id": each, "t": "word", **fields} for each in ids], refresh=refresh)

def ids():
    return sorted(hit["_id"] for hit in client.search(index="i", body={"size": 1000})["hits"]["hits"])
"""


def run(path: Path, script: str, *, expect: int = 0) -> str:
    """What a process of its own prints for ``script``, which finds a client of ``path`` as ``client``."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout.strip()


def found(path: Path) -> list[str]:
    """Ids of all documents a new client finds."""
    client = connect(f"embedded:{path}")
    try:
        return sorted(hit["_id"] for hit in client.search(index="i", body={"size": 1000})["hits"]["hits"])
    finally:
        client.close()


class TestCrash:
    def test_what_a_refresh_acknowledged_survives_kill(self, tmp_path):
        script = """
        add("a", "b", refresh=True)
        add("c")                          # no refresh: may be lost
        add("d", fresh_field=1)           # would need a new generation
        os.kill(os.getpid(), signal.SIGKILL)
        """
        run(tmp_path, script, expect=-9)
        assert {"a", "b"} <= set(found(tmp_path)) <= {"a", "b", "c", "d"}
        # The lock died with the process, and the index takes writes again.
        assert run(tmp_path, 'add("e", refresh=True); print(ids())').endswith("'e']")

    def test_every_refresh_is_a_commit(self, tmp_path):
        script = """
        for at in range(5):
            add(str(at), refresh=True, **{f"field{at}": at})   # each one makes a new generation
        client.delete(index="i", id="0", refresh=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
        run(tmp_path, script, expect=-9)
        assert found(tmp_path) == ["1", "2", "3", "4"]

    def test_a_generation_that_was_never_finished_is_cleared_away(self, tmp_path):
        run(tmp_path, 'add("a", refresh=True); client.close()')
        leftover = tmp_path / "indexes" / "i" / "generation-99"
        leftover.mkdir()
        (leftover / "junk").write_text("half")
        assert found(tmp_path) == ["a"]
        run(tmp_path, 'add("b", refresh=True); client.close()')
        assert not leftover.exists()
        assert found(tmp_path) == ["a", "b"]

    def test_closing_and_ending_keep_waiting_writes(self, tmp_path):
        run(tmp_path, 'add("closed"); client.close()')
        run(tmp_path, 'add("ended")')
        run(tmp_path, 'add("collected"); client = None')
        assert found(tmp_path) == ["closed", "collected", "ended"]


class TestProcesses:
    def test_a_second_writer_is_refused_and_readers_are_not(self, tmp_path):
        client = connect(f"embedded:{tmp_path}")
        helpers.bulk(client, [{"_index": "i", "_id": "mine", "t": "word"}], refresh=True)
        script = """
        for write in (lambda: add("theirs"), lambda: client.delete(index="i", id="mine"),
                      lambda: client.indices.put_mapping(index="i", body={"_meta": {}}),
                      lambda: client.indices.delete(index="i")):
            try:
                write()
            except TransportError as error:
                print(error.status_code, error.error, error.info["error"]["reason"])
        print(ids(), client.get(index="i", id="mine")["_source"])
        """
        *refusals, read = run(tmp_path, script).splitlines()
        assert len(refusals) == 4
        for line in refusals:
            assert line.startswith("500 lock_obtain_failed_exception cannot write ")
            assert str(tmp_path) in line
            assert "another process is writing this index; close its client or wait" in line
        assert read == "['mine'] {'t': 'word'}"
        client.close()
        assert run(tmp_path, 'add("theirs", refresh=True); print(ids())') == "['mine', 'theirs']"

    def test_a_reader_follows_the_writer(self, tmp_path):
        writer = connect(f"embedded:{tmp_path}")
        helpers.bulk(writer, [{"_index": "i", "_id": "a", "t": "word"}], refresh=True)
        reader = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + "for _ in sys.stdin: print(ids(), flush=True)", str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:

            def read() -> str:
                assert reader.stdin is not None
                assert reader.stdout is not None
                reader.stdin.write("\n")
                reader.stdin.flush()
                return reader.stdout.readline().strip()

            assert read() == "['a']"
            helpers.bulk(writer, [{"_index": "i", "_id": "b", "t": "word"}])
            assert read() == "['a']"
            writer.indices.refresh(index="i")
            assert read() == "['a', 'b']"
            helpers.bulk(writer, [{"_index": "i", "_id": "c", "new_field": 1}], refresh=True)  # a new generation
            assert read() == "['a', 'b', 'c']"
        finally:
            reader.communicate(timeout=30)
            writer.close()

    def test_clients_of_one_process_share_the_engine(self, tmp_path):
        first, second = connect(f"embedded:{tmp_path}"), connect(f"embedded:{tmp_path}/")
        first.index(index="i", id="a", body={"t": "word"})
        second.index(index="i", id="b", body={"t": "word"}, refresh=True)
        first.close()
        assert second.count(index="i")["count"] == 2
        second.index(index="i", id="c", body={"t": "word"}, refresh=True)
        second.close()
        assert found(tmp_path) == ["a", "b", "c"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_is_a_process_of_its_own(self, tmp_path):
        script = """
        add("a", refresh=True)
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(ready, 1)                     # until the parent has written once more
            seen = ids()
            try:
                add("theirs", refresh=True)
            except TransportError as error:
                print(seen, error.error, flush=True)
            sys.exit(0)
        add("b", refresh=True)
        os.write(go, b"x")
        print(os.waitpid(child, 0)[1], flush=True)
        add("c", refresh=True)
        print(ids())
        """
        assert run(tmp_path, script).splitlines() == [
            "['a', 'b'] lock_obtain_failed_exception",
            "0",
            "['a', 'b', 'c']",
        ]


class TestDisk:
    def test_a_full_disk_is_one_clear_error_and_the_index_stays(self, tmp_path):
        run(tmp_path, 'add("kept", refresh=True); client.close()')
        script = """
        import random, resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))     # as full as a disk can be made in a test
        letters = [chr(97 + at) for at in range(26)]
        rng = random.Random(1)
        text = lambda: " ".join("".join(rng.choices(letters, k=8)) for _ in range(2000))
        try:
            helpers.bulk(client, [{"_index": "i", "_id": f"big{at}", "t": text()} for at in range(40)], refresh=True)
        except TransportError as error:
            print(error.status_code, error.error, error.info["error"]["reason"])
        print(ids())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        os._exit(0)                                                        # and nothing is written on the way out
        """
        error, after = run(tmp_path, script).splitlines()
        assert error.startswith("500 i_o_exception cannot write ")
        assert "no space left on the disk" in error
        assert "free some, then try again" in error
        assert str(tmp_path) in error
        assert after == "['kept']"
        assert found(tmp_path) == ["kept"]
        assert run(tmp_path, 'add("later", refresh=True); print(ids())') == "['kept', 'later']"

    def test_waiting_writes_outlive_a_failed_refresh(self, tmp_path, monkeypatch):
        client = connect(f"embedded:{tmp_path}")
        client.index(index="i", id="a", body={"t": "word"}, refresh=True)
        client.index(index="i", id="b", body={"u": "word"})  # needs a new generation
        directory = tmp_path / "indexes" / "i"
        blocker = directory / "generation-3"
        blocker.write_text("in the way")
        with pytest.raises(TransportError) as caught:
            client.indices.refresh(index="i")
        assert caught.value.status_code == 500
        assert client.get(index="i", id="b")["_source"] == {"u": "word"}
        assert client.count(index="i")["count"] == 1
        blocker.unlink()
        client.indices.refresh(index="i")
        assert client.count(index="i", body={"query": {"match": {"u": "word"}}})["count"] == 1
        client.close()

    def test_a_folder_that_may_not_be_written(self, tmp_path):
        run(tmp_path, 'add("kept", refresh=True); client.close()')
        script = """
        import pathlib
        root = pathlib.Path(sys.argv[1])
        for folder in (root.parent, root, *root.rglob("*")):
            folder.chmod(0o555 if folder.is_dir() else 0o444)
        client.info()
        import tantivy                                      # before the account changes
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        for write in (lambda: add("new"), lambda: client.indices.create(index="other")):
            try:
                write()
            except TransportError as error:
                print(error.status_code, error.error, error.info["error"]["reason"])
        """
        # The account nobody must reach the folder: pytest's own are closed to others.
        for folder in tmp_path.parents:
            if folder.name.startswith("pytest-") and folder.stat().st_uid == os.geteuid():
                folder.chmod(0o755)
        try:
            errors = run(tmp_path, script).splitlines()
        finally:
            for folder in (tmp_path.parent, tmp_path, *tmp_path.rglob("*")):
                folder.chmod(0o755)
        assert len(errors) == 2
        for line in errors:
            assert line.startswith("500 access_denied_exception cannot ")
            assert str(tmp_path) in line
            assert "no permission to write there" in line
            assert "use another folder or change its owner" in line
        assert found(tmp_path) == ["kept"]

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        client = connect(f"embedded:{tmp_path}/file")
        with pytest.raises(TransportError) as caught:
            client.index(index="i", id="a", body={})
        assert caught.value.status_code == 500
        assert f"cannot write {tmp_path}/file" in caught.value.info["error"]["reason"]

    def test_damaged_metadata_is_named(self, tmp_path):
        run(tmp_path, 'add("a", refresh=True); client.close()')
        (tmp_path / "indexes" / "i" / "index.json").write_text("{")
        client = connect(f"embedded:{tmp_path}")
        with pytest.raises(TransportError) as caught:
            client.search(index="i", body={})
        assert caught.value.status_code == 500
        assert "cannot read" in caught.value.info["error"]["reason"]
        assert "index.json" in caught.value.info["error"]["reason"]


class TestThreads:
    def test_readers_see_whole_commits_while_a_writer_writes(self, tmp_path):
        client = connect(f"embedded:{tmp_path}")
        client.indices.create(index="i")
        done = threading.Event()

        def write() -> None:
            for at in range(40):
                pair = [{"_index": "i", "_id": f"{at}-{side}", "pair": at, f"field{at}": side} for side in "ab"]
                helpers.bulk(client, pair, refresh=True)
            done.set()

        def read() -> list[int]:
            totals = []
            while not done.is_set() or not totals:
                totals.append(client.search(index="i", body={"size": 3})["hits"]["total"]["value"])
            return totals

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            pool.submit(write).result(timeout=120)
            for each in readers:
                totals = each.result(timeout=120)
                assert totals == sorted(totals)
                assert {total % 2 for total in totals} == {0}
        assert client.count(index="i")["count"] == 80
        client.close()

    def test_a_client_that_is_dropped_gives_the_lock_back(self, tmp_path):
        client = connect(f"embedded:{tmp_path}")
        client.index(index="i", id="a", body={})
        del client
        gc.collect()
        assert run(tmp_path, 'add("b", refresh=True); print(ids())') == "['a', 'b']"
