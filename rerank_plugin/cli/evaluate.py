"""``rerank evaluate``: arms over judged queries, compared."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.cli import common
from rerank_plugin.errors import ConfigError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.fail_if import Condition
    from rerank_plugin.evaluation.result import Evaluation
    from rerank_plugin.evaluation.rivals import Teaching
    from rerank_plugin.evaluation.specs import ArmSpec
    from rerank_plugin.wiring.judging import Study

#: Exit status when a ``--fail-if`` condition holds.
FAILED = 3


@click.command(short_help="Compare arms with BM25 on judged queries.")
@click.option("--engine", required=True, help=common.ENGINE_HELP)
@click.option("--index", required=True, help="Index or alias to search.")
@click.option("--queries", type=common.FILE, help="Queries: BEIR, TREC, a log of one a line, Quepid, Workbench, ...")
@click.option("--qrels", type=common.FILE, help="Judgments: BEIR, TREC, Quepid, Workbench, _rank_eval, a judging list.")
@click.option("--dataset", type=common.FOLDER, help="A BEIR directory or ir_datasets:NAME instead.")
@click.option("--split", default="test", show_default=True, help="Which qrels of --dataset.")
@click.option("--arm", "arms", multiple=True, metavar="NAME[:key=value,...]", help="An arm; may be repeated.")
@click.option("--run", "runs", multiple=True, metavar="NAME=FILE", help="A saved TREC run as an arm; may be repeated.")
@click.option("--first-stage-run", type=common.FILE, help="A TREC run whose candidates the rerank arms rerank.")
@click.option("--teach", type=common.FILE, help="Qrels that sum and lightgbm learn from.  [default: see below]")
@click.option("--vectors", type=common.FOLDER, help="Vector folder that rerank-index load wrote.")
@click.option("--fields", default="content", show_default=True, help="Fields to search, comma-separated.")
@click.option(
    "--settings", type=common.FILE, help="JSON or TOML file of reranking settings (text_fields, field_map, ...)."
)
@click.option("--measure", "measures", multiple=True, help="A further measure, nDCG@20 or P@5; may be repeated.")
@click.option("--gain", type=click.Choice(["linear", "exponential"]), default="linear", show_default=True)
@click.option("--sweep", "sweeps", multiple=True, metavar="SETTING[=V,...]", help="Try values of reranking's settings.")
@common.now_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of tests, intervals and folds.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N queries.")
@click.option("--judge", type=click.IntRange(min=1), default=25, show_default=True, help="Queries of the judging list.")
@click.option("--fail-if", "conditions", multiple=True, metavar="COND", help="Exit with 3 when this holds.")
@click.option("--out", type=common.FOLDER, required=True, help="Folder for report.html, result.json and runs/.")
@common.json_option
def evaluate(**options: Any) -> None:
    """Compare arms with BM25: quality, significance, latency, factors.

    Without --qrels it says what reranking changes, and writes a list of documents to judge: once ratings stand in it,
    it comes back as --qrels.

    Arms: bm25, dense, fused, hybrid (the engine's own), sum (tuned weighted sum), lightgbm, rerank, run (saved).
    Without --arm: bm25 and rerank, with --vectors dense and fused too. Options of an arm follow a colon:
    fused:depth=1000, hybrid:field=embedding, run:file=my.run and rerank:window=50,weights=authority=1+freshness=0.5
    (keys: window, weights, dense, dense_size, deadline_ms, model); as=LABEL names an arm.

    --sweep window=10,50,100, --sweep deadline_ms=10,50 and --sweep weights=64 (that many points: the front between nDCG
    and each factor) try values of the reranking arm. rerank:diversify=mmr,trade=0.3 (or xquad) rearranges its hits.

    sum and lightgbm learn from --teach, else from dev.tsv or train.tsv of --dataset, else from the other folds of the
    same queries.

    A condition compares ARM.MEASURE, VALUE(CANDIDATE, BASELINE, MEASURE) and numbers, where VALUE is delta, ci_low,
    ci_high, p_ttest, p_permutation (both also with _holm), wins, ties or losses.

    \b
    rerank evaluate --engine http://localhost:9200 --index articles --dataset beir/scifact --out out
    rerank evaluate --engine http://localhost:9200 --index articles --queries log.txt --out out
    rerank evaluate --engine embedded:demo/engine --index demo --queries q.jsonl --qrels test.tsv \\
        --arm bm25 --arm rerank --arm rerank:as=fresh,weights=freshness=1 --out out \\
        --fail-if "rerank.nDCG@10 < bm25.nDCG@10" --fail-if "ci_low(rerank, bm25, AP) < 0"
    """
    from rerank_plugin.evaluation.metrics import parse_measures

    judged = options["qrels"] is not None or options["dataset"] is not None
    measures = parse_measures(options["measures"]) if judged else ()
    specs = parse_arms(options["arms"] or default_arms(options["vectors"]), options["runs"], options["first_stage_run"])
    checks = parse_conditions(options["conditions"], specs, measures)
    study = _study(options, specs, measures)
    if study.sweeps and not judged:
        raise ConfigError("--sweep needs judgments; give --qrels or --dataset")
    options["out"].mkdir(parents=True, exist_ok=True)  # an unwritable place is known before the work
    result = _evaluated(study, options["out"]) if judged else _compared(study, options["out"], options["judge"])
    if options["as_json"]:
        common.print_json(result)
    else:
        (show if judged else show_changes)(result)
        click.echo(f"Report: {options['out'] / 'report.html'}")
    failed = [check.text for check in checks if check.holds(result)]
    for text in failed:
        common.tell(f"Failed: {text}")
    if failed:
        raise click.exceptions.Exit(FAILED)


def _evaluated(study: Study, out: Path) -> dict[str, Any]:
    from rerank_plugin.wiring import judging

    return write(judging.evaluate(study, common.progress), out)


def _compared(study: Study, out: Path, judge: int) -> dict[str, Any]:
    """Without judgments: what changes, and the list to judge."""
    from rerank_plugin.evaluation.changed_report import render_changes
    from rerank_plugin.evaluation.result import write_text
    from rerank_plugin.wiring import unjudged

    found, result = unjudged.compare(study, out, common.progress, judge=judge)
    write_text(out / "result.json", common.json_text(result) + "\n")
    write_text(out / "report.html", render_changes(found, result, command=_command()))
    return result


def _study(options: Mapping[str, Any], specs: list[ArmSpec], measures: Sequence[str]) -> Study:
    from rerank_plugin import wiring
    from rerank_plugin.config import Rerank
    from rerank_plugin.evaluation.result import file_checksums
    from rerank_plugin.evaluation.sweeps import Sweep
    from rerank_plugin.wiring.judging import Study

    collection = _collection(options)
    if options["limit"] is not None:
        collection = collection.first(options["limit"])
    base = Rerank() if options["settings"] is None else Rerank.of(options["settings"]).for_index(options["index"])
    base = replace(base, mode="on", share=1.0, indices={})  # what is judged is reranking, not how much traffic gets it
    setup = wiring.Setup(
        engine=options["engine"],
        index=options["index"],
        now=options["now"] or base.now or common.present(),
        fields=parse_fields(options["fields"]),
        vectors=options["vectors"] or base.vectors,
        base=base,
    )
    learning = any(spec.kind in {"sum", "lightgbm"} for spec in specs)
    read = {name: options[name] for name in ("queries", "qrels", "settings", "first_stage_run", "teach")}
    if options["dataset"] is not None:
        read |= {"queries": options["dataset"] / "queries.jsonl", "qrels": _split_file(options["dataset"], options)}
    return Study(
        setup=setup,
        collection=collection,
        specs=specs,
        measures=measures,
        gain=options["gain"],
        seed=options["seed"],
        teaching=_teaching(options, collection) if learning else None,
        first_stage=options["first_stage_run"],
        sweeps=[Sweep.parse(text) for text in options["sweeps"]],
        checksums=file_checksums(read),
    )


def default_arms(vectors: Path | None) -> tuple[str, ...]:
    """All arms of ours; without vectors only those that need none."""
    return ("bm25", "rerank") if vectors is None else ("bm25", "dense", "fused", "rerank")


def parse_arms(texts: Sequence[str], runs: Sequence[str] = (), first_stage: Path | None = None) -> list[ArmSpec]:
    """Specifications of the arms: those of ``--arm``, ``--run``, and the first-stage run itself.

    :raises ConfigError: one cannot be read, or two have the same label.
    """
    from rerank_plugin.evaluation.specs import FIRST_STAGE, ArmSpec, parse_run

    specs = [ArmSpec.parse(text) for text in texts] + [parse_run(text) for text in runs]
    if first_stage is not None:
        specs.append(ArmSpec(kind="run", label=FIRST_STAGE, options={"file": first_stage}))
    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two arms are called {label!r}; name one with as=LABEL")
    return specs


def parse_conditions(texts: Sequence[str], specs: Sequence[ArmSpec], measures: Sequence[str]) -> list[Condition]:
    """Conditions, checked against the arms before any work.

    :raises ConfigError: one cannot be read or asks for what the result will not hold.
    """
    from rerank_plugin.evaluation.fail_if import Condition, Known
    from rerank_plugin.evaluation.specs import compared_pairs

    kinds = {spec.label: spec.kind for spec in specs}
    known = Known(arms=list(kinds), pairs=compared_pairs(kinds), measures=measures)
    return [Condition.parse(text, known) for text in texts]


def parse_fields(text: str) -> tuple[str, ...]:
    """Field names of a comma-separated list.

    :raises ConfigError: there is none.
    """
    fields = tuple(filter(None, (piece.strip() for piece in text.split(","))))
    if not fields:
        raise ConfigError("--fields needs at least one field name")
    return fields


def _collection(options: Mapping[str, Any]) -> Collection:
    from rerank_plugin.evaluation.formats import unjudged_collection

    queries: Path | None = options["queries"]
    if queries is not None and options["qrels"] is None and options["dataset"] is None:
        return unjudged_collection(queries.name, queries)
    return read_judged(options)


def read_judged(options: Mapping[str, Any]) -> Collection:
    """Queries with judgments from ``dataset`` (with ``split``), or from ``queries`` and ``qrels``.

    :raises RerankError: not one of the two ways, or a file cannot be used.
    """
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.evaluation.formats import read_collection
    from rerank_plugin.evaluation.ir_datasets_reader import catalogue_name, read_catalogue

    queries, qrels, dataset = options["queries"], options["qrels"], options["dataset"]
    if dataset is not None and queries is None and qrels is None:
        name = catalogue_name(dataset)
        return read_catalogue(name) if name else read_beir(dataset, options["split"])
    if dataset is None and queries is not None and qrels is not None:
        return read_collection(queries.resolve().parent.name, queries, qrels)
    raise ConfigError("give either --dataset, or both --queries and --qrels")


def _split_file(dataset: Path, options: Mapping[str, Any]) -> Path:
    return dataset / "qrels" / f"{options['split']}.tsv"


def _teaching(options: Mapping[str, Any], collection: Collection) -> Teaching | None:
    """The queries that rivals learn from; ``None`` where there are none beside those that are judged."""
    from rerank_plugin.evaluation.collection import one_of
    from rerank_plugin.evaluation.ir_datasets_reader import catalogue_name
    from rerank_plugin.evaluation.rivals import read_teaching

    dataset: Path | None = None if catalogue_name(options["dataset"]) else options["dataset"]
    queries = options["queries"] if dataset is None else one_of(dataset, "queries.jsonl")
    if options["teach"] is not None:
        return read_teaching(options["teach"].name, queries, options["teach"], collection, seed=options["seed"])
    if dataset is None:
        return None
    for split in ("dev", "train"):
        for path in (dataset / "qrels" / f"{split}.tsv", dataset / "qrels" / f"{split}.tsv.gz"):
            if split != options["split"] and path.is_file():
                return read_teaching(split, queries, path, collection, seed=options["seed"])
    return None


def write(found: Evaluation, out: Path, *, note: str = "") -> dict[str, Any]:
    """Writes result, runs and report under ``out``; the result object comes back."""
    from rerank_plugin.evaluation.report import render
    from rerank_plugin.evaluation.result import write_result, write_text

    result = write_result(found, out)
    write_text(out / "report.html", render(found, result, command=_command(), note=note))
    return result


def _command() -> str:
    from rerank_plugin.evaluation.result import without_password

    return shlex.join(["rerank", *map(without_password, sys.argv[1:])])


def show_changes(result: dict[str, Any]) -> None:
    """What changes, and where the list to judge is, on standard output."""
    from rerank_plugin.cli.tables import print_changes

    print_changes(result)


def show(result: dict[str, Any]) -> None:
    """The result as tables on standard output."""
    from rerank_plugin.cli.tables import print_arms, print_comparisons

    print_arms(result)
    print_comparisons(result)
