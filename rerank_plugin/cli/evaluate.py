"""``rerank evaluate``: arms over judged queries, compared."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.cli import common
from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.arms import ArmSpec
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.fail_if import Condition
    from rerank_plugin.evaluation.result import Evaluation

#: Exit status when a ``--fail-if`` condition holds.
FAILED = 3


@click.command(short_help="Compare arms with BM25 on judged queries.")
@click.option("--engine", required=True, help=common.ENGINE_HELP)
@click.option("--index", required=True, help="Index or alias to search.")
@click.option("--queries", type=common.FILE, help="Queries, BEIR queries.jsonl or .gz.")
@click.option("--qrels", type=common.FILE, help="Judgments, BEIR tsv or TREC qrels, or .gz.")
@click.option("--dataset", type=common.FOLDER, help="A BEIR directory instead: its queries and qrels/test.tsv.")
@click.option("--arm", "arms", multiple=True, metavar="NAME[:key=value,...]", help="An arm; may be repeated.")
@click.option("--vectors", type=common.FOLDER, help="Vector folder that rerank-index load wrote.")
@click.option("--fields", default="content", show_default=True, help="Fields to search, comma-separated.")
@common.now_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the permutation tests.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N judged queries.")
@click.option("--fail-if", "conditions", multiple=True, metavar="COND", help="Exit with 3 when this holds.")
@click.option("--out", type=common.FOLDER, required=True, help="Folder for report.html, result.json and runs/.")
@common.json_option
def evaluate(**options: Any) -> None:
    """Compare arms with BM25 on judged queries: quality, significance, latency, factors.

    Arms: bm25, dense, fused, rerank. Without --arm all that the index allows. Options of an arm follow a colon:
    fused:depth=1000 and rerank:window=50,weights=authority=1+freshness=0.5 (keys: window, weights, dense, dense_size,
    deadline_ms, model); as=LABEL names an arm.

    A condition compares ARM.MEASURE, VALUE(CANDIDATE, BASELINE, MEASURE) and numbers, where VALUE is delta, ci_low,
    ci_high, p_ttest, p_permutation, wins, ties or losses.

    \b
    rerank evaluate --engine http://localhost:9200 --index articles --dataset beir/scifact --out out
    rerank evaluate --engine embedded:demo/engine --index demo --queries q.jsonl --qrels test.tsv \\
        --arm bm25 --arm rerank --arm rerank:as=fresh,weights=freshness=1 --out out \\
        --fail-if "rerank.nDCG@10 < bm25.nDCG@10" --fail-if "ci_low(rerank, bm25, AP) < 0"
    """
    from rerank_plugin.evaluation.metrics import require_packages

    require_packages()
    specs = parse_arms(options["arms"] or default_arms(options["vectors"]))
    checks = parse_conditions(options["conditions"], specs)
    result = _evaluated(options, specs)
    if options["as_json"]:
        common.print_json(result)
    else:
        show(result)
        click.echo(f"Report: {options['out'] / 'report.html'}")
    failed = [check.text for check in checks if check.holds(result)]
    for text in failed:
        common.tell(f"Failed: {text}")
    if failed:
        raise click.exceptions.Exit(FAILED)


def _evaluated(options: Mapping[str, Any], specs: list[ArmSpec]) -> dict[str, Any]:
    """The result, written under ``--out``."""
    from rerank_plugin import wiring

    collection = _collection(options["queries"], options["qrels"], options["dataset"])
    if options["limit"] is not None:
        collection = collection.first(options["limit"])
    setup = wiring.Setup(
        engine=options["engine"],
        index=options["index"],
        now=options["now"] or common.present(),
        fields=parse_fields(options["fields"]),
        vectors=options["vectors"],
    )
    out: Path = options["out"]
    out.mkdir(parents=True, exist_ok=True)  # an unwritable place is known before the work
    return write(wiring.evaluate(setup, collection, specs, seed=options["seed"], progress=common.progress), out)


def default_arms(vectors: Path | None) -> tuple[str, ...]:
    """All arms; without vectors only those that need none."""
    return ("bm25", "rerank") if vectors is None else ("bm25", "dense", "fused", "rerank")


def parse_arms(texts: tuple[str, ...]) -> list[ArmSpec]:
    """Specifications of the arms.

    :raises ConfigError: one cannot be read, or two have the same label.
    """
    from rerank_plugin.evaluation.arms import ArmSpec

    specs = [ArmSpec.parse(text) for text in texts]
    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two arms are called {label!r}; name one with as=LABEL")
    return specs


def parse_conditions(texts: tuple[str, ...], specs: list[ArmSpec]) -> list[Condition]:
    """Conditions, checked against the arms before any work.

    :raises ConfigError: one cannot be read or asks for what the result will not hold.
    """
    from rerank_plugin.evaluation.compare import compared_pairs
    from rerank_plugin.evaluation.fail_if import Condition

    kinds = {spec.label: spec.kind for spec in specs}
    return [Condition.parse(text, arms=list(kinds), pairs=compared_pairs(kinds)) for text in texts]


def parse_fields(text: str) -> tuple[str, ...]:
    """Field names of a comma-separated list.

    :raises ConfigError: there is none.
    """
    fields = tuple(filter(None, (piece.strip() for piece in text.split(","))))
    if not fields:
        raise ConfigError("--fields needs at least one field name")
    return fields


def _collection(queries: Path | None, qrels: Path | None, dataset: Path | None) -> Collection:
    from rerank_plugin.evaluation.collection import read_beir, read_collection

    if dataset is not None and queries is None and qrels is None:
        return read_beir(dataset)
    if dataset is None and queries is not None and qrels is not None:
        return read_collection(queries.resolve().parent.name, queries, qrels)
    raise ConfigError("give either --dataset, or both --queries and --qrels")


def write(found: Evaluation, out: Path, *, note: str = "") -> dict[str, Any]:
    """Writes result, runs and report under ``out``; the result object comes back."""
    from rerank_plugin.evaluation.report import render
    from rerank_plugin.evaluation.result import without_password, write_result, write_text

    result = write_result(found, out)
    command = shlex.join(["rerank", *map(without_password, sys.argv[1:])])
    write_text(out / "report.html", render(found, result, command=command, note=note))
    return result


def show(result: dict[str, Any]) -> None:
    """The result as tables on standard output."""
    from rerank_plugin.cli.tables import print_arms, print_comparisons

    print_arms(result)
    print_comparisons(result)
