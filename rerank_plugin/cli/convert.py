"""``rerank convert``: queries and judgments from one tool's form to another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rerank_plugin.cli import common
from rerank_plugin.errors import ConfigError


@click.command(short_help="Queries and judgments from one form to another.")
@click.option("--queries", type=common.FILE, help="Queries in any known form.")
@click.option("--qrels", type=common.FILE, help="Judgments in any known form.")
@click.option("--dataset", type=common.FOLDER, help="A BEIR directory or ir_datasets:NAME instead.")
@click.option("--split", default="test", show_default=True, help="Which qrels of --dataset.")
@click.option("--to", "form", required=True, help="beir, trec, quepid, workbench or rank_eval.")
@click.option("--index", default="articles", show_default=True, help="Index named in rank_eval.")
@click.option("--fields", default="content", show_default=True, help="Fields that rank_eval's requests search.")
@click.option("--out", type=common.FOLDER, required=True, help="Folder to write.")
@common.json_option
def convert(**options: Any) -> None:
    """Queries and judgments from one tool's form to another's.

    Read are BEIR, TREC, Quepid CSV, judging lists of rerank evaluate, query sets and judgments of the Search Relevance
    Workbench, _rank_eval bodies and ir_datasets:NAME; the form is seen from the file.

    \b
    rerank convert --dataset beir/scifact --to workbench --out workbench/
    rerank convert --queries queries.jsonl --qrels quepid.csv --to beir --out judged/
    """
    from rerank_plugin.cli.evaluate import parse_fields, read_judged
    from rerank_plugin.evaluation.writers import FORMS, Written, write_form

    form = options["form"]
    if form not in FORMS:
        raise ConfigError(f"--to {form} is no form; it is one of {', '.join(FORMS)}")
    collection = read_judged(options)
    given = Written(collection=collection, index=options["index"], fields=parse_fields(options["fields"]))
    paths: list[Path] = write_form(form, given, options["out"])
    said = {
        "queries": len(collection.queries),
        "judgments": len(given.rows()),
        "unjudged": collection.unjudged,
        "without_relevant": collection.without_relevant,
        "files": [str(path) for path in paths],
    }
    if options["as_json"]:
        common.print_json(said)
    else:
        click.echo(f"{said['queries']} queries, {said['judgments']} judgments: {', '.join(map(str, paths))}")
