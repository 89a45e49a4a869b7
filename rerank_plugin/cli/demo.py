"""``rerank demo``: load, enrich, retrieve, rerank, compare with BM25, report; on the embedded engine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.cli import common
from rerank_plugin.cli.loading import analyzer_for, load
from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Query
    from rerank_plugin.evaluation.result import Evaluation
    from rerank_plugin.wiring import Setup

#: Says that a folder was made by this command and may be made anew.
MARKER = ".rerank-demo"
INDEX = "demo"
ARMS = ("bm25", "dense", "fused", "rerank")
#: The clock of the bundled corpus: its figures should not change with the day on which they are looked at.
BUNDLED_NOW = datetime(2026, 1, 1, tzinfo=UTC)
ILLUSTRATION = (
    "This small corpus and its judgments were written for the demonstration, and its view counts are simulated: "
    "an illustration, not evidence. Use --dataset, or rerank evaluate on your own index, for evidence."
)
#: What the command leaves in its folder, and may remove from it.
_FOLDERS = ("engine", "vectors", "runs")
_FILES = ("report.html", "result.json", "per_query.json", "load.json", "rejects.jsonl")


@click.command(short_help="The whole job on a small corpus, no server needed.")
@click.option("--dataset", type=common.FOLDER, help="A BEIR directory.  [default: the bundled corpus]")
@click.option("--out", type=common.FOLDER, default=Path("rerank-demo"), show_default=True, help="Folder to write.")
@click.option("--analyzer", type=click.Choice(["english", "standard", "cjk"]), help="[default: by the text]")
@common.now_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the permutation tests.")
@common.json_option
def demo(dataset: Path | None, out: Path, analyzer: str | None, now: datetime | None, seed: int, as_json: bool) -> None:
    """The whole job on the embedded engine: enrich, index, search, rerank, compare with BM25, report.

    Needs no server and no download. Writes OUT/report.html, OUT/result.json, OUT/runs and the engine's files; a folder
    that an earlier demo wrote is replaced, any other is left alone. The bundled corpus is looked at from 2026-01-01
    unless --now says otherwise, so that its figures stay the same.

    \b
    rerank demo
    rerank demo --dataset beir/scifact --out scifact --json
    """
    from rerank_plugin import wiring
    from rerank_plugin.cli.evaluate import parse_arms, write
    from rerank_plugin.demo_data import DIRECTORY
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.evaluation.metrics import MEASURES, require_packages
    from rerank_plugin.wiring.judging import Study, evaluate

    require_packages()
    folder = DIRECTORY if dataset is None else dataset
    collection = read_beir(folder)  # refused now, before anything is written
    if dataset is None:
        collection = replace(collection, name="landmarks (bundled)")
    moment = now or (BUNDLED_NOW if dataset is None else common.present())
    prepare(out)
    setup = wiring.Setup(engine=f"embedded:{out / 'engine'}", index=INDEX, now=moment, vectors=out / "vectors")
    load(folder, out, setup, analyzer or analyzer_for(folder))
    study = Study(setup=setup, collection=collection, specs=parse_arms(ARMS), measures=MEASURES, seed=seed)
    found = evaluate(study, common.progress)
    note = ILLUSTRATION if dataset is None else ""
    result = write(found, out, note=note)
    if as_json:
        common.print_json(result)
    else:
        _show(found, result, setup, out, note)


def prepare(out: Path) -> None:
    """Makes ``out`` an empty folder of ours: a new or empty one is taken, an earlier demo's is cleared.

    :raises ConfigError: something else is there.
    """
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not marker.is_file():
        raise ConfigError(f"--out {out} holds files that no demo wrote; give a new folder, or remove it yourself")
    out.mkdir(parents=True, exist_ok=True)
    for path in (out / name for name in (*_FOLDERS, *_FILES)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    marker.write_text("Made by rerank demo, which may replace this folder.\n", encoding="utf-8")


def examples(found: Evaluation) -> list[tuple[str, Query]]:
    """The most helped, the middle and the most hurt query of rerank against bm25, each with a word for it."""
    from rerank_plugin.evaluation.compare import differences

    values = found.per_query
    deltas = dict(zip(values["nDCG@10"]["bm25"], differences(values, "bm25", "rerank", "nDCG@10"), strict=True))
    ordered = sorted(found.collection.queries, key=lambda query: (-deltas[query.query_id], query.query_id))
    if len(ordered) < 3:
        return [("a query", query) for query in ordered]
    named = (("most helped", ordered[0]), ("in the middle", ordered[len(ordered) // 2]), ("most hurt", ordered[-1]))
    return [(f"{word}, nDCG@10 {deltas[query.query_id]:+.3f}", query) for word, query in named]


def _show(found: Evaluation, result: dict[str, Any], setup: Setup, out: Path, note: str) -> None:
    from rerank_plugin import wiring
    from rerank_plugin.cli.evaluate import show
    from rerank_plugin.cli.hits import print_hits

    show(result)
    for word, query in examples(found):
        click.echo(f'"{query.text}" ({word})')
        print_hits(wiring.search(setup, setup.settings(), query.text, size=5))
        click.echo()
    if note:
        click.echo(f"{note}\n")
    for line in _next_steps(out, setup):
        click.echo(line)


def _next_steps(out: Path, setup: Setup) -> Sequence[str]:
    import shlex

    asked = shlex.join(
        ["rerank", "search", "--engine", setup.engine, "--index", setup.index, "--vectors", str(out / "vectors")]
    )
    return (
        f"Report: {out / 'report.html'}   Figures: {out / 'result.json'}   TREC runs: {out / 'runs'}",
        "Try next:",
        f'  {asked} --explain "your words"',
        f'  {asked} --weights authority=1,freshness=1 "your words"',
        "  rerank evaluate --help    (the same comparison on your own index)",
    )
