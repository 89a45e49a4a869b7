"""Joins collections, the read path and the training loop for ``rerank train``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

from rerank_plugin.config import together
from rerank_plugin.errors import DataError, ModelFolderError
from rerank_plugin.wiring import Progress, Setup, calibration_windows

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from rerank_plugin.domain.clicks import ClickLog
    from rerank_plugin.evaluation.collection import Collection, Query
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.augment import Augment
    from rerank_plugin.training.calibrate import Window
    from rerank_plugin.training.loop import Trained
    from rerank_plugin.training.losses import ClickModel
    from rerank_plugin.training.mix import Mix
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.two_mode import Backbone

#: Fills an engine with a collection's documents, their vectors made by a model: (name, model) -> where to search.
Load = Callable[[str, Path], Setup]
#: Collection -> split -> windows.
Found = dict[str, dict[str, "list[Window]"]]
#: Name of the file in the model folder that keeps what teachers said.
TEACHER_SCORES = "teachers.jsonl"
#: What queries are for.
PARTS = ("train", "dev", "test", "unlabelled")
#: Texts that the rounding of weights is fitted on.
ROUNDING_TEXTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A collection's queries by what they are for; no text is in two of them."""

    name: str
    #: ``None`` where only the corpus asks; ``dev`` where only these queries teach.
    train: Collection | None
    dev: Collection | None
    #: ``None`` where nothing is held back for the table at the end.
    test: Collection | None
    #: Queries without judgments to learn from; ``None`` where only judged ones teach.
    unlabelled: Collection | None = None


def read_splits(folder: Path, settings: Settings) -> Splits:
    """The splits of a BEIR directory: ``qrels/{train,dev,test}.tsv``; without ``dev`` some of ``train`` validate.

    A training query with the text of a validating or tested one is left out. Where the corpus asks itself
    (``corpus_queries``), there may be ``dev`` alone.

    :raises DataError: no ``train``, or too few queries.
    """
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.wiring.unlabelled import unlabelled_queries

    found = {name: read_beir(folder, name) for name in ("train", "dev", "test") if has_split(folder, name)}
    train, dev, test = (found.get(name) for name in ("train", "dev", "test"))
    if train is None and (dev is None or not settings.corpus_queries):
        raise DataError(
            f"{folder} has no qrels/train.tsv; training needs judged queries that are not tested on, "
            "or qrels/dev.tsv and the setting corpus_queries"
        )
    if test is not None:
        train, dev = (part and _without(part, test.queries) for part in (train, dev))
    if dev is not None:
        train = train and _without(train, dev.queries)
        dev = drawn(dev, settings.validate_queries, settings.seed)
    elif train is not None:
        train, dev = split_by_query(
            train, share=settings.validate_share, most=settings.validate_queries, seed=settings.seed
        )
    for name, kept in (("train", train), ("dev", dev)):
        if kept is not None and not kept.queries:
            raise DataError(f"{folder} has no query left for {name}: each is in another split too; give others")
    most = settings.test_queries
    return Splits(
        name=folder.resolve().name,
        train=train,
        dev=dev,
        test=drawn(test, most, settings.seed) if test and most else None,
        unlabelled=unlabelled_queries(folder, settings),
    )


def has_split(folder: Path, split: str) -> bool:
    """Whether a BEIR directory has judgments of a split."""
    return any((folder / "qrels" / f"{split}.tsv{end}").is_file() for end in ("", ".gz"))


def split_by_query(collection: Collection, *, share: float, most: int, seed: int) -> tuple[Collection, Collection]:
    """Queries to learn from and queries to validate on; equal texts stay on one side.

    :param share: of the queries that validate, in (0, 1).
    :param most: queries that validate at most.
    :raises DataError: fewer than two different queries.
    """
    from rerank_plugin.evaluation.collection import same_text

    texts = sorted({same_text(query.text) for query in collection.queries})
    if len(texts) < 2:
        raise DataError(f"{collection.name} has {len(texts)} judged query; training needs at least 2, one to validate")
    random.Random(seed).shuffle(texts)
    held = set(texts[: max(1, min(most, int(share * len(texts))))])
    aside = tuple(query for query in collection.queries if same_text(query.text) in held)
    return _without(collection, aside), _only(collection, aside)


def drawn(collection: Collection, most: int, seed: int) -> Collection:
    """At most so many of the queries, drawn at random, in the order of the file: files are often sorted by source."""
    if len(collection.queries) <= most:
        return collection
    chosen = {query.query_id for query in random.Random(seed).sample(collection.queries, most)}
    return _only(collection, [query for query in collection.queries if query.query_id in chosen])


def _without(collection: Collection, left_out: Sequence[Query]) -> Collection:
    from rerank_plugin.evaluation.collection import same_text

    texts = {same_text(each.text) for each in left_out}
    return _only(collection, [query for query in collection.queries if same_text(query.text) not in texts])


def _only(collection: Collection, kept: Sequence[Query]) -> Collection:
    grades = {query.query_id: collection.qrels[query.query_id] for query in kept}
    return replace(collection, queries=tuple(kept), qrels=grades)


def meet() -> None:
    """Waits for all processes that train together; alone for nobody."""
    if together()[1] > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _of_part(found: Found, part: str) -> list[Window]:
    """The windows of one split of all collections."""
    return [window for splits in found.values() for window in splits.get(part, ())]


@dataclass
class Learning:
    """From collections to a model folder.

    :param start: the model folder that training starts from; its read path finds the candidates.
    :param load: fills an engine.
    """

    splits: Sequence[Splits]
    start: ModelFolder
    settings: Settings
    out: Path
    load: Load
    progress: Progress
    tell: Callable[[str], None]
    #: Models whose scores are learned from beside the labels.
    teachers: Sequence[ModelFolder] = ()
    #: What popularity is learned from in place of the stored feature; ``None`` for that.
    clicks: ClickLog | None = None
    #: What came of mixing them; empty before and without.
    teaching: dict[str, Any] = field(default_factory=dict, init=False)
    #: What of the log's impressions there was to learn from; empty before and without.
    clicking: dict[str, Any] = field(default_factory=dict, init=False)
    #: How many labels there were that nobody gave; empty before and without.
    guessing: dict[str, Any] = field(default_factory=dict, init=False)
    #: How a search for settings went; empty before and without.
    searched: dict[str, Any] = field(default_factory=dict, init=False)
    #: What rewords training queries; made here, so that a table that cannot be read is told before there is any work.
    augment: Augment | None = field(init=False)

    def __post_init__(self) -> None:
        from rerank_plugin.training.augment import augment_of

        self.augment = augment_of(self.settings)

    def run(self, *, precision: str, resume: bool) -> ModelFolder:
        """Trains, exports, fits the numbers of the new folder and compares on the test splits.

        What happened is in the folder's ``metrics["training"]``.

        :raises RerankError: the start cannot be trained, or a collection cannot be searched.
        """
        from rerank_plugin.models.folder import ModelFolder, update_manifest
        from rerank_plugin.training.calibrate import equal_weights, fit_head
        from rerank_plugin.training.reliability import reliability

        found = self.windows(self.start.path)
        trained = self._trained(found, precision, resume)
        kept, after, served = trained.best_step > 0, found, {}
        if kept:
            after = self.windows(self.out, parts=("dev", "test"))
            dev = [windows["dev"] for windows in after.values()]
            head = fit_head(dev)
            weights = equal_weights(dev, head)
            folder = update_manifest(self.out, relevance=head.to_manifest(), weights=weights.as_dict())
            served = self._compared("dev", found, after, folder)
            kept = sum(line["delta"] for line in served.values()) > 0
        if not kept:
            after = found
            copytree(self.start.path, self.out, dirs_exist_ok=True)
        test = self._compared("test", found, after, ModelFolder.open(self.out))
        queries = {
            each.name: {
                part: len(asked.queries) for part in ("train", "dev", "unlabelled") if (asked := getattr(each, part))
            }
            for each in self.splits
        }
        account = {
            "settings": self.settings.to_json(),
            "start": self.start.name,
            "queries": queries,
            "search": self.searched,
            "teachers": self.teaching,
            "clicks": self.clicking,
            "pseudo_labels": self.guessing,
            "dev": {"before": round(trained.before, 4), "after": round(trained.after, 4)},
            "served": served,
            "kept": "trained" if kept else "start",
            "best_step": trained.best_step,
            "steps": trained.steps,
            "gradient_conflict": trained.conflict and round(trained.conflict, 4),
            "test": test,
        }
        metrics = self.start.manifest.metrics  # its own still hold where it is what was written
        if kept:
            believed = reliability({name: windows["dev"] for name, windows in after.items()}, seed=self.settings.seed)
            metrics = {"calibration": {"split": "dev", "reliability": believed}}
        return update_manifest(self.out, metrics={**metrics, "training": account})

    def follow(self, *, resume: bool) -> None:
        """The training alone, for a process beside the one that runs all of it."""
        found = self.windows(self.start.path, parts=("train", "dev", "unlabelled"))
        self.learned(found, resume=resume)

    def windows(self, model: Path, parts: Sequence[str] = PARTS) -> Found:
        """Collection -> split -> windows, by the read path of a model; documents are encoded by it."""
        found: Found = {}
        for each in self.splits:
            if not any(getattr(each, part) for part in parts):
                continue
            setup = self.load(each.name, model)
            found[each.name] = {
                part: calibration_windows(setup, collection, model, progress=self.progress)
                for part in parts
                if (collection := getattr(each, part)) is not None
            }
        return found

    def _trained(self, found: Found, precision: str, resume: bool) -> Trained:
        """The best step of the training, after a search of the best of its trials, exported to ``out``."""
        from rerank_plugin.training.export import export_model

        checkpoints = None
        if self.settings.search:
            checkpoints, resume = self._searched(found), True
        done, _, backbone = self.learned(found, resume=resume, checkpoints=checkpoints)
        if done.best_step == 0:
            return done
        self.tell(f"best at step {done.best_step} of {done.steps}: nDCG@10 {done.after:.4f}; exporting ...")
        some = _of_part(found, "train")[:ROUNDING_TEXTS]
        texts = [each.text for window in some for each in window.request.candidates[:1] if each.text]
        export_model(backbone, self.out, name=self.out.resolve().name, precision=precision, texts=texts)
        return done

    def _searched(self, found: Found) -> Path:
        """Where the checkpoints of the best trial lie, whose settings are the run's from now on."""
        from rerank_plugin.training.search import Watch, search

        def attempt(settings: Settings, checkpoints: Path, watch: Watch) -> float:
            trial = replace(self, settings=settings)
            return trial.learned(found, resume=True, checkpoints=checkpoints, callbacks=[watch])[0].after

        searched = search(self.settings, self.out / "search", attempt, self.tell)
        self.settings, self.searched = searched.settings, searched.account
        return searched.checkpoints

    def learned(
        self, found: Found, *, resume: bool, checkpoints: Path | None = None, callbacks: Sequence[TrainerCallback] = ()
    ) -> tuple[Trained, Mix, Backbone]:
        """Training on windows that were found: what it came to, and the model at its best step.

        :param checkpoints: where they lie; ``None`` is in ``out``.
        :raises RerankError: the start or a teacher cannot be used, or there is nothing to learn.
        """
        from rerank_plugin.domain.factors import Weights
        from rerank_plugin.models.tokens import TextTokenizer
        from rerank_plugin.ranking.relevance import RelevanceHead
        from rerank_plugin.training.groups import Groups
        from rerank_plugin.training.loop import Validation, seeded, train
        from rerank_plugin.training.mix import Mix
        from rerank_plugin.training.objective import balance_of
        from rerank_plugin.training.two_mode import load_backbone, shipped_backbone

        settings = self.settings
        head = RelevanceHead.from_manifest(self.start.relevance, where=str(self.start.path))
        if "score+text" not in head.fits or self.start.manifest.kind != "two-mode":
            raise ModelFolderError(f"{self.start.path} is no two-mode model; train from one")
        weights = Weights.of(self.start.weights)
        seeded(settings.seed)
        backbone = load_backbone(shipped_backbone())
        tokenizer = TextTokenizer(self.start.read("tokenizer").decode("utf-8"), settings.tokens)
        windows, tower = self._material(found, head)
        groups = Groups(
            windows,
            size=settings.group_size,
            count=settings.groups_of_run(together()[1]),
            margin=settings.margin,
            denoise=settings.denoise,
            seed=settings.seed,
            augment=self.augment,
        )
        dev = _of_part(found, "dev")
        fresh, most = settings.moves_vectors, settings.validate_window
        validation = Validation(dev, tokenizer, most=most, head=head, weights=weights, fresh=fresh)
        mix = Mix(
            backbone.model,
            fit=head.fits["score+text"],
            weights=weights,
            opened=settings.opened,
            balance=balance_of(settings),
            clicks=tower,
            adversarial=settings.adversarial,
        )
        validation.begin(mix)
        at_start = f"nDCG@10 {validation.before:.4f} at the start"
        self.tell(f"{groups.usable} queries to learn from, {len(dev)} validate: {at_start}")
        done = train(
            mix, groups, validation, tokenizer, settings,
            out=checkpoints or self.out / "checkpoints", resume=resume, tell=self.tell, callbacks=callbacks,
        )  # fmt: skip
        return done, mix, backbone

    def _material(self, found: Found, head: RelevanceHead) -> tuple[list[Window], ClickModel | None]:
        """The windows to learn from, with all that is said of them, and the model of their clicks."""
        from rerank_plugin.wiring.clicking import with_clicks
        from rerank_plugin.wiring.unlabelled import with_pseudo_labels

        judged = len(_of_part(found, "train"))
        windows = self._taught([*_of_part(found, "train"), *_of_part(found, "unlabelled")], head)
        both = windows[:judged], windows[judged:]
        windows, self.guessing = with_pseudo_labels(*both, head, self.settings, self.tell)
        windows, tower, self.clicking = with_clicks(windows, self.clicks, self.settings, self.tell)
        return windows, tower

    def _taught(self, windows: list[Window], head: RelevanceHead) -> list[Window]:
        """The windows with what the teachers say of them, where there are teachers."""
        from rerank_plugin.domain.factors import Weights
        from rerank_plugin.training.calibrate import ndcg_at_10
        from rerank_plugin.training.teachers import taught

        if not self.teachers:
            return windows
        most, cache = self.settings.teacher_window, self.out / TEACHER_SCORES
        names = ", ".join(folder.name for folder in self.teachers)
        self.tell(f"{names}: scoring candidates of {len(windows)} queries ...")
        said = taught(windows, self.teachers, most=most, cache=cache, progress=self.progress)
        start = ndcg_at_10([each for each in windows if each.judgments], head, Weights())
        self.teaching = {"slopes": dict(said.slopes), "nDCG@10": round(said.ndcg, 4), "start": round(start, 4)}
        shares = ", ".join(f"{name} {slope:.3g}" for name, slope in said.slopes.items())
        self.tell(f"teachers ({shares}): nDCG@10 {said.ndcg:.4f} on the queries to learn from, the start {start:.4f}")
        return said.windows

    def _compared(self, part: str, before: Found, after: Found, folder: ModelFolder) -> dict[str, dict[str, Any]]:
        """The start and the folder on one of the splits, each by its own read path."""
        from rerank_plugin.domain.factors import Weights
        from rerank_plugin.evaluation.significance import paired
        from rerank_plugin.ranking.relevance import RelevanceHead
        from rerank_plugin.training.calibrate import ndcg_by_query

        table: dict[str, dict[str, Any]] = {}
        for name in after:
            if part not in after[name]:
                continue
            values = []
            for model, windows in ((self.start, before[name][part]), (folder, after[name][part])):
                head = RelevanceHead.from_manifest(model.relevance, where=str(model.path))
                values.append(ndcg_by_query(windows, head, Weights.of(model.weights)))
            said = paired([new - old for old, new in zip(*values, strict=True)], seed=self.settings.seed)
            old, new = (sum(each) / len(each) for each in values)
            table[name] = {
                "queries": len(values[0]), "start": round(old, 4), "trained": round(new, 4),
                "delta": round(said.delta, 4), "ci95": said.ci95 and [round(each, 4) for each in said.ci95],
                "wins": said.wins, "ties": said.ties, "losses": said.losses,
            }  # fmt: skip
        return table
