"""Joins collections, the read path and the training loop for ``rerank train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any, cast

from rerank_plugin.config import together
from rerank_plugin.errors import ModelFolderError
from rerank_plugin.wiring import Progress, Setup, calibration_windows

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from rerank_plugin.domain.clicks import ClickLog
    from rerank_plugin.evaluation.collection import Query
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.training.augment import Augment
    from rerank_plugin.training.calibrate import Window
    from rerank_plugin.training.loop import Trained, Validation
    from rerank_plugin.training.losses import ClickModel
    from rerank_plugin.training.mix import Mix
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.trunk import Backbone, Reader
    from rerank_plugin.training.two_mode import Backbone as TwoModeBackbone
    from rerank_plugin.training.two_mode import TwoModeReader
    from rerank_plugin.wiring.splits import Splits

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
    #: Texts of the documents, where the trunk is pre-trained on them.
    documents: Sequence[str] = ()
    #: What popularity is learned from in place of the stored feature; ``None`` for that.
    clicks: ClickLog | None = None
    #: Loads what is trained, anew for each training; ``None`` is what the settings say.
    backbone: Callable[[], Backbone] | None = None
    #: What came of mixing teachers; empty before and without.
    teaching: dict[str, Any] = field(default_factory=dict, init=False)
    #: What of the log's impressions there was to learn from; empty before and without.
    clicking: dict[str, Any] = field(default_factory=dict, init=False)
    #: How many labels there were that nobody gave; empty before and without.
    guessing: dict[str, Any] = field(default_factory=dict, init=False)
    #: How a search for settings went; empty before and without.
    searched: dict[str, Any] = field(default_factory=dict, init=False)
    #: How pre-training went; empty before and without.
    pretraining: dict[str, Any] = field(default_factory=dict, init=False)
    #: What rewords training queries; made here, so that a table that cannot be read is told before there is any work.
    augment: Augment | None = field(init=False)
    #: Collection and encoder -> where its documents are, with that encoder's vectors.
    filled: dict[tuple[str, str], Setup] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        from rerank_plugin.training.augment import augment_of

        self.augment = augment_of(self.settings)

    def run(self, *, precision: str, resume: bool) -> ModelFolder:
        """Trains, exports, fits the numbers of the new folder and compares on the test splits.

        What happened is in the folder's ``metrics["training"]``.

        :raises RerankError: the start cannot be trained, or a collection cannot be searched.
        """
        from rerank_plugin.models.folder import ModelFolder, update_manifest
        from rerank_plugin.training.calibrate import WEIGHTINGS, fit_head
        from rerank_plugin.training.reliability import reliability
        from rerank_plugin.wiring.gating import gated, learned_gates

        found = self.windows(self.start.path)
        trained = self._trained(found, precision, resume)
        kept, after, served = trained.best_step > 0, found, {}
        gates: dict[str, Any] = {}
        if kept:
            after = self.windows(self.out, parts=("dev", "test"))
            folder = ModelFolder.open(self.out)
            pairs = folder.manifest.kind == "cross-encoder"
            head = fit_head([windows["dev"] for windows in after.values()], pairs=pairs)
            gate, gates = learned_gates(self._asking(), folder)
            dev = [gated(windows["dev"], folder, gate) for windows in after.values()]
            weights = WEIGHTINGS[self.settings.weights](dev, head, self.settings.taking_part())
            folder = update_manifest(self.out, relevance=head.to_manifest(), weights=weights.as_dict(), gate=gate)
            served = self._compared("dev", found, after, folder)
            kept = sum(line["delta"] for line in served.values()) > 0
        if not kept:
            after, gates = found, {}
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
            "pretraining": self.pretraining,
            "teachers": self.teaching,
            "clicks": self.clicking,
            "pseudo_labels": self.guessing,
            "dev": {"before": round(trained.before, 4), "after": round(trained.after, 4)},
            "served": served,
            "gates": gates,
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

    def _asking(self) -> list[Query]:
        """The queries that may teach a gate: those that are learned from."""
        return [query for each in self.splits if each.train for query in each.train.queries]

    def follow(self, *, resume: bool) -> None:
        """The training alone, for a process beside the one that runs all of it."""
        found = self.windows(self.start.path, parts=("train", "dev", "unlabelled"))
        self.learned(found, resume=resume)

    def windows(self, model: Path, parts: Sequence[str] = PARTS) -> Found:
        """Collection -> split -> windows, by the read path of a model; documents are encoded by it, once by each."""
        from rerank_plugin.models.folder import ModelFolder
        from rerank_plugin.models.load import open_encoder

        found: Found = {}
        encoder = open_encoder(ModelFolder.open(model)).name
        for each in self.splits:
            if not any(getattr(each, part) for part in parts):
                continue
            where = each.name, encoder
            setup = self.filled[where] = self.filled.get(where) or self.load(each.name, model)
            found[each.name] = {
                part: calibration_windows(setup, collection, model, progress=self.progress)
                for part in parts
                if (collection := getattr(each, part)) is not None
            }
        return found

    def _trained(self, found: Found, precision: str, resume: bool) -> Trained:
        """The best step of the training, after a search of the best of its trials, exported to ``out``."""
        from rerank_plugin.domain.statements import FORM
        from rerank_plugin.models.folder import update_manifest

        checkpoints = None
        if self.settings.search:
            checkpoints, resume = self._searched(found), True
        done, _, backbone = self.learned(found, resume=resume, checkpoints=checkpoints)
        if done.best_step == 0:
            return done
        self.tell(f"best at step {done.best_step} of {done.steps}: nDCG@10 {done.after:.4f}; exporting ...")
        some = _of_part(found, "train")[:ROUNDING_TEXTS]
        texts = [each.text for window in some for each in window.request.candidates[:1] if each.text]
        folder = backbone.export(self.out, name=self.out.resolve().name, precision=precision, texts=texts)
        if self.settings.states_factors:
            update_manifest(self.out, interaction={**folder.interaction, "statements": FORM})
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
        from rerank_plugin.ranking.relevance import RelevanceHead
        from rerank_plugin.training.backbones import backbone_of
        from rerank_plugin.training.groups import Groups
        from rerank_plugin.training.loop import Validation, seeded, train
        from rerank_plugin.training.mix import Mix
        from rerank_plugin.training.objective import balance_of

        settings = self.settings
        head = RelevanceHead.from_manifest(self.start.relevance, where=str(self.start.path))
        if "score+text" not in head.fits or self.start.manifest.kind != "two-mode":
            raise ModelFolderError(f"{self.start.path} is no two-mode model; train from one")
        weights = Weights.of({factor: self.start.weights.get(factor, 0.0) for factor in settings.taking_part()})
        seeded(settings.seed)
        backbone = backbone_of(settings) if self.backbone is None else self.backbone()
        reader = backbone.reader(settings.tokens)
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
        fresh, most = settings.moves_vectors and backbone.model.encodes, settings.validate_window
        validation = Validation(
            dev, reader, most=most, head=head, weights=weights, fresh=fresh, statements=settings.states_factors
        )
        mix = Mix(
            backbone.model,
            fit=head.fits["score+text"],
            weights=weights,
            opened=settings.opened,
            balance=balance_of(settings),
            clicks=tower,
            adversarial=settings.adversarial,
        )
        if backbone.model.encodes:  # else its cosines are the start's as they were found
            validation.begin(mix)
        at_start = f"nDCG@10 {validation.before:.4f} at the start"
        self.tell(f"{groups.usable} queries to learn from, {len(dev)} validate: {at_start}")
        if settings.pretrain_steps:
            self._pretrained(cast("TwoModeBackbone", backbone), mix, validation, reader, resume)
        done = train(
            mix, groups, validation, reader, settings,
            out=checkpoints or self.out / "checkpoints", resume=resume, tell=self.tell, callbacks=callbacks,
        )  # fmt: skip
        return done, mix, backbone

    def _pretrained(
        self, backbone: TwoModeBackbone, mix: Mix, validation: Validation, reader: Reader, resume: bool
    ) -> None:
        """Pre-trains the backbone, and the mix over it, in place: once, whatever is searched for behind it."""
        from rerank_plugin.training.pretrain import pretrain

        out, settings = self.out / "pretraining", self.settings
        tokenizer = cast("TwoModeReader", reader).tokenizer
        done = pretrain(backbone, self.documents, tokenizer, settings, out=out, resume=resume, tell=self.tell)
        now = validation.by_start(mix)
        self.pretraining = {**done.to_json(), "nDCG@10": round(now, 4)}
        self.tell(f"pre-trained: nDCG@10 {now:.4f} by the start's head")

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
        from rerank_plugin.wiring.gating import gated

        table: dict[str, dict[str, Any]] = {}
        for name in after:
            if part not in after[name]:
                continue
            values = []
            for model, windows in ((self.start, before[name][part]), (folder, after[name][part])):
                head = RelevanceHead.from_manifest(model.relevance, where=str(model.path))
                asked = gated(windows, model, model.manifest.gate)
                values.append(ndcg_by_query(asked, head, Weights.of(model.weights)))
            said = paired([new - old for old, new in zip(*values, strict=True)], seed=self.settings.seed)
            old, new = (sum(each) / len(each) for each in values)
            table[name] = {
                "queries": len(values[0]), "start": round(old, 4), "trained": round(new, 4),
                "delta": round(said.delta, 4), "ci95": said.ci95 and [round(each, 4) for each in said.ci95],
                "wins": said.wins, "ties": said.ties, "losses": said.losses,
            }  # fmt: skip
        return table
