"""``rerank model calibrate``: fits the relevance scale and the weights of a model folder to judged collections."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import click

from rerank_plugin.cli import common
from rerank_plugin.cli.loading import filled


@click.command()
@click.argument("model", type=common.FOLDER)
@click.option("--dataset", "datasets", type=common.FOLDER, multiple=True, required=True, help="A BEIR directory.")
@click.option("--split", default="train", show_default=True, help="Which judgments to fit to.")
@click.option(
    "--weights",
    "weighting",
    type=click.Choice(["equal", "raised"]),
    default="equal",
    show_default=True,
    help="The same for every factor, or each time more for the one that gained least; 1 % of nDCG@10 is the limit.",
)
@common.now_option
@common.json_option
def calibrate(
    model: Path, datasets: tuple[Path, ...], split: str, weighting: str, now: datetime | None, as_json: bool
) -> None:
    """Fit a model folder's relevance scale and factor weights to judged collections; writes its manifest.json.

    Every collection is loaded into a temporary embedded engine and searched the way applications search; what was found
    is fitted, nothing is added. Collections count the same whatever their size. Do not give what you will test on.
    Where queries say which factors they ask for (metadata.asks in queries.jsonl), the gates are learned from them.

    \b
    rerank model calibrate my-model --dataset beir/scifact --dataset beir/my-collection --split train
    """
    from rerank_plugin import wiring
    from rerank_plugin.domain.factors import PRIORS
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.models.folder import ModelFolder, update_manifest
    from rerank_plugin.training.calibrate import WEIGHTINGS, fit_head, ndcg_at_10
    from rerank_plugin.training.reliability import reliability
    from rerank_plugin.wiring.gating import gated, learned_gates

    collections = [read_beir(folder, split) for folder in datasets]
    windows = []
    for dataset, collection in zip(datasets, collections, strict=True):
        with tempfile.TemporaryDirectory(prefix="rerank-calibrate-") as scratch:
            setup = filled(dataset, Path(scratch), model=model, now=now or common.present())
            windows.append(wiring.calibration_windows(setup, collection, model, progress=common.progress))
    folder = ModelFolder.open(model)
    head = fit_head(windows, pairs=folder.manifest.kind == "cross-encoder")
    gate, asked = learned_gates([query for each in collections for query in each.queries], folder)
    windows = [gated(found, folder, gate) for found in windows]
    weights = WEIGHTINGS[weighting](windows, head, PRIORS)
    fitted = {collection.name: len(found) for collection, found in zip(collections, windows, strict=True)}
    ndcg = {
        collection.name: round(ndcg_at_10(found, head, weights), 4)
        for collection, found in zip(collections, windows, strict=True)
    }
    result = {"relevance": head.to_manifest(), "weights": weights.as_dict()}
    believed = reliability({each.name: found for each, found in zip(collections, windows, strict=True)})
    measured = {"queries": fitted, "nDCG@10": ndcg, "gates": asked, "reliability": believed}
    metrics = {**folder.manifest.metrics, "calibration": {"split": split, **measured}}
    update_manifest(model, **result, gate=gate, metrics=metrics)
    if as_json:
        common.print_json({**result, **measured})
    else:
        for case, fit in head.to_manifest().items():
            click.echo(f"{case:12} " + "  ".join(f"{name} {value:+.3f}" for name, value in fit.items()))
        click.echo("weights      " + "  ".join(f"{name} {value:.1f}" for name, value in weights.as_dict().items()))
        for factor, said in asked.items():
            errors = ", ".join(f"{name} {error:.3f}" for name, error in said["squared_error"].items())
            told = f"asked for by {said['asking']} of {said['queries']} queries, squared error {errors}"
            click.echo(f"gate of {factor}: {told}; {said['kept']} is kept")
        for name, said in believed.items():
            click.echo(f"{name}: expected calibration error {said['error']:.4f}, {said['base_rate']:.4f} are relevant")
        click.echo(f"written to {model / 'manifest.json'}")
