"""A reranked response as a table: new rank, old rank, score, a bar per factor, title."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rerank_plugin.cli.tables import bar, console, is_roomy, padding
from rerank_plugin.domain.factors import PRIORS

TITLE_WIDTH = 80


def print_hits(
    response: Mapping[str, Any], *, explain: bool = False, first: int = 1, out: Console | None = None
) -> None:
    """The hits in their order.

    :param explain: adds z and each factor's contribution in log-odds; they sum to z_final.
    :param first: rank of the first hit, where a page does not begin at 1.
    """
    out = out or console()
    hits = response["hits"]["hits"]
    if not hits:
        out.print("Nothing found.")
    else:
        table = _table(explain=explain, out=out)
        for rank, hit in enumerate(hits, start=first):
            said = hit.get("_rerank") or {}
            cells = _explanation(said) if explain else _bars(said)
            table.add_row(str(rank), _moved(rank, said), *cells, Text(title_of(hit), no_wrap=True, overflow="ellipsis"))
        out.print(table)
    out.print(Text(_status(response.get("rerank") or {})))


def title_of(hit: Mapping[str, Any]) -> str:
    """A document in one line: its title, else the first text of its source, else its id."""
    source = hit.get("_source") or {}
    texts = [source.get("title"), *(value for key, value in source.items() if key != "rerank")]
    text = next((each for each in texts if isinstance(each, str) and each.strip()), str(hit.get("_id", "")))
    line = " ".join(text.split())
    return line if len(line) <= TITLE_WIDTH else f"{line[: TITLE_WIDTH - 1]}…"


def _table(*, explain: bool, out: Console) -> Table:
    """The headings. Only the title may be cut: a figure with its end missing says something wrong."""
    roomy = is_roomy(out)
    factors = [factor if roomy else f"{factor[:5]}." for factor in PRIORS]
    table = Table(box=box.SIMPLE_HEAD, padding=padding(out))
    figures = ["z", *(f"+{factor}" for factor in factors), "=z_final", "score"] if explain else ["score"]
    for name in ("new", "old", *figures):
        table.add_column(name, justify="right", no_wrap=True)
    for name in () if explain else ("relevance" if roomy else "relev.", *factors):
        table.add_column(name, no_wrap=True)
    table.add_column("title")
    return table


def _moved(rank: int, said: Mapping[str, Any]) -> Text:
    """Where the document stood in the engine's order, and which way it went; ``vec``: only the vectors found it."""
    old = said.get("retrieval_rank")
    if old is None:
        return Text("–")
    if said.get("retrieval_score") == 0:
        return Text("vec", style="green")
    if old == rank:
        return Text(f"{old} =")
    return Text(f"{old} ↑", style="green") if rank < old else Text(f"{old} ↓", style="red")


def _bars(said: Mapping[str, Any]) -> list[Text]:
    if said.get("z") is None:  # beyond the window, or not scored in time
        return [Text("–"), *(Text("") for _ in range(1 + len(PRIORS)))]
    cells = [Text(f"{said['final_score']:.3f}"), Text(bar(_sigmoid(said["z"])), style="cyan")]
    for factor in PRIORS:
        term = said["factors"].get(factor)
        unknown = term is None or term["origin"] == "missing"
        cells.append(Text("·") if unknown else Text(bar(term["utility"]), style="blue"))
    return cells


def _explanation(said: Mapping[str, Any]) -> list[Text]:
    if said.get("z") is None:
        return [Text("–"), *(Text("") for _ in range(2 + len(PRIORS)))]
    parts = [said["factors"].get(factor, {}).get("contribution", 0.0) for factor in PRIORS]
    return [
        Text(f"{said['z']:.4f}"),
        *(Text(f"{part:+.4f}") for part in parts),
        Text(f"{said['z'] + math.fsum(parts):.4f}"),
        Text(f"{said['final_score']:.3f}"),
    ]


def _status(status: Mapping[str, Any]) -> str:
    took = (status.get("took_ms") or {}).get("total")
    line = f"reranking: {status.get('status', 'off')}"
    if status.get("reason"):
        line += f" ({status['reason']})"
    if status.get("reranked") is not None:
        line += f", {status['reranked']} rescored with a window of {status.get('window')}"
    if status.get("dense"):
        line += f", vectors: {status['dense']}"
    return line + ("" if took is None else f", {took:.0f} ms")


def _sigmoid(z: float) -> float:
    from rerank_plugin.ranking.blend import sigmoid

    return sigmoid(z)
