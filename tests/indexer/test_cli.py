"""The command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer import cli
from rerank_plugin.engines.connect import connect

#: Where a process finds the project when it is not installed.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}


def in_a_process(arguments: list[str], folder: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    code = "from indexer.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=given,
        capture_output=True,
        cwd=folder,
        env=ENVIRONMENT,
        check=False,
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``rerank-index ARGUMENTS``."""
    status = 0
    try:
        cli.main(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    records = [
        {"_id": "1", "title": "One", "text": "a", "metadata": {"date": "2020-01-01", "views": 3}},
        {"_id": "2", "title": "Two", "text": "b", "metadata": {"cites": ["1"]}},
    ]
    (tmp_path / "docs.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in records) + "bad\n", encoding="utf-8"
    )
    return tmp_path / "docs.jsonl"


def arguments(docs: Path, *more: str) -> list[str]:
    engine = f"embedded:{docs.parent / 'engine'}"
    return ["load", "--engine", engine, "--index", "i", "--docs", str(docs), *more]


def test_json_goes_to_standard_output_and_nothing_else_anywhere(capsys, docs, tmp_path):
    rejects = tmp_path / "r.jsonl"
    status, out, err = run(capsys, *arguments(docs, "--json", "--rejects", str(rejects), "--now", "2021-01-01"))
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert list(report) == [
        "read", "written", "updated", "skipped", "rejected", "problems", "rejects_file", "seconds", "docs_per_second",
        "index", "alias", "signals", "vectors", "notes",
    ]  # fmt: skip
    assert (report["read"], report["written"], report["rejected"], report["index"]) == (3, 2, 1, "i")
    assert report["signals"]["freshness"]["reference_time"] == "2021-01-01T00:00:00Z"
    assert json.loads(rejects.read_text(encoding="utf-8"))["line"] == 3


def test_the_summary_is_for_people(capsys, docs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments(docs, "--half-life-days", "10"))
    assert (status, err) == (0, "")
    assert "i: 2 of 3 records written in" in out
    assert "half-life 10 days" in out
    assert "no vectors: load with --vectors" in out
    assert "rejected 1; 1 not_json: see i.rejects.jsonl" in out
    assert (tmp_path / "i.rejects.jsonl").exists(), "the default stands in the help"


def test_side_files_and_settings_reach_the_signals(capsys, docs, tmp_path):
    (tmp_path / "links.tsv").write_text("2\t1\n1\t2\n", encoding="utf-8")
    (tmp_path / "events.jsonl").write_text('{"_id": "2", "stars": 40}\n', encoding="utf-8")
    (tmp_path / "signals.toml").write_text("[counts]\nstars = 1\n", encoding="utf-8")
    options = ("--links", "links.tsv", "--events", "events.jsonl", "--signals", "signals.toml")
    options = tuple(str(tmp_path / each) if not each.startswith("--") else each for each in options)
    status, out, _ = run(capsys, *arguments(docs, *options, "--json", "--rejects", str(tmp_path / "r")))
    signals = json.loads(out)["signals"]
    assert status == 0
    assert signals["authority"]["links"] == 2
    assert signals["popularity"]["knots"] == {"stars": 40.0}
    assert signals["popularity"]["documents"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--half-life-days", "0"], "--half-life-days must be above 0, got 0"),
        (["--half-life-days", "nan"], "--half-life-days must be above 0, got nan"),
        (["--now", "yesterday"], "a date is written 2020-05-31"),
        (["--rejects", "/nowhere/r.jsonl"], "cannot write the rejects file /nowhere/r.jsonl"),
        (["--docs", "/nowhere/docs.jsonl"], "/nowhere/docs.jsonl does not exist"),
        (["--engine", "ftp://x"], "an engine is written http"),
        (["--index", "Bad"], "an index name is lower case"),
        (["--index", "a/b"], "an index name is lower case"),
        (["--index", "-a"], "does not begin with"),
        (["--index", ""], "an index name is lower case"),
    ],
)
def test_wrong_input_is_one_line_and_status_1(capsys, docs, tmp_path, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments(docs, *more))
    assert (status, out) == (1, "")
    assert message in err
    assert err.startswith("rerank-index: ")
    assert err.count("\n") == 1


def test_wrong_usage_is_status_2(capsys):
    status, _, err = run(capsys, "load", "--index", "i")
    assert status == 2
    assert "--engine" in err


def test_an_unreachable_engine_is_one_line_with_nothing_logged_beside_it(docs, tmp_path):
    ended = in_a_process(arguments(docs, "--engine", "http://127.0.0.1:9"), tmp_path)
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert ended.stderr.count(b"\n") == 1, ended.stderr
    assert b"no engine answers" in ended.stderr
    assert b"is it running there?" in ended.stderr


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (KeyboardInterrupt(), "stopped by the keyboard"),
        (OSError(28, "No space left on device", "/tmp/spool"), "/tmp/spool: No space left on device"),
        (RuntimeError("a bug\nof ours"), "unexpected RuntimeError at test_cli.py:"),
    ],
)
def test_never_a_traceback(capsys, docs, monkeypatch, raised, message):
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("indexer.load.load", fail)
    status, out, err = run(capsys, *arguments(docs))
    assert (status, out) == (1, "")
    assert message in err
    # click ends the terminal's line with its ^C first
    assert err.strip().count("\n") == 0


def test_standard_input(docs, tmp_path):
    ended = in_a_process(arguments(docs, "--docs", "-", "--json"), tmp_path, given=docs.read_bytes())
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["written"] == 2
    client = connect(f"embedded:{tmp_path / 'engine'}")
    assert client.get(index="i", id="1")["_source"]["title"] == "One"
    client.close()


def test_help_is_quick_and_light():
    heavy = ("numpy", "faiss", "scipy", "opensearchpy", "rich")
    code = (
        "import sys; from indexer.cli import main\n"
        f"try:\n main(['load', '--help'])\nfinally:\n print([each for each in {heavy} if each in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.stdout.endswith("[]\n"), ended.stdout + ended.stderr
