"""Bad input through the commands, each in a process of its own: a line that says what to do, or an answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import indexer

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(indexer.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
RERANK = "from rerank_plugin.cli.main import main; main()"
LOAD = "from indexer.cli import main; main()"
#: No file may grow beyond this: as full as a disk can be made in a test.
LIMIT = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
LIMIT += "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, check=False)


def write(folder: Path, records: list[dict[str, object]]) -> None:
    (folder / "docs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def load(folder: Path, *more: str, code: str = LOAD) -> subprocess.CompletedProcess[str]:
    options = ["--engine", "embedded:engine", "--index", "i", "--docs", "docs.jsonl", "--now", "2024-01-01"]
    return run(code, folder, "load", *options, *more)


def search(folder: Path, *more: str, code: str = RERANK) -> subprocess.CompletedProcess[str]:
    return run(code, folder, "search", "--engine", "embedded:engine", "--index", "i", "--json", *more)


def one_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line with which the command failed; it does not blame us."""
    assert ended.returncode == 1, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "unexpected" not in ended.stderr
    return ended.stderr


def test_a_query_of_ten_thousand_words_is_answered(tmp_path):
    write(tmp_path, [{"_id": "1", "text": "graph"}])
    assert load(tmp_path).returncode == 0
    response = json.loads(search(tmp_path, " ".join(["graph", *(f"w{number}" for number in range(9_999))])).stdout)
    assert response["rerank"]["status"] == "applied"
    assert response["hits"]["hits"][0]["_id"] == "1"


def test_a_document_of_5_mb_emoji_right_to_left_and_nul_are_loaded_with_vectors_and_found(tmp_path):
    big = "graph " * (5 * 1024 * 1024 // 6)
    odd = {"_id": "odd", "title": "😀 שלום", "text": "متن راست به چپ graph nul \0 byte"}
    write(tmp_path, [{"_id": "big", "text": big}, odd])
    loaded = load(tmp_path, "--vectors", "vectors", "--json")
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert json.loads(loaded.stdout)["written"] == 2
    found = search(tmp_path, "--vectors", "vectors", "--size", "1000", "--window", "1000", "graph")
    response = json.loads(found.stdout)
    assert response["rerank"]["status"] == "applied"
    assert {hit["_id"] for hit in response["hits"]["hits"]} == {"big", "odd"}
    assert json.loads(search(tmp_path, "שלום").stdout)["hits"]["hits"][0]["_id"] == "odd"


def test_features_that_are_nan_or_missing(tmp_path):
    write(tmp_path, [{"_id": "1", "text": "graph"}, {"_id": "nan", "text": "graph", "views": float("nan")}])
    assert json.loads(load(tmp_path, "--json").stdout)["problems"] == {"not_json": 1}
    first = json.loads(search(tmp_path, "graph").stdout)["hits"]["hits"][0]["_rerank"]
    assert {term["origin"] for term in first["factors"].values()} == {"missing"}
    assert {term["contribution"] for term in first["factors"].values()} == {0.0}


def test_vectors_of_another_index_are_told(tmp_path):
    for name in ("one", "two"):
        write(tmp_path, [{"_id": name, "text": f"graph {name}"}])
        assert load(tmp_path, "--index", name, "--vectors", f"{name}-vectors").returncode == 0
    response = json.loads(search(tmp_path, "--index", "one", "--vectors", "two-vectors", "graph").stdout)
    assert response["rerank"]["status"] == "applied"
    assert "belong to none of the indices" in response["rerank"]["dense"]
    (tmp_path / "q.jsonl").write_text('{"_id": "q", "text": "graph"}\n')
    (tmp_path / "qrels.txt").write_text("q 0 one 1\n")
    judged = ["--queries", "q.jsonl", "--qrels", "qrels.txt", "--out", "out"]
    asked = ["--engine", "embedded:engine", "--index", "one", "--vectors", "two-vectors"]
    said = one_line(run(RERANK, tmp_path, "evaluate", *asked, *judged))
    assert "does not belong to this index" in said
    assert "name the right folder" in said


def test_a_full_disk_is_told_of_once_by_the_load_that_met_it(tmp_path):
    words = " ".join(f"w{number}" for number in range(400))
    write(tmp_path, [{"_id": str(number), "text": f"x{number} {words}"} for number in range(200)])
    full = load(tmp_path, code=LIMIT.format(60_000) + LOAD)
    said = one_line(full)
    assert "no space left on the disk" in said
    assert "free some, then try again" in said


def test_a_full_disk_under_standard_output(tmp_path):
    write(tmp_path, [{"_id": "1", "text": "graph"}])
    assert load(tmp_path).returncode == 0
    full = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n"
    assert "No space left on device; free some space" in one_line(search(tmp_path, "graph", code=full + RERANK))


def test_places_that_cannot_be_written(tmp_path):
    write(tmp_path, [{"_id": "1", "text": "graph"}])
    below = "docs.jsonl/x"
    assert "name another place" in one_line(run(RERANK, tmp_path, "demo", "--out", below))
    assert "name another folder" in one_line(load(tmp_path, "--vectors", below))
    assert "name another with --rejects" in one_line(load(tmp_path, "--rejects", below))
    assert f"{below}: Not a directory" in one_line(load(tmp_path, "--engine", f"embedded:{below}"))


def test_a_tampered_model_is_refused_by_load_and_told_by_search(tmp_path):
    from rerank_plugin.models.folder import default_model_folder

    write(tmp_path, [{"_id": "1", "text": "graph"}])
    assert load(tmp_path).returncode == 0
    shutil.copytree(default_model_folder(), tmp_path / "model")
    weights = bytearray((tmp_path / "model" / "model.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "model" / "model.onnx").write_bytes(weights)
    assert "model.onnx" in one_line(load(tmp_path, "--index", "j", "--vectors", "v", "--model", "model"))
    code = "import os; os.environ['RERANK_MODEL'] = 'model'\n" + RERANK
    response = json.loads(search(tmp_path, "graph", code=code).stdout)
    assert response["rerank"]["status"] == "fallback"
    assert "model.onnx" in response["rerank"]["reason"]
    assert response["hits"]["hits"][0]["_id"] == "1"


def test_ctrl_c_ends_a_load_in_a_line(tmp_path):
    arguments = ["load", "--engine", "embedded:engine", "--index", "i", "--docs", "-"]
    started = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); print('up', flush=True)\n"
    command = [sys.executable, "-c", started + LOAD, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "up\n"
        wait_for(tmp_path / "i.rejects.jsonl")  # it reads standard input from here on
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait() == 1
    assert "stopped by the keyboard" in said
    assert "Traceback" not in said


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            time.sleep(0.2)
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never appeared")


@pytest.fixture(params=[200, 404, 502])
def web_page(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that is no search engine."""

    class Page(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            page = b"<html><h1>Welcome</h1></html>"
            self.send_response(request.param)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_GET = do_POST = do_PUT = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_web_page_instead_of_an_engine(tmp_path, web_page):
    write(tmp_path, [{"_id": "1", "text": "graph"}])
    said = one_line(search(tmp_path, "--engine", web_page, "graph"))
    assert "what answers at --engine" in said
    assert "is it an OpenSearch or Elasticsearch" in said
    assert "<html>" not in said
    loading = one_line(load(tmp_path, "--engine", web_page))
    assert "the index i: " in loading
    assert "<html>" not in loading
