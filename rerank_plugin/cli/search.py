"""``rerank search``: one search, reranked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from rerank_plugin.cli import common
from rerank_plugin.errors import DataError


@click.command(short_help="One search, reranked.")
@click.option("--engine", required=True, help=common.ENGINE_HELP)
@click.option("--index", required=True, help="Index or alias to search.")
@click.argument("words", nargs=-1, required=True)
@click.option("--size", type=click.IntRange(min=1, max=1000), default=10, show_default=True, help="Hits to show.")
@click.option("--weights", metavar="f=w,...", help="Log-odds per factor, as in authority=0.5,freshness=1.")
@click.option("--window", type=click.IntRange(min=1, max=1000), help="Candidates rescored.  [default: 100]")
@click.option("--vectors", type=common.FOLDER, help="Vector folder that rerank-index load wrote.")
@click.option("--model", type=common.FOLDER, help="Model folder.  [default: RERANK_MODEL, else the shipped one]")
@click.option("--fields", default="content", show_default=True, help="Fields to search, comma-separated.")
@click.option("--explain", is_flag=True, help="Show z and each factor's contribution in log-odds.")
@common.now_option
@common.json_option
def search(
    engine: str,
    index: str,
    words: tuple[str, ...],
    size: int,
    weights: str | None,
    window: int | None,
    vectors: Path | None,
    model: Path | None,
    fields: str,
    explain: bool,
    now: datetime | None,
    as_json: bool,
) -> None:
    """Search once, through the drop-in client, and show what reranking changed.

    New rank, old rank (vec: only the vectors found it), score, and a bar per factor; a dot where nothing is known.

    \b
    rerank search --engine http://localhost:9200 --index articles "graph search"
    rerank search --engine embedded:rerank-demo/engine --index demo --vectors rerank-demo/vectors \\
        --weights authority=1,freshness=0.5 --explain "who invented the relational model"
    """
    from rerank_plugin import wiring
    from rerank_plugin.cli.evaluate import parse_fields
    from rerank_plugin.domain.factors import Weights

    text = common.clean(" ".join(words))
    if not text.strip():
        raise DataError("the query is empty; give some words")
    setup = wiring.Setup(
        engine=engine, index=index, now=now or common.present(), fields=parse_fields(fields), vectors=vectors
    )
    settings = setup.settings(weights=None if weights is None else Weights.parse(weights), window=window, model=model)
    response = wiring.search(setup, settings, text, size=size)
    if as_json:
        common.print_json(response)
    else:
        _show(response, explain=explain)


def _show(response: dict[str, Any], *, explain: bool) -> None:
    from rerank_plugin.cli.hits import print_hits

    print_hits(response, explain=explain)
