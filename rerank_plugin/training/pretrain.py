"""Domain pre-training: masked language modelling (Devlin et al. 2018) of the trunk on the corpus, before fine-tuning.

The head is transformers' own over the trunk's embeddings and layers, tied to the word embeddings, and fresh: a sentence
encoder has none left. What it costs is the vectors, which masks say nothing of; ``pretrain_anchor`` holds them by their
squared distance to what the start gives. Masks and passages are drawn by the number of a text, so that a run which was
cut off reads what an unbroken one would have read.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
)

from rerank_plugin.config import together
from rerank_plugin.errors import DataError
from rerank_plugin.training.loop import arguments, last_checkpoint, layer_rates, seeded
from rerank_plugin.training.tracking import tracked
from rerank_plugin.training.tuning import leave_out
from rerank_plugin.training.two_mode import quietly, unit_mean

if TYPE_CHECKING:
    from rerank_plugin.models.tokens import TextTokenizer
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.training.two_mode import Backbone, TwoModeModel

#: Share of the documents whose loss is measured and not learned from, and how many of them at most.
HELD_SHARE, MOST_HELD = 0.1, 200
#: Passages of a long document that are drawn from.
PASSAGES = 16
#: What transformers takes for a token that is not asked for.
NOT_ASKED = -100


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What pre-training came to."""

    steps: int
    #: Documents that were learned from, and that were held out.
    documents: int
    held_out: int
    #: Mean cross-entropy of a masked token of the held-out documents, in nats: with the fresh head, and at the end.
    loss_before: float
    loss_after: float
    #: Mean cosine between the vectors that held-out documents had and have, in [-1, 1]; 1 is unmoved.
    cosine_to_start: float

    def to_json(self) -> dict[str, Any]:
        """By name, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


class MaskedTrunk(BertForMaskedLM):  # type: ignore[no-untyped-call]
    """The trunk under a fresh head for masked tokens; its weights are shared, not copied."""

    def __init__(self, trunk: TwoModeModel) -> None:
        super().__init__(cast(Any, trunk.layers[0]).attention.self.config)
        bert = cast(Any, self.bert)
        bert.embeddings, bert.encoder.layer = trunk.embeddings, trunk.layers
        self.tie_weights()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, wanted: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``loss``: mean cross-entropy of the masked tokens, 0 where there is none; ``moved``: mean squared distance
        of the unmasked texts' unit vectors to ``wanted``, 0 without it.

        Unlike transformers' own it makes logits for masked tokens only: the others are most of the work.

        :param input_ids, attention_mask, labels: (n, tokens); what was masked, and -100 elsewhere.
        :param wanted: (n, dimensions).
        """
        hidden = cast(Any, self.bert)(input_ids, attention_mask=attention_mask).last_hidden_state
        asked = labels != NOT_ASKED
        logits = cast(Any, self.cls)(hidden[asked])  # (masked, words)
        lost = nn.functional.cross_entropy(logits, labels[asked], reduction="sum") / asked.sum().clamp(min=1)
        moved = lost.new_zeros(())
        if wanted is not None:
            vectors = vectors_of(self.bert, unmasked(input_ids, labels), attention_mask)
            moved = (vectors - wanted).square().sum(dim=-1).mean()
        return {"loss": lost, "moved": moved}


def vectors_of(bert: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(n, dimensions): unit vectors of texts, as the trunk gives them to texts apart."""
    return unit_mean(bert(input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask.bool())


def unmasked(input_ids: Tensor, labels: Tensor) -> Tensor:
    """(n, tokens): the texts before anything was masked."""
    return torch.where(labels == NOT_ASKED, input_ids, labels)


class Texts(torch.utils.data.Dataset[dict[str, Any]]):
    """Passages of documents by number: every document once, in a new order, then all again.

    :param count: how many there are.
    """

    def __init__(self, documents: Sequence[str], tokenizer: TextTokenizer, *, count: int, seed: int) -> None:
        self._documents, self._tokenizer, self._count, self._seed = documents, tokenizer, count, seed
        self._order: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, Any]:
        turn, place = divmod(number, len(self._documents))
        if turn != self._order[0]:
            places = list(range(len(self._documents)))
            self._order = turn, random.Random(f"{self._seed} {turn}").sample(places, len(places))
        passages = self._tokenizer.passages(self._documents[self._order[1][place]], PASSAGES)
        drawn = random.Random(f"{self._seed} {number} passage").choice(passages)
        return {"input_ids": self._tokenizer([drawn])[0].ids, "number": number}


class Masks:
    """Texts -> a batch: 15 % of the tokens are to be found again, 80 % of those masked, 10 % another token, 10 % kept.

    :param definition: content of tokenizer.json.
    """

    def __init__(self, definition: str, seed: int) -> None:
        from tokenizers import Tokenizer

        tokenizer = cast(Any, PreTrainedTokenizerFast)(
            tokenizer_object=Tokenizer.from_str(definition),
            unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]",
        )  # fmt: skip
        self._collator, self._seed = DataCollatorForLanguageModeling(tokenizer), seed

    def __call__(self, texts: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask``, ``labels``: (n, tokens)."""
        drawn = (self._seed << 31) + texts[0]["number"]
        cast(Any, self._collator).generator = torch.Generator().manual_seed(drawn)
        batch = self._collator([{"input_ids": each["input_ids"]} for each in texts])
        return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}


class HeldOut:
    """Documents that are measured, under masks that stay the same."""

    def __init__(self, batches: Sequence[dict[str, Tensor]]) -> None:
        self._batches = batches

    @torch.no_grad()
    def loss(self, model: MaskedTrunk) -> float:
        """Mean cross-entropy of a masked token, in nats."""
        cast(nn.Module, model).eval()
        total, count = 0.0, 0
        for batch in self._on(model.device):
            asked = int((batch["labels"] != NOT_ASKED).sum())
            total, count = total + float(model(**batch)["loss"]) * asked, count + asked
        return total / max(count, 1)

    @torch.no_grad()
    def vectors(self, model: MaskedTrunk) -> Tensor:
        """(documents, dimensions), of the unmasked texts."""
        cast(nn.Module, model).eval()
        found = [
            vectors_of(model.bert, unmasked(batch["input_ids"], batch["labels"]), batch["attention_mask"])
            for batch in self._on(model.device)
        ]
        return torch.cat(found).cpu()

    def _on(self, device: torch.device) -> list[dict[str, Tensor]]:
        return [{name: value.to(device) for name, value in batch.items()} for batch in self._batches]


class MaskTrainer(Trainer):
    """``Trainer`` with the anchor, our rates and the held-out loss."""

    def __init__(
        self, model: MaskedTrunk, trunk: TwoModeModel, settings: Settings, held: HeldOut, tell: Callable[[str], None],
        **more: Any,
    ) -> None:  # fmt: skip
        self._trunk, self._settings, self._held, self._tell = trunk, settings, held, tell
        #: What the vectors are held to; nothing without an anchor.
        self._start = cast(nn.Module, copy.deepcopy(model.bert)).eval() if settings.pretrain_anchor else None
        super().__init__(model=model, **more)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, *_: Any, **__: Any
    ) -> Any:
        """The masked tokens' loss, and the anchor's."""
        wanted = None
        if self._start is not None:
            with torch.no_grad():
                plain = unmasked(inputs["input_ids"], inputs["labels"])
                wanted = vectors_of(self._start.to(plain.device), plain, inputs["attention_mask"])
        said = model(**inputs, wanted=wanted)
        loss = said["loss"] + self._settings.pretrain_anchor * said["moved"]
        return (loss, said) if return_outputs else loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The loss of the held-out documents."""
        model = cast(MaskedTrunk, self.model)
        metrics = {"eval_loss": self._held.loss(model)}
        model.train()
        self.log(metrics)
        if self.is_world_process_zero():
            where = f"pre-training: step {self.state.global_step} of {self.args.max_steps}"
            self._tell(f"{where}: loss of masked tokens {metrics['eval_loss']:.4f} on held-out documents")
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, cast(Any, metrics))
        return metrics

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """The trunk's layers at ``pretrain_rate``, less in lower ones; the fresh head at ``head_rate``."""
        if self.optimizer is None:
            kind, options = Trainer.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(self._rates(), **options)
        return self.optimizer

    def _rates(self) -> list[dict[str, Any]]:
        model = cast(MaskedTrunk, self.model)
        model.requires_grad_(False)
        tied = {id(each) for each in self._trunk.embeddings.parameters()}
        own = [each for each in cast(nn.Module, model.cls).parameters() if id(each) not in tied]
        head = {"params": own, "lr": self._settings.head_rate, "weight_decay": 0.0}
        groups = [head, *layer_rates(self._trunk, self._settings.pretrain_rate, self._settings)]
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        return groups

    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(cast(Any, self.train_dataset))  # texts are drawn by their number


def texts_wanted(settings: Settings) -> int:
    """How many documents a run can read, the held-out ones included."""
    return settings.pretrain_steps * _batch(settings) * settings.accumulation * together()[1] + MOST_HELD


def pretrain(
    backbone: Backbone, documents: Sequence[str], tokenizer: TextTokenizer, settings: Settings, *, out: Path,
    resume: bool, tell: Callable[[str], None],
) -> Pretrained:  # fmt: skip
    """Trains the backbone's trunk in place.

    :param documents: in the order that they are drawn in; the first ones are held out.
    :param out: folder of checkpoints.
    :param resume: go on from the last complete checkpoint; one of the last step is only read.
    :raises DataError: fewer than two documents with a text.
    """
    read = [text for text in documents if text.strip()]
    if len(read) < 2:
        raise DataError(f"pre-training needs at least 2 documents with text, one of them to measure; got {len(read)}")
    seeded(settings.seed)
    trunk, masks, batch = backbone.model, Masks(backbone.tokenizer, settings.seed), _batch(settings)
    kept = max(1, min(MOST_HELD, int(HELD_SHARE * len(read))))
    aside = Texts(read[:kept], tokenizer, count=kept, seed=settings.seed)
    held = HeldOut([masks([aside[at] for at in range(at, min(at + batch, kept))]) for at in range(0, kept, batch)])
    model = MaskedTrunk(trunk)
    leave_out(trunk, settings.dropout)
    count = settings.pretrain_steps * batch * settings.accumulation * together()[1]
    trainer = MaskTrainer(
        model, trunk, settings, held, tell,
        args=arguments(settings, out, max_steps=settings.pretrain_steps, batch=batch),
        train_dataset=Texts(read[kept:], tokenizer, count=count, seed=settings.seed),
        eval_dataset=cast(Any, [0]),
        data_collator=cast(Any, masks),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # it prints on standard output, which is for data
    before, vectors = held.loss(model), held.vectors(model)
    checkpoint = last_checkpoint(out) if resume else None
    with quietly(), tracked(settings, out):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    cosine = float((vectors * held.vectors(model)).sum(dim=-1).mean())
    done = Pretrained(settings.pretrain_steps, len(read) - kept, kept, before, held.loss(model), cosine)
    tell(
        f"pre-trained on {done.documents} documents: loss of masked tokens {before:.4f} -> {done.loss_after:.4f} on "
        f"{kept} held-out ones, whose vectors have a cosine of {cosine:.4f} to what they were"
    )
    model.cpu()
    trunk.eval()
    seeded(settings.seed)  # what follows draws the same, whether this was trained now or read
    return done


def _batch(settings: Settings) -> int:
    """As many texts as training reads documents at a time."""
    return settings.groups * settings.group_size
