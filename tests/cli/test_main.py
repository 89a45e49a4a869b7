from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import click
import opensearchpy
import pytest
from click.testing import CliRunner, Result

from rerank_plugin import __version__, errors
from rerank_plugin.cli.common import as_line, clean
from rerank_plugin.cli.main import COMMANDS, Lazy, main


def run_failing(error: BaseException, *arguments: str) -> Result:
    """What a group like ``rerank`` makes of a command that raises."""
    group = Lazy(name="rerank", params=[click.Option(["--traceback"], is_flag=True)], callback=lambda traceback: None)

    @group.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(group, [*arguments, "fail"])


def test_help_names_every_command_and_the_version_is_ours():
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.output
    assert CliRunner().invoke(main, ["--version"]).output == f"rerank, version {__version__}\n"


@pytest.mark.parametrize("name", ["demo", "evaluate", "search"])
def test_every_command_has_help_with_an_example_and_json(name):
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"rerank {name}" in shown.output.split("Options:")[0].split("\n\n", 1)[1]
    assert "--json" in shown.output


def test_help_loads_none_of_the_heavy_packages():
    script = (
        "import sys\n"
        "from rerank_plugin.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'scipy', 'ir_measures', 'jinja2', 'onnxruntime', 'faiss', 'tantivy', 'torch', "
        "'opensearchpy', 'rich', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stderr.strip() == "[]"


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_each_of_our_errors_is_one_line_and_exit_1(kind):
    error = kind("evaluating", "evaluate") if kind is errors.MissingExtraError else kind("wanted this,\nfound that")
    finished = run_failing(error)
    assert finished.exit_code == 1
    assert finished.output == f"Error: {' '.join(str(error).split())}\n"


def test_an_unexpected_error_is_one_line_too_and_shows_its_place_on_request():
    finished = run_failing(ZeroDivisionError("by\nzero"))
    assert finished.exit_code == 1
    assert finished.output.startswith("Error: unexpected ZeroDivisionError: by zero; ")
    assert finished.output.count("\n") == 1
    assert isinstance(run_failing(ZeroDivisionError("x"), "--traceback").exception, ZeroDivisionError)


def test_the_keyboard_ends_quietly():
    finished = run_failing(KeyboardInterrupt())
    assert (finished.exit_code, finished.output) == (130, "")


def test_a_full_disk_names_the_file():
    finished = run_failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/result.json"))
    told = "Error: /x/result.json: No space left on device; free some space or name another place\n"
    assert finished.output == told


def test_a_reader_that_went_away_ends_quietly():
    script = "from rerank_plugin.cli.main import main; main(['evaluate', '--help'])"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait()
    process.stderr.close()


def test_every_error_of_the_engines_client_becomes_a_line():
    seen = 0
    for kind in vars(opensearchpy.exceptions).values():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            continue
        error = (
            kind(400, "some_error", {"error": {"type": "t", "reason": "because"}})
            if issubclass(kind, opensearchpy.TransportError)
            else kind("because")
        )
        line = as_line(error)
        assert line is not None, kind
        assert "because" in line or "some_error" in line
        seen += 1
    assert seen > 10


def test_a_missing_index_says_what_to_do():
    info = {
        "error": {
            "type": "index_not_found_exception",
            "reason": "no such index [x]",
            "root_cause": [{"type": "index_not_found_exception", "reason": "no such index [x]"}],
        },
        "status": 404,
    }
    line = as_line(opensearchpy.NotFoundError(404, "index_not_found_exception", info))
    assert line == "the engine has no such index (no such index [x]); check --index, or load one with rerank-index load"


def test_an_engines_answer_that_is_no_json_is_still_a_line():
    line = as_line(opensearchpy.AuthenticationException(401, "Unauthorized", "Unauthorized"))
    assert line == "the engine answered 401: Unauthorized: Unauthorized"
    assert as_line(opensearchpy.TransportError("N/A", "odd", None)) == "the engine answered N/A: odd: odd"


def test_bytes_that_are_no_text_are_replaced():
    assert clean("caf\udce9 é 😀") == "caf? é 😀"
    json.dumps(clean("\udcff")).encode()


def test_a_very_long_error_is_cut():
    line = as_line(errors.DataError("x" * 5000))
    assert line is not None
    assert len(line) == 600
