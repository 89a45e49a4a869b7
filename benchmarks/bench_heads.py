"""Do heads matter? Features of a random half of the documents are hidden; what stands in for them?

    python benchmarks/bench_heads.py [--collections stackexchange,cacm] [--seeds 3] [--weight 1.0] [--json]

Each collection is loaded as `rerank-index load` does, with vectors of the shipped model. A head per factor, a logistic
regression with soft labels on the vector, its penalty chosen out of fold, is fitted on the documents whose features
stay visible, and predicts the hidden ones. In their place stand: 1/2 (what serving does), the visible documents' mean,
the head, or the truth. Per factor: squared error and Spearman's correlation on the hidden documents. For the order,
gates as the queries ask: nDCG@10 (linear gain) of the test queries, true utilities of the first ten, and how many of
the first ten of the order by all true features are among them. Each query's mean over the drawings is paired.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tables import NOW, collections_folder, silent

from rerank_plugin.cli.loading import filled
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.evaluation.collection import read_beir
from rerank_plugin.evaluation.significance import paired
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.ranking.relevance import RelevanceHead
from rerank_plugin.retrieval.dense import VectorIndex
from rerank_plugin.training.calibrate import Window, in_final_order, ndcg_by_query
from rerank_plugin.training.logistic import chosen_penalty, predicted, soft_logistic
from rerank_plugin.wiring import calibration_windows, open_engine

STANDS = ("half", "mean", "head", "truth")
#: Fewer documents with a known feature teach nothing.
FEWEST = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", default="stackexchange,cacm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weight", type=float, default=1.0, help="of every factor")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    root = collections_folder()
    found: dict[str, Any] = {}
    for name in asked.collections.split(","):
        with tempfile.TemporaryDirectory(prefix="rerank-heads-") as scratch:
            found[name] = measured(root / name, Path(scratch), asked.seeds, asked.weight)
        if not asked.as_json:
            show(name, found[name])
    if asked.as_json:
        print(json.dumps(found))


def measured(folder: Path, scratch: Path, seeds: int, weight: float) -> dict[str, Any]:
    model = default_model_folder()
    now = NOW[folder.name]
    setup = filled(folder, scratch, model=model, now=now)
    collection = read_beir(folder, "test")
    windows = calibration_windows(setup, collection, model, progress=silent)
    head = RelevanceHead.from_manifest(ModelFolder.open(model).manifest.relevance, where=str(model))
    truth = {each.doc_id: each.features for window in windows for each in window.request.candidates}
    truth |= stored(setup, now)
    index = VectorIndex.open(scratch / "vectors")
    ids = sorted(truth)
    vectors = index.rows(ids).astype(np.float64)
    runs = [one(windows, head, truth, ids, vectors, weight, seed) for seed in range(seeds)]
    return joined(runs, folder.name)


def stored(setup: Any, now: datetime) -> dict[str, Features]:
    """The features of every document of the index, as the client reads them."""
    from rerank_plugin.client.candidates import features_of
    from rerank_plugin.wiring import index_meta

    client = open_engine(setup.engine)
    meta = index_meta(client, setup.index)
    half_life_days = 365.0 if meta is None else meta.half_life_days
    asked = {"query": {"match_all": {}}, "size": 10_000, "_source": ["rerank"]}
    hits = client.search(index=setup.index, body=asked)["hits"]["hits"]
    return {hit["_id"]: features_of(hit["_source"], {}, now=now, half_life_days=half_life_days) for hit in hits}


def one(
    windows: list[Window], head: RelevanceHead, truth: dict[str, Features], ids: list[str], vectors: Any,
    weight: float, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """One drawing of the hidden half."""
    hidden = np.random.default_rng(seed).permutation(len(ids)) < len(ids) // 2
    guesses: dict[str, dict[str, np.ndarray]] = {stand: {} for stand in STANDS}
    factors: dict[str, Any] = {}
    for factor in PRIORS:
        known = np.array([truth[each][factor] is not None for each in ids])
        if (known & ~hidden).sum() < FEWEST:
            continue
        values = np.array([truth[each][factor] if truth[each][factor] is not None else np.nan for each in ids])
        seen = known & ~hidden
        penalty, error = chosen_penalty(vectors[seen], values[seen], seed=seed)
        said = predicted(vectors, *soft_logistic(vectors[seen], values[seen], penalty))
        guesses["half"][factor] = np.full(len(ids), 0.5)
        guesses["mean"][factor] = np.full(len(ids), values[seen].mean())
        guesses["head"][factor] = said
        guesses["truth"][factor] = values
        away = known & hidden
        factors[factor] = {
            "documents": int(seen.sum()),
            "r2_out_of_fold": 1.0 - error / float(values[seen].var()),
            "spearman": float(spearmanr(said[away], values[away]).statistic),
            **{f"squared_{stand}": float(((guesses[stand][factor][away] - values[away]) ** 2).mean())
               for stand in ("half", "mean", "head")},
        }  # fmt: skip
    place = {each: number for number, each in enumerate(ids)}
    weights = Weights.of(dict.fromkeys(factors, weight))
    orders = {
        stand: [reordered(window, truth, hidden, place, guesses[stand], head, weights) for window in windows]
        for stand in STANDS
    }
    tens = {stand: [[each.candidate.doc_id for each in order[1][:10]] for order in orders[stand]] for stand in STANDS}
    return {
        "factors": factors,
        "ndcg": {stand: ndcg_by_query([order[0] for order in orders[stand]], head, weights) for stand in STANDS},
        "overlap": {
            stand: [len(set(a) & set(b)) / max(len(b), 1) for a, b in zip(tens[stand], tens["truth"], strict=True)]
            for stand in STANDS
        },
        "utility": {
            stand: {factor: [mean_of(ten, truth, factor) for ten in tens[stand]] for factor in factors}
            for stand in STANDS
        },
    }


def mean_of(ten: list[str], truth: dict[str, Features], factor: str) -> float:
    known = [value for each in ten if (value := truth[each][factor]) is not None]
    return float(np.mean(known)) if known else 0.5


def reordered(window: Window, truth: Any, hidden: Any, place: Any, guesses: Any, head: Any, weights: Any) -> Any:
    """The window with the guesses in the hidden documents' place, and its order."""
    candidates = []
    for each in window.request.candidates:
        number = place[each.doc_id]
        features = truth[each.doc_id]
        if hidden[number]:
            features = Features(
                **{factor: float(values[number]) for factor, values in guesses.items() if features[factor] is not None}
            )
        candidates.append(replace(each, features=features))
    changed = replace(window, request=replace(window.request, candidates=tuple(candidates)))
    return changed, in_final_order(changed, head, weights)


def joined(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Means over the drawings; differences paired by query, each query's mean over the drawings."""
    queries = len(runs[0]["ndcg"]["half"])

    def by_query(measure: str, stand: str) -> np.ndarray:
        return np.mean([run[measure][stand] for run in runs], axis=0)

    def against(measure: str, stand: str, other: str) -> dict[str, Any]:
        said = paired(list(by_query(measure, stand) - by_query(measure, other)), seed=0)
        return {"delta": said.delta, "ci95": said.ci95}

    factors = {
        factor: {key: float(np.mean([run["factors"][factor][key] for run in runs])) for key in values}
        for factor, values in runs[0]["factors"].items()
    }
    return {
        "collection": name,
        "queries": queries,
        "seeds": len(runs),
        "gain": "linear",
        "factors": factors,
        "ndcg@10": {stand: float(by_query("ndcg", stand).mean()) for stand in STANDS},
        "overlap@10 with truth": {stand: float(by_query("overlap", stand).mean()) for stand in STANDS},
        "utility@10": {
            stand: {factor: float(np.mean([run["utility"][stand][factor] for run in runs])) for factor in factors}
            for stand in STANDS
        },
        "head - half": {measure: against(measure, "head", "half") for measure in ("ndcg", "overlap")},
        "head - mean": {measure: against(measure, "head", "mean") for measure in ("ndcg", "overlap")},
    }


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: {found['queries']} queries, {found['seeds']} drawings of the hidden half")
    for key, value in found.items():
        if isinstance(value, dict):
            for part, said in value.items():
                print(f"  {key:24s} {part:12s} {rounded(said)}")
    sys.stdout.flush()


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
