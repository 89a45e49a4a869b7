"""The HTML report: one file, no script, no outside resource, readable in light and dark and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import MissingExtraError
from rerank_plugin.evaluation.drawings import FILTERS, Moved, arm_bars, delta_bars, fronts, latency_bars, share, signed
from rerank_plugin.evaluation.experiment import FACTOR_MEANS
from rerank_plugin.evaluation.metrics import COVERAGE, MEASURES
from rerank_plugin.evaluation.result import Evaluation
from rerank_plugin.evaluation.significance import TIE

#: Queries listed among the most helped, and among the most hurt.
SHOWN = 8
LEAD_MEASURE = MEASURES[0]


def render(evaluation: Evaluation, result: Mapping[str, Any], *, command: str, note: str = "") -> str:
    """The report as HTML.

    :param result: what :meth:`Evaluation.to_json` gave.
    :param command: how to run it again.
    :param note: a sentence that qualifies everything below it, shown first.
    :raises MissingExtraError: jinja2 is not installed.
    """
    pair = evaluation.lead
    moved = [] if pair is None else _moved(evaluation, *pair)
    measures = [each for each in evaluation.per_query if each != COVERAGE]
    return fill(
        "report.html",
        result=result,
        measures=measures,
        coverage=COVERAGE,
        factors=PRIORS,
        lead=LEAD_MEASURE,
        note=note,
        command=command,
        verdict=verdict(result, pair),
        cost=cost(result, pair),
        pair=pair,
        arm_bars=arm_bars(result, LEAD_MEASURE),
        latency_bars=latency_bars(result),
        delta_bars=delta_bars(moved),
        helped=[each for each in moved if each.delta > TIE][:SHOWN],
        hurt=[each for each in reversed(moved) if each.delta < -TIE][:SHOWN],
        shown=evaluation.shown,
        fronts=fronts(result["sweeps"]["weights"], LEAD_MEASURE, FACTOR_MEANS) if "weights" in result["sweeps"] else (),
    )


def fill(name: str, **values: Any) -> str:
    """A template of ours with the values in it; everything is escaped.

    :raises MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the HTML report", "evaluate") from error
    folder = resources.files("rerank_plugin.evaluation").joinpath("templates")
    environment = Environment(
        loader=FunctionLoader(lambda each: folder.joinpath(each).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    html: str = environment.get_template(name).render(**values)
    return html


def verdict(result: Mapping[str, Any], pair: tuple[str, str] | None) -> str:
    """The lead comparison in a sentence, and what it costs in another."""
    if pair is None:
        return f"{result['queries']} queries of {result['dataset']}; there is no baseline to compare with."
    baseline, candidate = pair
    entry = _entry(result, pair)
    arms = result["arms"]
    means = (
        f"On {result['queries']} queries of {result['dataset']}, {candidate} has {LEAD_MEASURE} "
        f"{share(arms[candidate][LEAD_MEASURE])} and {baseline} {share(arms[baseline][LEAD_MEASURE])}"
    )
    if entry["ci95"] is None:
        return f"{means}; a single query says nothing about others."
    low, high = entry["ci95"]
    told = (
        "better, and more than chance explains"
        if low > 0
        else "worse, and more than chance explains"
        if high < 0
        else "a difference that chance alone could explain"
    )
    return f"{means}: {signed(entry['delta'])} (95 % interval {signed(low)} to {signed(high)}), {told}."


def cost(result: Mapping[str, Any], pair: tuple[str, str] | None) -> str:
    """What the candidate costs in time, beside whom it helps and hurts; empty where nothing is compared."""
    if pair is None:
        return ""
    entry = _entry(result, pair)
    told = f"It helps {entry['wins']} queries, hurts {entry['losses']} and leaves {entry['ties']} as they are."
    before, after = (result["arms"][label]["latency_ms"]["p50"] for label in pair)
    if before is None or after is None:
        return told
    return f"{told} Half of its searches take up to {after:.0f} ms, those of {pair[0]} up to {before:.0f} ms."


def _entry(result: Mapping[str, Any], pair: tuple[str, str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        each
        for each in result["comparisons"]
        if (each["baseline"], each["candidate"], each["measure"]) == (*pair, LEAD_MEASURE)
    )
    return found


def _moved(evaluation: Evaluation, baseline: str, candidate: str) -> list[Moved]:
    """Every query, most helped first."""
    values = evaluation.per_query
    texts = {query.query_id: query.text for query in evaluation.collection.queries}
    below, above = values[LEAD_MEASURE][baseline], values[LEAD_MEASURE][candidate]
    moved = [
        Moved(query_id, texts.get(query_id, "(its text is not in the queries)"), below[query_id], above[query_id])
        for query_id in below
    ]
    return sorted(moved, key=lambda each: (-each.delta, each.query_id))
