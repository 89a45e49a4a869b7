"""Which losses and factors shape the final order? Trained and measured out of fold, in the factors' own units.

    python benchmarks/bench_ablation.py [--out DIR] [--collections cacm,stackexchange] [--queries N] [--steps N]
        [--arm NAME ...] [--folds N] [--set KEY=VALUE ...] [--json]

The queries of each collection are cut into folds. Every configuration trains on three of five (one more chooses the
step) and is measured on the fifth; its head and weights are fitted on the four. All arms order the same candidates, the
first of fusion's order, every factor asked for in full (as where a caller gives the weights); what is trained is a
shallow trunk, the lowest layers of what ships, beside the cosine of all of them:

    fused          the shipped head on first-stage score and cosine, nothing trained; all factors, or two
    sum            the rival r + sum w u: r fused's relevance in (0, 1), its weights tuned as ours are
    lightgbm       the rival LambdaMART, taught grades mixed with utilities, by the largest share that costs 1 % at most
    relevance      trained without factors, then weights for all of them
    + FACTOR       trained, and ordered, with one factor
    authority + freshness, all      with two, with all; losses in fixed shares
    all, uncertainty; all, stochastic      with other balances of the losses

Weights are raised factor by factor while nDCG@10 of the four folds loses no more than 1 % (DESIGN 3). Per arm: nDCG@10
(linear gain) and the mean of the first ten's year, citations, reputation, votes and utilities, against `fused` without
weights, with intervals paired by query; and the hypervolume under the trade of nDCG@10 for the mean utility as the
weights grow from 0. `--out` keeps every fold; a run that was cut off goes on there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ablation_table import printed, summary
from tables import NOW, collections_folder, keep, silent, tell

from rerank_plugin.cli.loading import filled
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.evaluation.collection import lines, one_of, read_beir
from rerank_plugin.evaluation.rivals import COLUMNS, Lesson, learn_lightgbm
from rerank_plugin.models.folder import ModelFolder, default_model_folder, write_whole
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.ranking.gate import OPEN_GATES
from rerank_plugin.ranking.relevance import RelevanceHead
from rerank_plugin.retrieval.fusion import min_max
from rerank_plugin.training.calibrate import ALLOWED_LOSS, Blended, Window, fit_head, ndcg_of_orders, raised
from rerank_plugin.training.loop import Validation
from rerank_plugin.training.settings import read_settings
from rerank_plugin.training.two_mode import Backbone, TwoModeReader, load_backbone, shipped_backbone
from rerank_plugin.wiring import Setup, calibration_windows
from rerank_plugin.wiring.learning import Learning
from rerank_plugin.wiring.splits import drawn, has_split

#: How a document's metadata say each of ``ablation_table.UNITS``.
SAID: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "year": lambda said: None if "date" not in said else int(said["date"][:4]) + (int(said["date"][5:7]) - 1) / 12,
    "citations": lambda said: said.get("cited_by_count"),
    "reputation": lambda said: said.get("owner_reputation"),
    "votes": lambda said: said.get("score"),
}
#: Shares of an arm's weights that make its trade of relevance for utility.
STRENGTHS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
#: Shares of the utilities in what LightGBM is taught, and how finely the mixture is graded.
SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)
GRADES = 30
#: What relevance counts in the rival sum: its weights, in tenths and 4 at most, are then between 0 and 1 of r.
SUM_SCALE = 4.0
ALL = ",".join(PRIORS)
PACKAGES = ("torch", "transformers", "accelerate", "lightgbm", "numpy", "scipy", "ir-measures")


@dataclass(frozen=True)
class Arm:
    """What is trained, and which factors its order has."""

    settings: dict[str, Any] = field(default_factory=dict)
    ordered_by: str = ALL


TRAINED = {
    "relevance": Arm({"factors": "none"}),
    **{f"+ {factor}": Arm({"factors": factor}, factor) for factor in PRIORS},
    "authority + freshness": Arm({"factors": "authority,freshness"}, "authority,freshness"),
    "all": Arm(),
    "all, uncertainty": Arm({"balance": "uncertainty"}),
    "all, stochastic": Arm({"balance": "stochastic"}),
}
#: Arms without training, and which factors their orders have.
UNTRAINED = {"fused": ALL, "fused, authority + freshness": "authority,freshness", "sum": ALL, "lightgbm": ALL}


def main() -> None:
    options = _options()
    data = collections_folder()
    names = [name for name in options.collections.split(",") if (data / name).is_dir()]
    if not names:
        sys.exit(f"Error: none of {options.collections} is under {data}; set RERANK_DATA")
    with nullcontext(options.out) if options.out else tempfile.TemporaryDirectory() as out:
        found = {name: Ablation(options, data / name, Path(out)).run() for name in names}
    if options.as_json:
        print(json.dumps(found, indent=1))
    else:
        print("\n\n".join(printed(name, each) for name, each in found.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keeps everything there and goes on with it")
    parser.add_argument("--collections", default="cacm", help="with commas between")
    parser.add_argument("--queries", type=int, default=15, help="of each collection, drawn at random")
    parser.add_argument("--arm", action="append", choices=[*UNTRAINED, *TRAINED], help="in place of all; repeatable")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--folds", type=int, default=3, help="at least 3")
    parser.add_argument("--layers", type=int, default=2, help="of the trunk")
    parser.add_argument("--window", type=int, default=30, help="candidates of a query that are ordered")
    parser.add_argument("--tokens", type=int, default=48, help="of a query, and of a document")
    parser.add_argument("--set", action="append", dest="given", default=[], help="KEY=VALUE, a setting of rerank train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", action="store_true", dest="as_json")
    return parser.parse_args()


class Ablation:
    """One collection: arms by folds, each cell made once."""

    def __init__(self, options: argparse.Namespace, folder: Path, out: Path) -> None:
        import torch

        torch.set_num_threads(options.threads)
        self._options, self._folder, self._out = options, folder, out / folder.name
        self._start = ModelFolder.open(default_model_folder())
        self._head = RelevanceHead.from_manifest(self._start.relevance, where=str(self._start.path))
        self._reader = TwoModeReader(TextTokenizer(self._start.read("tokenizer").decode("utf-8"), options.tokens))
        usual = {
            "seed": options.seed, "max_steps": options.steps, "validate_every": max(1, options.steps // 3),
            "validate_window": options.window, "tokens": options.tokens, "group_size": 6, "conflict_every": 10,
        }  # fmt: skip
        self._settings = read_settings(None, [*(f"{key}={value}" for key, value in usual.items()), *options.given])
        self._factors: tuple[str, ...] = ()

    def run(self) -> dict[str, Any]:
        """Every figure; what is not there yet is measured."""
        own = {name: getattr(self._options, name) for name in ("queries", "folds", "layers", "window")}
        told = {"settings": self._settings.to_json(), "start": self._start.name, **own}
        keep(self._out, told)
        arms = self._options.arm or [*UNTRAINED, *TRAINED]
        cells = {"fused": [self._cell("fused", fold) for fold in range(self._options.folds)]}
        self._factors = tuple(cells["fused"][0]["known"])
        for arm in arms:
            asked = TRAINED[arm].ordered_by if arm in TRAINED else UNTRAINED[arm]
            if not set(asked.split(",")) & set(self._factors):
                tell(f"{arm}: left out, {self._folder.name} does not say it of any document")
                continue
            cells[arm] = [self._cell(arm, fold) for fold in range(self._options.folds)]
        versions = {each: version(each) for each in PACKAGES}
        return {**told, "gain": "linear", "seed": self._options.seed, **summary(cells), "versions": versions}

    @cached_property
    def _windows(self) -> list[Window]:
        """Every query's first candidates, with every factor asked for; not asked for where every cell is there."""
        split = "train" if has_split(self._folder, "train") else "test"  # cross-validated: no test split is looked at
        collection = drawn(read_beir(self._folder, split), self._options.queries, self._options.seed)
        engine = self._out / "engine"
        shutil.rmtree(engine, ignore_errors=True)
        engine.mkdir(parents=True)
        now = NOW[self._folder.name]
        setup = filled(self._folder, engine, model=self._start.path, now=now)
        found = calibration_windows(setup, collection, self._start.path, progress=silent)
        return [replace(window, gates=OPEN_GATES) for window in found]

    @cached_property
    def _fold_of(self) -> list[int]:
        order = np.random.default_rng(self._options.seed).permutation(len(self._windows))
        return [int(place) % self._options.folds for place in order]

    def _of(self, folds: Sequence[int]) -> list[Window]:
        return [window for window, fold in zip(self._windows, self._fold_of, strict=True) if fold in folds]

    @cached_property
    def _said(self) -> dict[str, dict[str, float]]:
        """Document -> what is known of it, in its own units."""
        found = {}
        for _, line in lines(one_of(self._folder, "corpus.jsonl")):
            record = json.loads(line)
            values = {unit: read(record["metadata"]) for unit, read in SAID.items()}
            found[str(record["_id"])] = {unit: float(each) for unit, each in values.items() if each is not None}
        return found

    def _cell(self, arm: str, fold: int) -> dict[str, Any]:
        file = self._out / f"{arm.replace(' ', '-').replace(',', '')}.{fold}.json"
        if not file.exists():
            tell(f"{self._folder.name}, {arm}, fold {fold} ...")
            write_whole(file, json.dumps(self._measured(arm, fold)).encode("utf-8"))
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def _measured(self, arm: str, fold: int) -> dict[str, Any]:
        others = [each for each in range(self._options.folds) if each != fold]
        dev = others[fold % len(others)]
        if arm in TRAINED:
            return self._trained(arm, fold, dev)
        held, taught = self._first(self._of([fold])), self._first(self._of(others))
        if arm == "lightgbm":
            chosen = self._first(self._of([dev])), self._first(self._of([each for each in others if each != dev]))
            return self._points(held, *_by_lightgbm(held, taught, *chosen, seed=self._options.seed))
        columns = [[Blended.of(window, self._head) for window in part] for part in (held, taught)]
        if arm == "sum":
            columns = [[_as_sum(each) for each in part] for part in columns]
        return self._raised(held, taught, columns[0], columns[1], UNTRAINED[arm])

    def _trained(self, arm: str, fold: int, dev: int) -> dict[str, Any]:
        asked, scratch = TRAINED[arm], self._out / "checkpoints"
        train = [each for each in range(self._options.folds) if each not in (fold, dev)]
        settings = replace(self._settings, **asked.settings)
        learning = Learning(
            splits=[], start=self._start, settings=settings, out=scratch, load=_nowhere, progress=silent,
            tell=lambda _: None, backbone=self._shallow,
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
        done, mix, _ = learning.learned(
            {self._folder.name: {"train": self._of(train), "dev": self._of([dev])}}, resume=False
        )
        shutil.rmtree(scratch, ignore_errors=True)
        held, taught = (self._validation(self._of(folds)).scored_by(mix.eval()) for folds in ([fold], [*train, dev]))
        head = fit_head([taught])
        columns = [[Blended.of(window, head) for window in part] for part in (held, taught)]
        found = self._raised(held, taught, columns[0], columns[1], asked.ordered_by)
        return {**found, "trained": asdict(done)}

    def _shallow(self) -> Backbone:
        """The lowest layers of the shipped trunk, which read pairs; vectors stay those of all of its layers."""
        import torch

        found, layers = load_backbone(shipped_backbone()), self._options.layers
        found.model.layers = found.model.layers[:layers]
        found.model.segment_bias = torch.nn.Parameter(found.model.segment_bias[:layers].detach().clone())
        found.model.encodes = False
        return found

    def _validation(self, windows: list[Window]) -> Validation:
        return Validation(
            windows, self._reader, most=self._options.window, head=self._head, weights=Weights(), fresh=False
        )

    def _first(self, windows: list[Window]) -> list[Window]:
        return self._validation(windows).windows

    def _raised(
        self, held: list[Window], taught: list[Window], columns: list[Blended], learned: list[Blended], factors: str
    ) -> dict[str, Any]:
        """The held windows under shares of the weights that the others were raised to."""
        weights = raised([taught], [learned], factors.split(","))
        array = np.array([weights[factor] for factor in PRIORS])
        orders = [[each.order(array * share) for each in columns] for share in STRENGTHS]
        return self._points(held, orders, len(orders) - 1, {"weights": weights.as_dict()})

    def _points(
        self, held: list[Window], orders: list[list[list[int]]], chosen: int, said: dict[str, Any]
    ) -> dict[str, Any]:
        """Per trade and query what the orders give; ``chosen`` is the trade that the arm takes."""
        blended = [Blended.of(window, self._head) for window in held]
        known = [factor for place, factor in enumerate(PRIORS) if any(each.known[place] for each in blended)]
        found: dict[str, Any] = {**said, "known": known, "chosen": chosen, "ndcg": [], "utility": [], "units": []}
        for trade in orders:
            found["ndcg"].append(ndcg_of_orders(held, trade))
            means = [each.at_10(order).tolist() for each, order in zip(blended, trade, strict=True)]
            found["utility"].append([dict(zip(PRIORS, each, strict=True)) for each in means])
            found["units"].append([self._units(window, order) for window, order in zip(held, trade, strict=True)])
        return found

    def _units(self, window: Window, order: list[int]) -> dict[str, float]:
        """The means of the first ten, of the documents that say it."""
        ten = [self._said[window.request.candidates[place].doc_id] for place in order[:10]]
        values = {unit: [said[unit] for said in ten if unit in said] for unit in SAID}
        return {unit: float(np.mean(each)) for unit, each in values.items() if each}


def _as_sum(columns: Blended) -> Blended:
    """The columns with relevance as a number in (0, 1), times ``SUM_SCALE``."""
    return replace(columns, zs=SUM_SCALE / (1.0 + np.exp(-columns.zs)))


def _by_lightgbm(
    held: list[Window], taught: list[Window], dev: list[Window], train: list[Window], *, seed: int
) -> tuple[list[list[list[int]]], int, dict[str, Any]]:
    """The held windows' orders by share of utility, and the largest share that cost ``dev`` no more than is allowed."""
    kept = []
    for share in SHARES:
        model = learn_lightgbm([_lesson(window, share) for window in train], seed=seed)
        kept.append(float(np.mean(ndcg_of_orders(dev, [_ranked(model.score(_rows(each))) for each in dev]))))
    chosen = max(place for place, value in enumerate(kept) if value >= (1.0 - ALLOWED_LOSS) * kept[0])
    models = [learn_lightgbm([_lesson(window, share) for window in taught], seed=seed) for share in SHARES]
    orders = [[_ranked(model.score(_rows(each))) for each in held] for model in models]
    return orders, chosen, {"share": SHARES[chosen]}


def _lesson(window: Window, share: float) -> Lesson:
    """The grades of a window as shares of its best, mixed with the mean utility, in ``GRADES`` steps."""
    rows = _rows(window)
    best = max(window.judgments.values(), default=1) or 1
    utilities = np.nan_to_num(rows[:, -len(PRIORS) :], nan=0.5).mean(axis=1)
    return Lesson(rows, np.round(GRADES * ((1.0 - share) * window.grades / best + share * utilities)), 1.0)


def _rows(window: Window) -> np.ndarray:
    """(candidates, ``COLUMNS``)."""
    candidates = window.request.candidates
    scores = {str(place): float(each) for place, each in enumerate(window.scores)}
    cosines = {str(place): float(each) for place, each in enumerate(window.cosines)}
    words, meaning, top = min_max(scores), min_max(cosines), max(scores.values(), default=0.0) or 1.0
    rows = [
        [words[place], meaning[place], np.log1p(scores[place]), scores[place] / top, cosines[place],
         *(np.nan if (value := each.features[factor]) is None else value for factor in PRIORS)]
        for place, each in zip(scores, candidates, strict=True)
    ]  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))


def _ranked(scores: np.ndarray) -> list[int]:
    places: list[int] = np.argsort(-scores, kind="stable").tolist()
    return places


def _nowhere(name: str, _: Path) -> Setup:
    raise AssertionError(f"{name} is found already")


if __name__ == "__main__":
    main()
