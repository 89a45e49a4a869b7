"""The training loop: transformers' ``Trainer`` over a :class:`Mix`, stopped early by nDCG@10 of the final order."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.statements import texts_of
from rerank_plugin.models.batches import in_batches
from rerank_plugin.ranking.relevance import Fit, RelevanceHead
from rerank_plugin.training.balance import conflict_rate, gradients_of
from rerank_plugin.training.calibrate import Window, in_final_order, ndcg_at_10
from rerank_plugin.training.mix import INTERACTION, Batch, Collator, Mix
from rerank_plugin.training.objective import losses_of
from rerank_plugin.training.tracking import tracked, trackers_of
from rerank_plugin.training.tuning import EFFICIENT, added, fold, prepare

if TYPE_CHECKING:
    from rerank_plugin.training.groups import Groups
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.trunk import Reader, TextReader, Trunk

#: Tokens of a batch in validation, padding included.
BUDGET = 4096
METRIC = "eval_ndcg"
#: What the share of pairs of losses in conflict is logged as.
CONFLICT = "gradient_conflict"
#: Transformers' name of the file that a checkpoint is written with last.
STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What training came to."""

    #: nDCG@10 of the validation queries: the start's own head, and the best step.
    before: float
    after: float
    #: The best step and the last one; the best is 0 where no step was better than the start.
    best_step: int
    steps: int
    #: Share of the pairs of losses that pulled the trunk in opposite directions, over the steps looked at.
    conflict: float | None = None


class Validation:
    """nDCG@10 of held-out windows, in the order that serving would give.

    :param windows: as the read path found them. The first ``most`` candidates in the start's order are scored again,
        the others stay behind.
    :param reader: the trunk's.
    :param head, weights: the start's own.
    :param fresh: whether the cosines change with the trunk, which then encodes, and must be made again.
    :param statements: whether what is known of a document stands in front of its text; cosines are of the plain one.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        reader: Reader,
        *,
        most: int,
        head: RelevanceHead,
        weights: Weights,
        fresh: bool,
        statements: bool = False,
    ) -> None:
        self.windows = [_first(window, most, head, weights) for window in windows]
        self._reader, self._fresh, self._statements = reader, fresh, statements
        self._head, self._weights = head, weights
        #: What the start gives.
        self.before = ndcg_at_10(self.windows, head, weights)

    def begin(self, mix: Mix) -> None:
        """Makes ``before`` of cosines that the start's trunk gives here: of the same tokens that training reads.

        :param mix: over the start's trunk, not trained yet.
        """
        self.before = self.by_start(mix)

    def by_start(self, mix: Mix) -> float:
        """What the start's own head gives over the mix's trunk as it is now."""
        return ndcg_at_10(self.scored_by(mix), self._head, self._weights)

    def __call__(self, mix: Mix) -> float:
        """What the mix gives now."""
        return ndcg_at_10(self.scored_by(mix), head_of(mix), mix.weights)

    def scored_by(self, mix: Mix) -> list[Window]:
        """The windows with the logits, and the cosines where they change, of the mix's trunk."""
        with torch.no_grad():
            return [self._scored(mix.trunk.eval(), window) for window in self.windows]

    def _scored(self, trunk: Trunk, window: Window) -> Window:
        if not window.request.candidates:
            return window  # nothing was found: it counts as 0 whatever is trained
        query, candidates = window.request.query, window.request.candidates
        read = self._reader.pairs(query, texts_of(candidates, statements=self._statements))
        interactions = outputs(trunk, self._reader, read, -1)
        if self._fresh:
            alone = cast("TextReader", self._reader).texts([query, *texts_of(candidates, statements=False)])
            vectors = outputs(trunk, self._reader, alone, 0)
            cosines = (vectors[1:] @ vectors[0]).tolist()
            candidates = tuple(
                replace(each, cosine=cosine if each.text.strip() else None)
                for each, cosine in zip(candidates, cosines, strict=True)
            )
        request = replace(window.request, candidates=candidates)
        return replace(window, request=request, interactions=interactions.numpy().astype(np.float64))


def _first(window: Window, most: int, head: RelevanceHead, weights: Weights) -> Window:
    """The window's first candidates in the order of ``head`` and ``weights``, renumbered."""
    ranked = in_final_order(window, head, weights)[:most]
    kept = tuple(replace(each.candidate, retrieval_rank=rank) for rank, each in enumerate(ranked, start=1))
    return replace(window, request=replace(window.request, candidates=kept), interactions=None)


def outputs(trunk: nn.Module, reader: Reader, rows: Sequence[Any], output: int) -> Tensor:
    """One output of the trunk per row, in the order given, on the processor."""
    device = next(trunk.parameters()).device
    found: dict[int, Tensor] = {}
    for batch in in_batches(rows, reader.pad, budget=BUDGET):
        said = trunk(**{name: torch.from_numpy(values).to(device) for name, values in batch.inputs.items()})
        found |= dict(zip(batch.indices, said[output].cpu(), strict=True))
    return torch.stack([found[place] for place in range(len(rows))])


def head_of(mix: Mix) -> RelevanceHead:
    """The slopes as serving reads them; the intercept is 0, for calibration to find."""
    slopes = mix.slopes.tolist()
    text = {"cosine": slopes[INTERACTION - 1], "interaction": slopes[INTERACTION]}
    score = {"log_score": slopes[0], "relative_score": slopes[1]}
    return RelevanceHead(
        {
            "score+text": Fit(intercept=0.0, **score, **text),
            "text": Fit(intercept=0.0, **text),
            "score": Fit(intercept=0.0, **score),
        }
    )


class MixTrainer(Trainer):
    """``Trainer`` with our loss, our rates and our validation."""

    def __init__(
        self, mix: Mix, settings: Settings, validation: Validation, tell: Callable[[str], None], **more: Any
    ) -> None:
        self._settings, self._validation, self._tell, self._looked = settings, validation, tell, -1
        super().__init__(model=mix, **more)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *_: Any, **__: Any
    ) -> Any:
        """The balance of the losses on the final order and on the heads."""
        batch: Batch = inputs["batch"]
        mix = cast(Mix, self.model)
        said = model(batch)
        every, step = self._settings.conflict_every, self.state.global_step
        hiding = self._settings.hiding_at(step / self.args.max_steps)
        losses = losses_of(said, batch, self._settings, mix.clicks, hiding=hiding)
        if every and step % every == 0 and step != self._looked:
            self._looked = step  # of the batches of a step only the first
            self.log({CONFLICT: conflict_rate(gradients_of(losses, shared(mix)))})
        loss = mix.balance(losses)
        if self.args.world_size > 1:  # processes wait for each other with every parameter, drawn or not
            loss = loss + 0.0 * torch.stack(list(losses.values())).sum()
        return (loss, said) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """nDCG@10 of the validation queries."""
        mix = cast(Mix, self.model)
        metrics = {METRIC: self._validation(mix)}
        mix.train()
        self.log(metrics)
        losses = [each["loss"] for each in self.state.log_history if "loss" in each]
        lost = f", loss {losses[-1]:.4f}" if losses else ""
        if self.is_world_process_zero():
            self._tell(f"step {self.state.global_step} of {self.args.max_steps}: nDCG@10 {metrics[METRIC]:.4f}{lost}")
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, cast(Any, metrics))
        return metrics

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """Rates by layer (Howard and Ruder 2018); what the tuning leaves alone is in no group."""
        if self.optimizer is None:
            kind, options = Trainer.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(rates(cast(Mix, self.model), self._settings), **options)
        return self.optimizer

    def ended(self, checkpoint: Path) -> bool:
        """Whether the run of a checkpoint came to its end with it; then its best step is loaded."""
        state = TrainerState.load_from_json(str(checkpoint / STATE))
        patience = cast(Any, state.stateful_callbacks[EarlyStoppingCallback.__name__])["attributes"]
        stopped = patience["early_stopping_patience_counter"] >= self._settings.patience
        if state.global_step < self.args.max_steps and not stopped:
            return False
        self.state = state
        self._load_best_model()
        return True

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(cast(Any, self.train_dataset))  # groups are drawn by their number


def seeded(seed: int) -> None:
    """Every generator that training draws from, before anything is drawn."""
    from transformers import set_seed

    set_seed(seed)


def shared(mix: Mix) -> list[nn.Parameter]:
    """What learns in the trunk's layers, and what is its own: every loss comes through the layers."""
    return [*mix.trunk.own, *(each for each in mix.trunk.layers.parameters() if each.requires_grad)]


def rates(mix: Mix, settings: Settings) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer; parameters outside of them are frozen."""
    trunk = mix.trunk
    mix.requires_grad_(False)
    own = [mix.log_slopes, *(mix.heads.parameters() if settings.factor_losses() else ()), *mix.balance.parameters()]
    own += [] if mix.clicks is None else mix.clicks.parameters()
    if trunk.fresh:
        own = [*trunk.own, *own]
    groups = [{"params": own, "lr": settings.head_rate, "weight_decay": 0.0}]
    if settings.tuning == "full":
        groups += layer_rates(trunk, settings.learning_rate, settings)
    elif settings.tuning in EFFICIENT:
        groups.append({"params": added(trunk), "lr": settings.peft_rate, "weight_decay": settings.weight_decay})
    if not trunk.fresh:
        groups.append({"params": trunk.own, "lr": settings.learning_rate, "weight_decay": settings.weight_decay})
    for group in groups:
        for parameter in cast(list[nn.Parameter], group["params"]):
            parameter.requires_grad_(True)
    return groups


def layer_rates(trunk: Trunk, rate: float, settings: Settings) -> list[dict[str, Any]]:
    """Parameter groups of the layers that are not frozen: the top one at ``rate``, each below ``layer_decay`` of it."""
    parts = trunk.stages()
    frozen = 0 if settings.frozen_layers == 0 else settings.frozen_layers + 1
    return [
        {
            "params": part,
            "lr": rate * settings.layer_decay ** (len(parts) - 1 - place),
            "weight_decay": settings.weight_decay,
        }
        for place, part in enumerate(parts[frozen:], start=frozen)
    ]


def train(
    mix: Mix, groups: Groups, validation: Validation, reader: Reader, settings: Settings, *, out: Path,
    resume: bool, tell: Callable[[str], None], callbacks: Sequence[TrainerCallback] = (),
) -> Trained:  # fmt: skip
    """Trains ``mix`` in place and leaves it at its best step; at its start where no step was better.

    What the tuning adds to the trunk is folded into its weights, or stays in it (training/tuning.py).

    :param out: folder of checkpoints.
    :param resume: go on from the last complete checkpoint.
    """
    prepare(mix.trunk, settings)
    start = {name: value.detach().clone() for name, value in mix.state_dict().items()}
    rates(mix, settings)
    trainer = MixTrainer(
        mix,
        settings,
        validation,
        tell,
        args=arguments(
            settings,
            out,
            max_steps=settings.max_steps,
            batch=settings.groups,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # or patience would begin anew
            metric_for_best_model=METRIC,
            greater_is_better=True,
            fp16=settings.autocast == "fp16",  # gradients of 16 bits would vanish: the loss is scaled
        ),
        train_dataset=cast(Any, groups),
        eval_dataset=cast(Any, [0]),
        data_collator=cast(Any, Collator(reader, statements=settings.states_factors, alone=settings.contrast > 0)),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=settings.patience), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # it prints on standard output, which is for data
    checkpoint = last_checkpoint(out) if resume else None
    if checkpoint is None or not trainer.ended(checkpoint):
        with tracked(settings, out):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    mix.cpu()
    after = float(trainer.state.best_metric or 0.0)
    best = int(str(trainer.state.best_model_checkpoint or "-0").rpartition("-")[2])
    if after <= validation.before:
        mix.load_state_dict(start)
        after, best = validation.before, 0
    fold(mix.trunk)
    looks = [each[CONFLICT] for each in trainer.state.log_history if CONFLICT in each]
    conflict = sum(looks) / len(looks) if looks else None
    return Trained(validation.before, after, best, trainer.state.global_step, conflict)


def arguments(settings: Settings, out: Path, *, max_steps: int, batch: int, **more: Any) -> TrainingArguments:
    """How ``Trainer`` steps, validates and keeps checkpoints.

    :param batch: examples of a batch of one process.
    """
    return TrainingArguments(
        output_dir=str(out),
        max_steps=max_steps,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup_share * max_steps),
        optim=settings.optimizer,
        max_grad_norm=settings.clip,
        eval_strategy="steps",
        eval_steps=settings.validate_every,
        save_strategy="steps",
        save_steps=settings.validate_every,
        save_total_limit=2,
        logging_steps=min(10, settings.validate_every),
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=not sys.stderr.isatty(),
        report_to=list(trackers_of(settings.track)),
        **more,
    )


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that was written to its end; ones that were not are removed.

    The state is written last, so a checkpoint without a readable one was cut off.
    """
    found = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)  # where several train together, another was faster
        else:
            return path
    return None
