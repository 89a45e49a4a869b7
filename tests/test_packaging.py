"""What the package promises to an installer: a light import, pinned versions, the extras, a licence, a changelog."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rerank_plugin
from harness.data import CHECKOUT

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
EXTRAS = PROJECT["optional-dependencies"]
#: What ``from rerank_plugin import OpenSearch`` may not load.
HEAVY = ("torch", "transformers", "faiss", "onnxruntime", "tokenizers", "numpy", "scipy", "tantivy", "fastapi")


def _name(requirement: str) -> str:
    """The normal name of a requirement: ``PyStemmer>=2.2`` is ``pystemmer``."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]).lower()


def _pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def _modules_after(statement: str) -> set[str]:
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return set(json.loads(told.stdout))


@pytest.mark.parametrize(
    "statement", ["from rerank_plugin import OpenSearch", "import rerank_plugin.cli.main", "import indexer.cli"]
)
def test_the_import_is_light(statement: str) -> None:
    assert sorted(_modules_after(statement) & set(HEAVY)) == []


def test_every_direct_dependency_is_pinned() -> None:
    wanted = {_name(each) for group in (PROJECT["dependencies"], *EXTRAS.values()) for each in group}
    assert sorted(wanted - {"rerank-plugin"} - set(_pins())) == []


def test_constraints_are_names_and_versions_only() -> None:
    pins = _pins()
    assert [name for name in pins if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []
    assert [pin for pin in pins.items() if not re.fullmatch(r"\d+(\.\d+)*(\.?(post|rc|b|a)\d+)?", pin[1])] == []
    assert list(pins) == sorted(pins)


def test_the_extras_are_those_documented() -> None:
    promised = {"embedded", "dense", "index", "train", "serve", "elasticsearch", "spark", "dev", "all"}
    assert sorted(promised - set(EXTRAS)) == []


def test_all_holds_every_extra_a_user_may_want() -> None:
    def opened(extra: str) -> set[str]:
        names: set[str] = set()
        for each in EXTRAS[extra]:
            inner = re.match(r"rerank-plugin\[([^]]+)\]", each)
            names |= {name for part in inner.group(1).split(",") for name in opened(part)} if inner else {_name(each)}
        return names

    missing = {extra: sorted(opened(extra) - opened("all")) for extra in EXTRAS if extra != "dev"}
    assert {extra: names for extra, names in missing.items() if names} == {}


def test_the_base_install_needs_no_torch() -> None:
    assert {_name(each) for each in PROJECT["dependencies"]} == {
        "click",
        "numpy",
        "onnxruntime",
        "opensearch-py",
        "rich",
        "tokenizers",
        "urllib3",
    }


def test_the_changelog_begins_with_this_version() -> None:
    head = re.search(r"^## (\d+\.\d+\.\d+)", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert head is not None
    assert head.group(1) == PROJECT["version"] == rerank_plugin.__version__


def test_the_licence_is_the_whole_of_apache_2() -> None:
    text = (CHECKOUT / "LICENSE").read_text(encoding="utf-8")
    assert re.findall(r"^   (\d)\. ", text, re.MULTILINE) == list("123456789")
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.split()) == 1581


def test_every_data_file_ships() -> None:
    declared = SETUPTOOLS["package-data"]
    empty = [
        f"{room}/{glob}" for room, globs in declared.items() for glob in globs if not list((CHECKOUT / room).glob(glob))
    ]
    assert empty == []
    shipped = {path for room, globs in declared.items() for glob in globs for path in (CHECKOUT / room).glob(glob)}
    data = {
        path
        for room in declared
        for path in (CHECKOUT / room).rglob("*")
        if path.is_file() and path.suffix[:3] != ".py"
    }
    assert sorted(str(path.relative_to(CHECKOUT)) for path in data - shipped) == []


def _make(*words: str, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """make, as if the suite itself had not been started by one."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "-s", *words], cwd=folder, env=outside, capture_output=True, text=True)


def test_every_make_target_has_a_word_of_help() -> None:
    named = [line.split()[1] for line in _make("help").stdout.splitlines()]
    assert {"help", "setup", "demo", "test", "lint", "bench", "model", "opensearch"} <= set(named)


def test_make_refuses_an_old_python_in_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((CHECKOUT / name).read_bytes())
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    told = _make("demo", f"PYTHON={old}", folder=tmp_path)
    assert told.returncode != 0
    assert told.stderr.splitlines()[0].startswith(f"Python 3.11 or newer is needed and '{old}' is none;")
