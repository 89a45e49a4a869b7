"""The README runs: its Python on a real OpenSearch, its commands against the command line they name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import opensearchpy
import pytest

from indexer.cli import commands as indexer_cli
from rerank_plugin.cli.main import main as rerank_cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = "articles"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def command_lines() -> list[str]:
    """Every command of ours in the README's shell blocks, continuation lines joined."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith(("rerank ", "rerank-index "))]


@pytest.mark.parametrize("line", command_lines())
def test_every_command_in_the_readme_is_one(line: str) -> None:
    """Parsed by the command itself, and not run: names, options and values must be right."""
    program, *arguments = shlex.split(line)
    command: click.Command = rerank_cli if program == "rerank" else indexer_cli
    context = click.Context(command, info_name=program)
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"{program} has no command {name}"
        command = found
    command.make_context(command.name, arguments, parent=context)


def test_every_command_stands_in_the_readme() -> None:
    context = click.Context(rerank_cli)
    names = [f"rerank {name}" for name in rerank_cli.list_commands(context)]
    names += [f"rerank-index {name}" for name in indexer_cli.list_commands(click.Context(indexer_cli))]
    assert [name for name in names if name not in README] == []


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def articles(opensearch_url: str) -> Iterator[opensearchpy.OpenSearch]:
    """An index as an application may have one: never enriched."""
    client = opensearchpy.OpenSearch(opensearch_url)
    client.indices.delete(index=INDEX, ignore=[404])
    for number, body in enumerate(["a search of a graph", "graph databases and graph search", "cooking for two"]):
        document = {"title": f"No. {number}", "body": body, "created": f"20{10 + number}-01-01", "sales_30d": number}
        client.index(index=INDEX, id=str(number), body={**document, "trust": 0.5}, refresh=True)
    yield client
    client.indices.delete(index=INDEX)


#: What every Python block must leave behind: a client whose searches are reranked.
CHECK = """
import asyncio, inspect
async def awaited(answer):
    response = await answer
    await client.close()
    return response
response = client.search(index="articles", body={"query": {"match": {"body": "graph search"}}})
response = asyncio.run(awaited(response)) if inspect.isawaitable(response) else response
print(response["rerank"]["status"], sorted(hit["_id"] for hit in response["hits"]["hits"]))
"""


@pytest.mark.engine
@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_of_the_readme_runs(
    block: str, articles: opensearchpy.OpenSearch, opensearch_url: str, tmp_path: Path
) -> None:
    script = tmp_path / "application.py"
    script.write_text(block.replace("http://localhost:9200", opensearch_url) + CHECK, encoding="utf-8")
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "applied ['0', '1']"
