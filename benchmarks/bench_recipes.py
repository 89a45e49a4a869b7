"""Recipes of training against fusion: does attention between query and document add to the final order?

    python benchmarks/bench_recipes.py [--out DIR] [--train NAME] [--tested NAME ...] [--recipe NAME ...]
        [--teacher FOLDER ...] [--steps N] [--queries N] [--learn N] [--set KEY=VALUE ...] [--json]

Every recipe trains the shipped model on one collection's training queries, its corpus, or both (linear gain, one seed),
and is measured on the test queries of that collection and, zero-shot, of the others. All arms order the same
candidates, the first of fusion's order, read to the same number of tokens, in fp32, without factors:

    fused     what ships: first-stage score and the start's cosine, by the shipped head
    alone     the recipe's interaction logit
    mixed     first-stage score, the recipe's cosine and logit, by the slopes that it learned
    shuffled  the same, the logits of each query's candidates in random order
    shut      the same, the logits made with the attention between query and document shut

`mixed - fused` is what a recipe is worth, `mixed - shut` what attention between query and document is worth in it.
Engines, teachers' scores, checkpoints and per-query results lie in --out: the same command goes on after a kill, and
measures again only what is not there. Without arguments it is small: two steps, five queries.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tables import collections_folder, difference, keep, short, silent, tell

from rerank_plugin.cli.loading import filled
from rerank_plugin.domain.factors import Weights
from rerank_plugin.evaluation.collection import read_beir
from rerank_plugin.evaluation.significance import paired
from rerank_plugin.models.folder import ModelFolder, default_model_folder, write_whole
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.ranking.relevance import CASES, Fit, RelevanceHead
from rerank_plugin.training.balance import Balance
from rerank_plugin.training.calibrate import Window, in_final_order, ndcg_by_query
from rerank_plugin.training.loop import head_of, outputs
from rerank_plugin.training.mix import Mix
from rerank_plugin.training.settings import Settings, read_settings
from rerank_plugin.training.two_mode import CLOSED, TwoModeModel, TwoModeReader, load_backbone, shipped_backbone
from rerank_plugin.wiring import Setup
from rerank_plugin.wiring.corpus import corpus_splits
from rerank_plugin.wiring.learning import TEACHER_SCORES, Found, Learning
from rerank_plugin.wiring.splits import Splits, drawn, read_splits

CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
ARMS = ("alone", "mixed", "shuffled", "shut")
PACKAGES = ("torch", "transformers", "accelerate", "onnxruntime", "numpy", "scipy", "ir-measures")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a model learns from, and how."""

    labels: bool = True
    corpus: bool = False
    teachers: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "labels": Recipe(),
    "labels, trained shut": Recipe(settings={"opened": CLOSED}),
    "labels + teachers": Recipe(teachers=True),
    "corpus + teachers alone": Recipe(labels=False, corpus=True, teachers=True, settings={"distill": 1.0}),
    "labels + corpus + teachers": Recipe(corpus=True, teachers=True),
    "labels + teachers, MarginMSE": Recipe(teachers=True, settings={"distill_loss": "margin_mse"}),
    "corpus": Recipe(labels=False, corpus=True),
    "labels, head only": Recipe(settings={"tuning": "head"}),
    "labels + contrast": Recipe(settings={"contrast": 1.0}),
    "labels + teachers + contrast": Recipe(teachers=True, settings={"contrast": 1.0}),
    "labels + corpus + teachers + contrast": Recipe(corpus=True, teachers=True, settings={"contrast": 1.0}),
    "labels, lambda": Recipe(settings={"loss": "lambda"}),
}


def main() -> None:
    """Prints the table, or with --json one object."""
    options = _options()
    data = collections_folder()
    absent = [name for name in (options.train, *options.tested) if not (data / name).is_dir()]
    if absent:
        print(f"skipped: no collection {absent[0]} under {data}; set RERANK_DATA to the folder that holds beir/")
        return
    import torch

    torch.set_num_threads(options.threads)
    with nullcontext(options.out) if options.out else tempfile.TemporaryDirectory() as out:
        table = Table(options, data, Path(out))
        found = table.run()
    print(json.dumps(found, indent=1) if options.as_json else printed(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keeps everything there and goes on with it")
    parser.add_argument("--train", default="peps", help="the collection that is learned from")
    parser.add_argument("--tested", nargs="*", default=["med"], help="collections for zero-shot")
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="in place of all; may be repeated")
    parser.add_argument("--teacher", action="append", type=Path, default=[], help="model folder; may be repeated")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--queries", type=int, default=5, help="test queries of each collection, drawn at random")
    parser.add_argument("--learn", type=int, default=20, help="queries to learn from, judged ones and of the corpus")
    parser.add_argument("--validate", type=int, default=5, help="queries that validate")
    parser.add_argument("--window", type=int, default=20, help="candidates of a query that are ordered")
    parser.add_argument("--tokens", type=int, default=64, help="of a query, and of a document")
    parser.add_argument("--set", action="append", dest="given", default=[], help="KEY=VALUE, a setting of rerank train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", action="store_true", dest="as_json")
    return parser.parse_args()


class Table:
    """Recipes by collections, each cell made once."""

    def __init__(self, options: argparse.Namespace, data: Path, out: Path) -> None:
        self._options, self._data, self._out = options, data, out
        self._start = ModelFolder.open(default_model_folder())
        self._teachers = [ModelFolder.open(folder) for folder in options.teacher]
        self._head = RelevanceHead.from_manifest(self._start.relevance, where=str(self._start.path))
        tokenizer = self._start.read("tokenizer").decode("utf-8")
        self._reader = TwoModeReader(TextTokenizer(tokenizer, options.tokens))
        usual = {
            "seed": options.seed, "max_steps": options.steps, "validate_every": max(1, options.steps // 3),
            "validate_queries": options.validate, "validate_window": options.window, "teacher_window": options.window,
            "test_queries": options.queries, "tokens": options.tokens, "corpus_queries": options.learn, "group_size": 6,
            **dict.fromkeys(("authority_loss", "freshness_loss", "novelty_loss", "popularity_loss"), 0.0),
        }  # fmt: skip
        pairs = [f"{name}={value}" for name, value in usual.items()]
        self._settings = read_settings(None, [*pairs, *options.given])
        self._cut: dict[str, Path] = {}

    def run(self) -> dict[str, Any]:
        """Every figure; what is not there yet is measured."""
        told = {"settings": self._settings.to_json(), "start": self._start.name, "recipes": {}}
        told["teachers"] = [folder.name for folder in self._teachers]
        keep(self._out, told)
        rows: dict[str, Any] = {"start": self._row("start", None)}
        for name in self._options.recipe or RECIPES:
            if RECIPES[name].teachers and not self._teachers:
                tell(f"{name}: left out, no --teacher was given")
                continue
            rows[name] = self._row(name, RECIPES[name])
        lines = {
            name: summary(row, rows["start"], self._options.train, self._options.seed) for name, row in rows.items()
        }
        versions = {each: version(each) for each in PACKAGES}
        return {**told, "gain": "linear", "seed": self._options.seed, "recipes": lines, "versions": versions}

    @cached_property
    def found(self) -> Found:
        """Every query's window, by the read path of the start; not asked for where every cell is there."""
        own = read_splits(self._data / self._options.train, self._settings)
        into = self._out / "corpus" / own.name
        asked = corpus_splits(self._data / own.name, into, own, self._settings)
        self._cut[asked.name] = into
        if own.train is not None:
            own = replace(own, train=drawn(own.train, self._options.learn, self._options.seed))
        others = [
            Splits(name=name, train=None, dev=None, test=drawn(test, self._options.queries, self._options.seed))
            for name in self._options.tested
            for test in [read_beir(self._data / name)]
        ]
        return self._learning(self._settings, [own, asked, *others], self._out, []).windows(self._start.path)

    def _learning(self, settings: Settings, splits: list[Splits], out: Path, teachers: list[ModelFolder]) -> Learning:
        return Learning(
            splits=splits, start=self._start, settings=settings, out=out, load=self._load,
            progress=silent, tell=tell, teachers=teachers,
        )  # fmt: skip

    def _load(self, name: str, model: Path) -> Setup:
        """The collection in an engine under ``out``, filled once."""
        folder = self._out / "engines" / name.replace("/", "+")
        if not (folder / "load.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            return filled(self._cut.get(name, self._data / name), folder, model=model, now=CLOCK)
        return Setup(engine=f"embedded:{folder / 'engine'}", index="collection", now=CLOCK, vectors=folder / "vectors")

    def _row(self, name: str, recipe: Recipe | None) -> dict[str, Any]:
        """What a recipe came to, and nDCG@10 per query of every arm and collection."""
        folder = self._out / "recipes" / name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True, exist_ok=True)
        tested = (self._options.train, *self._options.tested)
        absent = [each for each in ("trained", *tested) if not (folder / f"{each}.json").exists()]
        if absent:
            mix, trained = (self._untrained(), {}) if recipe is None else self._trained(recipe, folder)
            write_whole(folder / "trained.json", json.dumps(trained).encode("utf-8"))
            for each in absent[absent[0] == "trained" :]:
                tell(f"{name}: {each} ...")
                values = self._measured(mix, self.found[each]["test"])
                write_whole(folder / f"{each}.json", json.dumps(values).encode("utf-8"))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return {
            path: json.loads((folder / f"{path}.json").read_text(encoding="utf-8")) for path in ("trained", *tested)
        }

    def _untrained(self) -> Mix:
        backbone = load_backbone(shipped_backbone())
        return Mix(
            backbone.model, fit=self._head.fits["score+text"], weights=Weights(), opened=self._settings.opened,
            balance=Balance({"relevance": 1.0}),
        )  # fmt: skip

    def _trained(self, recipe: Recipe, folder: Path) -> tuple[Mix, dict[str, Any]]:
        settings = replace(self._settings, **recipe.settings)
        own = self._options.train
        parts: Found = {own: {"dev": self.found[own]["dev"]}}
        if recipe.labels:
            parts[own]["train"] = self.found[own]["train"]
        if recipe.corpus:
            parts[f"{own}/corpus"] = self.found[f"{own}/corpus"]
        scores = folder / TEACHER_SCORES
        if not scores.is_symlink():
            scores.symlink_to(self._out.resolve() / TEACHER_SCORES)  # one file: no recipe asks for a score again
        learning = self._learning(settings, [], folder, self._teachers if recipe.teachers else [])
        tell(f"{folder.name}: training ...")
        done, mix, _ = learning.learned(parts, resume=True)
        return mix, {**asdict(done), "teachers": learning.teaching}

    def _measured(self, mix: Mix, windows: list[Window]) -> dict[str, list[float]]:
        """nDCG@10 per query, by arm; ``fused`` too, which is a recipe's only where nothing was trained."""
        import torch

        trunk = mix.eval().trunk.to("cuda" if torch.cuda.is_available() else "cpu")
        both = [self._scored(trunk, self._first(window)) for window in windows]
        (opened, shut), learned = ([pair[place] for pair in both] for place in (0, 1)), head_of(mix)
        alone = RelevanceHead(dict.fromkeys(CASES, Fit(intercept=0.0, interaction=1.0)))
        arms = {
            "fused": (opened, self._head),
            "alone": (opened, alone),
            "mixed": (opened, learned),
            "shuffled": (shuffled(opened, self._options.seed), learned),
            "shut": (shut, learned),
        }
        return {arm: ndcg_by_query(ordered, head, Weights()) for arm, (ordered, head) in arms.items()}

    def _first(self, window: Window) -> Window:
        """The window's first candidates in the shipped order, without factors."""
        ranked = in_final_order(replace(window, interactions=None), self._head, Weights())[: self._options.window]
        kept = tuple(replace(each.candidate, retrieval_rank=rank) for rank, each in enumerate(ranked, start=1))
        return replace(window, request=replace(window.request, candidates=kept))

    def _scored(self, trunk: TwoModeModel, window: Window) -> tuple[Window, Window]:
        """A window with the trunk's cosines and its logits, attention open; and shut, where vectors say it all."""
        import torch

        candidates = window.request.candidates
        if not candidates:
            return window, window
        asked, read = window.request.query, [each.text for each in candidates]
        with torch.no_grad():
            vectors = outputs(trunk, self._reader, self._reader.texts([asked, *read]), 0)
            logits = outputs(trunk, self._reader, self._reader.pairs(asked, read), -1)
            query, texts = vectors[0], vectors[1:]
            features = torch.cat([query * texts, (query - texts).abs()], dim=-1)
            closed = features @ trunk.interaction_weight.cpu() + trunk.interaction_offset.cpu()
        cosines = (texts @ query).tolist()
        told = tuple(
            replace(each, cosine=cosine if each.text.strip() else None)
            for each, cosine in zip(candidates, cosines, strict=True)
        )
        request = replace(window.request, candidates=told)
        opened, shut = (
            replace(window, request=request, interactions=said.double().numpy()) for said in (logits, closed)
        )
        return opened, shut


def shuffled(windows: list[Window], seed: int) -> list[Window]:
    """The windows with the logits of each in an order drawn by the query."""
    found = []
    for window in windows:
        order = np.random.default_rng([seed, *window.request.query.encode()])
        moved = None if window.interactions is None else order.permutation(window.interactions)
        found.append(replace(window, interactions=moved))
    return found


def summary(row: dict[str, Any], start: dict[str, Any], own: str, seed: int) -> dict[str, Any]:
    """Means, and the differences with their intervals: per collection, and of all zero-shot queries together."""
    names = [name for name in row if name != "trained"]
    cells = {name: {**row[name], "fused": start[name]["fused"]} for name in names}
    others = [cells[name] for name in names if name != own]
    pooled = {arm: [value for cell in others for value in cell[arm]] for arm in ("fused", *ARMS)}
    if others:
        cells["zero-shot"] = pooled
    return {"trained": row["trained"], "collections": {name: _cell(cell, seed) for name, cell in cells.items()}}


def _cell(values: dict[str, list[float]], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"queries": len(values["fused"])}
    found |= {arm: round(sum(values[arm]) / len(values[arm]), 4) for arm in ("fused", *ARMS)}
    for less in ("fused", "shut"):
        said = paired([a - b for a, b in zip(values["mixed"], values[less], strict=True)], seed=seed)
        interval = None if said.ci95 is None else [round(each, 4) for each in said.ci95]
        found[f"mixed - {less}"] = {"delta": round(said.delta, 4), "ci95": interval}
    return found


def printed(found: dict[str, Any]) -> str:
    """The table in Markdown, one line per recipe and collection."""
    lines = [
        "| recipe | test | queries | fused | alone | mixed | mixed - fused, 95 % "
        "| shuffled | shut | mixed - shut, 95 % |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for recipe, row in found["recipes"].items():
        name = recipe
        if learned := row["trained"]:
            before, after = (short(learned[when], ".3f") for when in ("before", "after"))
            name = f"{recipe} (step {learned['best_step']}, dev {before} -> {after})"
        for test, cell in row["collections"].items():
            differences = [difference(cell[f"mixed - {less}"]) for less in ("fused", "shut")]
            means = {arm: short(cell[arm], ".3f") for arm in ("fused", *ARMS)}
            lines.append(
                f"| {name} | {test} | {cell['queries']} | {means['fused']} | {means['alone']} | {means['mixed']} "
                f"| {differences[0]} | {means['shuffled']} | {means['shut']} | {differences[1]} |"
            )
    told = found["settings"]
    lines.append("")
    lines.append(
        f"nDCG@10, {found['gain']} gain, seed {found['seed']}, {told['max_steps']} steps of {told['groups']} groups of "
        f"{told['group_size']}, {told['tokens']} tokens, first {told['validate_window']} candidates; "
        f"start {found['start']}, teachers {', '.join(found['teachers']) or 'none'}; "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
