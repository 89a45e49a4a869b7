"""House rules that a reader would otherwise have to watch for."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from harness.data import CHECKOUT

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
PACKAGES = ("rerank_plugin", "indexer")
#: Written in pieces, so that this file does not name what it looks for.
REGISTRIES = re.compile(
    "|".join(("py" + r"pi\.org", "python" + "hosted", "repo1?" + r"\.maven", "npm" + r"js\.org", "deb" + r"\.debian"))
)
#: Folders that exist on one machine only; system folders that every Linux has are no such thing.
MACHINE_PATHS = re.compile(r"(?<![\w./~$}-])/(?:" + "work|farm|root" + r"|home/(?!rerank\b)|Users)/")
UNFINISHED = re.compile(r"#.*\b(" + "TO" + "DO|FIX" + "ME|X" + "XX|HA" + r"CK)\b")


@lru_cache
def tracked() -> tuple[Path, ...]:
    """Every file that git has or would add; all files but caches where there is no git."""
    told = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if told.returncode != 0:
        pytest.skip("needs a git checkout to tell which files are the project's")
    return tuple(path for name in told.stdout.splitlines() if (path := CHECKOUT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every tracked text file."""
    for path in tracked():
        try:
            yield str(path.relative_to(CHECKOUT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def python(*folders: str) -> Iterator[tuple[str, str, ast.Module]]:
    """Name, text and syntax tree of every tracked Python file below the folders; of all where none is given."""
    for name, text in texts():
        if name.endswith(".py") and (not folders or name.split("/")[0] in folders):
            yield name, text, ast.parse(text, name)


def modules() -> list[str]:
    """The dotted names of all our modules."""
    roots = [importlib.import_module(name) for name in PACKAGES]
    return [
        *PACKAGES,
        *(info.name for root in roots for info in pkgutil.walk_packages(root.__path__, root.__name__ + ".")),
    ]


def test_files_stay_short() -> None:
    long = {name: lines for name, text, _ in python() if (lines := text.count("\n")) > LONGEST_FILE}
    assert long == {}


def test_functions_stay_short() -> None:
    long = [
        f"{name}:{node.lineno} {node.name} has {lines} lines"
        for name, _, tree in python(*PACKAGES, "tools", "benchmarks")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_nothing_is_left_unfinished() -> None:
    marked = [f"{name}: {found.group(0)}" for name, text, _ in python() if (found := UNFINISHED.search(text))]
    stubs = [name for name, text, _ in python(*PACKAGES) if "NotImplementedError" in text]
    assert (marked, stubs) == ([], [])


def test_no_code_is_read_from_data() -> None:
    def unsafe(tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                yield from (
                    name for name in names if name.split(".")[0] in {"pickle", "dill", "joblib", "shelve", "marshal"}
                )
            elif isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
                yield "torch.load"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                yield node.func.id

    found = {name: called for name, _, tree in python() if (called := list(unsafe(tree)))}
    assert found == {}


def test_no_error_is_swallowed_whole() -> None:
    def swallows(node: ast.AST) -> bool:
        if not isinstance(node, ast.ExceptHandler) or not all(isinstance(each, ast.Pass) for each in node.body):
            return False
        return node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}

    found = [f"{name}:{node.lineno}" for name, _, tree in python() for node in ast.walk(tree) if swallows(node)]
    assert found == []


def test_no_registry_and_no_machine_is_named() -> None:
    found = [
        f"{name}: {hit.group(0)}"
        for name, text in texts()
        for pattern in (REGISTRIES, MACHINE_PATHS)
        if (hit := pattern.search(text))
    ]
    assert found == []


def test_nothing_large_is_committed() -> None:
    """The shipped model is the one large file, and it stays below what issue and licence note say."""
    large = {str(path.relative_to(CHECKOUT)): size for path in tracked() if (size := path.stat().st_size) > 2_000_000}
    assert [name for name in large if not name.startswith("rerank_plugin/models/default/")] == []
    assert sum(large.values()) <= 25 * 1024 * 1024


@pytest.mark.parametrize("name", modules())
def test_public_names_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    public = list(getattr(module, "__all__", ()))
    assert public == sorted(public)
    assert [each for each in public if not hasattr(module, each)] == []


def test_every_module_class_and_function_says_what_it_is() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    silent = [
        f"{name}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}"
        for name, _, tree in python(*PACKAGES)
        for node in (tree, *(each for each in tree.body if isinstance(each, kinds) and each.name[0] != "_"))
        if ast.get_docstring(node) is None
    ]
    assert silent == []


def test_every_test_asserts_something() -> None:
    proof = re.compile(r"\bassert\b|raises|warns|assert_|check_|expect|\.validate\(|fail\(")
    empty = [
        f"{name}:{node.lineno} {node.name}"
        for name, text, tree in python("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and not proof.search(ast.get_source_segment(text, node) or "")
    ]
    assert empty == []


def test_every_skip_gives_its_reason() -> None:
    def bare(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or not re.fullmatch(
            r"pytest\.(mark\.)?(skip|skipif|xfail)", ast.unparse(node.func)
        ):
            return False
        named = {keyword.arg for keyword in node.keywords}
        is_condition = ast.unparse(node.func) == "pytest.mark.skipif"
        return not (named & {"reason"} or (node.args and not is_condition))

    found = [f"{name}:{node.lineno}" for name, _, tree in python("tests") for node in ast.walk(tree) if bare(node)]
    assert found == []
