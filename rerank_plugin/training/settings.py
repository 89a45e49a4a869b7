"""What ``rerank train`` may be told: one flat list of names, from a file and from ``--set``."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from rerank_plugin.config import several
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import ConfigError, os_error_line
from rerank_plugin.training.augment import rewordings_of
from rerank_plugin.training.prompts import parts
from rerank_plugin.training.selfsupervised import kinds_of
from rerank_plugin.training.tracking import trackers_of

#: Settings that are one of a few words.
WORDS = {
    "tuning": ("full", "head", "lora", "prefix", "adapter"),
    "schedule": ("linear", "cosine", "constant_with_warmup"),
    "optimizer": ("adamw_torch", "sgd", "adafactor"),
    "loss": ("listwise", "ranknet", "lambda", "pointwise"),
    "distill_loss": ("listwise", "margin_mse"),
    "balance": ("fixed", "uncertainty", "stochastic"),
    "weights": ("equal", "raised"),
    "freshness_kind": ("l2", "adversarial"),
    "novelty_kind": ("l2", "adversarial"),
    "autocast": ("off", "bf16", "fp16"),
    "gradient_checkpointing": ("off", "on"),
    "statements": ("off", "on"),
    "head_kind": ("linear", "verbaliser"),
}
MAX_BYTES = 1 << 20

Number = TypeVar("Number", int, float)


def _within(low: float, high: float, default: Number) -> Number:
    """A setting that must be from ``low`` to ``high``."""
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a model is trained.

    :raises ConfigError: a value is out of its range.
    """

    seed: int = _within(0, 2**32 - 1, 0)
    #: Trainings that are tried to find the rates before the best of them is kept (training/search.py); 0 trains once.
    search: int = _within(0, 10_000, 0)
    max_steps: int = _within(1, 1e6, 300)
    #: ``full`` trains the trunk; ``head`` only how query and document are joined, so that vectors stay what they were;
    #: ``lora``, ``prefix`` and ``adapter`` train few parameters beside the trunk's own (training/tuning.py).
    tuning: str = "full"
    #: Lowest layers that stay as they are, embeddings with them.
    frozen_layers: int = _within(0, 1000, 0)
    #: LoRA's rank, and its sum counts ``lora_alpha / lora_rank``.
    lora_rank: int = _within(1, 4096, 16)
    lora_alpha: float = _within(1e-3, 1e4, 32.0)
    #: Keys and values per head of every layer.
    prefix_tokens: int = _within(1, 1024, 16)
    #: Of the bottleneck.
    adapter_width: int = _within(1, 4096, 64)
    #: Of the top layer; each layer below learns ``layer_decay`` times as fast.
    learning_rate: float = _within(0, 1, 2e-5)
    layer_decay: float = _within(0, 1, 0.9)
    #: Of what ``lora``, ``prefix`` and ``adapter`` add, in every layer.
    peft_rate: float = _within(0, 1, 1e-3)
    #: Of biases, heads and slopes, which are few and start far from their best.
    head_rate: float = _within(0, 1, 2e-3)
    optimizer: str = "adamw_torch"
    schedule: str = "linear"
    warmup_share: float = _within(0, 1, 0.1)
    weight_decay: float = _within(0, 1, 0.01)
    #: Share of the trunk's activations, and of LoRA's inputs, that a step leaves out.
    dropout: float = _within(0, 0.9, 0.1)
    #: Steps of masked language modelling on the documents before the training (training/pretrain.py), the rate of the
    #: top layer in them, and how much the squared distance of a text's vector to what it was counts.
    pretrain_steps: int = _within(0, 1e6, 0)
    pretrain_rate: float = _within(0, 1, 2e-5)
    pretrain_anchor: float = _within(0, 1e6, 100.0)
    #: Length that gradients are cut to.
    clip: float = _within(1e-6, 1e6, 1.0)
    #: Candidates of a group, groups of a batch, batches of a step.
    group_size: int = _within(2, 1000, 8)
    groups: int = _within(1, 4096, 4)
    accumulation: int = _within(1, 4096, 1)
    #: ``bf16``, ``fp16``: the layers compute in 16 bits in training; weights, head, losses and validation stay in 32.
    autocast: str = "off"
    #: ``on``: of the layers only their inputs are kept for the way back, and the rest is computed again.
    gradient_checkpointing: str = "off"
    #: Steps between looks at how many pairs of losses pull the trunk in opposite directions; 0 is never.
    conflict_every: int = _within(0, 1e6, 50)
    #: A candidate without judgment is no negative where its cosine is above the relevant one's by more than this;
    #: where there are teachers they decide instead, see ``denoise``.
    margin: float = _within(-2, 2, 0.0)
    #: Tokens of a query, and of a document, that are read in training and validation.
    tokens: int = _within(8, 8192, 128)
    #: ``on``: what is known of a document stands in words in front of its text where query and text are read together,
    #: in training and by the folder that comes of it (domain/statements.py).
    statements: str = "off"
    #: Where the attention between query and document starts, as a logit; -10000 is shut.
    opened: float = _within(-1e4, 0, -3.0)
    #: Where figures are written while it trains: see ``tracking.TRACKERS``.
    track: str = "tensorboard"
    #: On the final order.
    loss: str = "listwise"
    #: Where there are teachers: the share of their loss beside that of the labels, and which it is.
    distill: float = _within(0, 1, 0.5)
    distill_loss: str = "listwise"
    #: Candidates of a query, beside the relevant ones, that teachers score and groups are drawn from.
    teacher_window: int = _within(2, 1000, 40)
    #: A candidate without judgment is no negative where teachers find it more than so many times as likely as the
    #: relevant one.
    denoise: float = _within(0, 1e6, 1.0)
    #: How much it counts that vectors tell a query's documents from those of the batch's other queries; 0 leaves the
    #: texts alone unread in training (training/contrast.py).
    contrast: float = _within(0, 100, 0.0)
    #: How the losses are joined, and the least share of relevance's weight where that is learned.
    balance: str = "fixed"
    relevance_floor: float = _within(0, 0.99, 0.5)
    #: How much the heads' losses count beside the loss on the final order, per factor.
    authority_loss: float = _within(0, 100, 0.05)
    freshness_loss: float = _within(0, 100, 0.05)
    novelty_loss: float = _within(0, 100, 0.05)
    popularity_loss: float = _within(0, 100, 0.05)
    #: Factors that take part, in the final order and with a head: some of ``PRIORS``, or ``none``.
    factors: str = ",".join(PRIORS)
    #: How their weights are found at the end: see ``calibrate.equal_weights`` and ``raised_weights``.
    weights: str = "equal"
    #: ``adversarial``: what that head reads, the trunk learns to hide, so that the factor acts by its own term alone;
    #: and how much hiding counts beside reading at the end.
    freshness_kind: str = "l2"
    novelty_kind: str = "l2"
    hiding: float = _within(0, 1000, 1.0)
    #: Where there is a log of clicks: places with a bias of their own, and the share of impressions read without it.
    click_places: int = _within(1, 1000, 20)
    click_dropout: float = _within(0, 0.9, 0.1)
    #: Steps between validations, and how many without a better one end the training.
    validate_every: int = _within(1, 1e6, 25)
    patience: int = _within(1, 1e6, 4)
    #: Share of the queries that validate where there is no split for it, and how many at most.
    validate_share: float = _within(0.01, 0.9, 0.2)
    validate_queries: int = _within(1, 1e5, 60)
    #: Candidates of a query that validation scores again; the others stay behind them.
    validate_window: int = _within(2, 1000, 30)
    #: Queries of the table at the end, drawn at random.
    test_queries: int = _within(0, 1e6, 200)
    #: Queries cut out of the collection's own documents, and what they are: see ``selfsupervised.KINDS``.
    corpus_queries: int = _within(0, 1e6, 0)
    corpus_kinds: str = "title,sentence,span"
    #: Unjudged queries that learn from what is sure of them: the least chance of a document that counts as relevant,
    #: and the highest of one that counts as not.
    pseudo_queries: int = _within(0, 1e6, 0)
    pseudo_relevant: float = _within(0.5, 1, 0.8)
    pseudo_irrelevant: float = _within(0, 0.5, 0.05)
    #: Share of the training queries that are read in another wording, how, and a file of synonyms: see ``augment``.
    augment: float = _within(0, 1, 0.0)
    augment_kinds: str = "drop,swap,slip"
    synonyms: str = ""
    #: A local folder of transformers that is trained in place of what ships; empty is what ships.
    backbone: str = ""
    #: What its logit is at the start: 0 (its own head's where it has one), or of two words of a language model the
    #: first one's less the other's; and how a pair is put to it: ``{query}``, ``{document}`` and perhaps ``{mask}``.
    head_kind: str = "linear"
    prompt: str = ""
    prompt_words: str = "yes,no"

    def __post_init__(self) -> None:
        for each in fields(self):
            low, high = each.metadata.get("range", (None, None))
            value = getattr(self, each.name)
            if low is not None and not low <= value <= high:
                raise ConfigError(f"{each.name} must be between {low:g} and {high:g}, got {value!r}")
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        self.taking_part()
        for name in ("pretrain_steps", "contrast"):
            if getattr(self, name) and not self.moves_vectors:
                raise ConfigError(f"{name} moves vectors and tuning=head keeps them; leave one out")
        kinds_of(self.corpus_kinds)
        rewordings_of(self.augment_kinds)
        trackers_of(self.track)
        if self.prompt:
            parts(self.prompt)
        if len(set(self.words)) != 2 or not all(self.words):
            raise ConfigError(f"prompt_words must be two words with a comma between, got {self.prompt_words!r}")
        if not self.backbone and (self.prompt or self.head_kind != "linear"):
            raise ConfigError("head_kind and prompt are for a --backbone of your own; what ships has neither")
        for name in ("pretrain_steps", "contrast"):
            if getattr(self, name) and self.backbone:
                raise ConfigError(f"{name} is for what ships; leave it or the backbone out")

    def groups_of_run(self, processes: int) -> int:
        """How many groups all steps take together, where so many processes share a step."""
        return self.max_steps * self.groups * self.accumulation * processes

    def taking_part(self) -> tuple[str, ...]:
        """The factors beside relevance that the final order has, in the order of ``PRIORS``."""
        return () if self.factors == "none" else several("factors", self.factors, PRIORS)

    def factor_losses(self) -> dict[str, float]:
        """How much each factor's loss counts, of those that have one."""
        shares = {factor: float(getattr(self, f"{factor}_loss")) for factor in self.taking_part()}
        return {factor: share for factor, share in shares.items() if share > 0}

    @property
    def words(self) -> tuple[str, ...]:
        """The two words of a verbaliser: of a relevant document, and of another."""
        return tuple(word.strip() for word in self.prompt_words.split(","))

    @property
    def adversarial(self) -> tuple[str, ...]:
        """Factors that the trunk learns to hide."""
        kinds = {"freshness": self.freshness_kind, "novelty": self.novelty_kind}
        return tuple(factor for factor, kind in kinds.items() if kind == "adversarial")

    def hiding_at(self, progress: float) -> float:
        """How much hiding counts after a share of the training: 0 at first, when the head reads nothing yet that could
        be hidden (Ganin and Lempitsky 2015, with their constant of 10).

        :param progress: from 0 to 1.
        """
        return self.hiding * (2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0)

    @property
    def moves_vectors(self) -> bool:
        """Whether a document's vector is another after training."""
        return self.tuning != "head"

    @property
    def states_factors(self) -> bool:
        """Whether what is known of a document stands in front of its text."""
        return self.statements == "on"

    def to_json(self) -> dict[str, Any]:
        """Every setting by name."""
        return asdict(self)


def read_settings(path: Path | None, given: Sequence[str], **more: Any) -> Settings:
    """Settings of a TOML or JSON file, then ``key=value`` pairs, then ``more`` that is not ``None``.

    :raises ConfigError: the file cannot be read, a name is unknown, or a value is of the wrong kind.
    """
    values = {} if path is None else _file(path)
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign:
            raise ConfigError(f"settings are written key=value, got {pair!r}")
        values[name.strip()] = value.strip()
    values |= {name: value for name, value in more.items() if value is not None}
    return _settings(values)


def _settings(values: Mapping[str, Any]) -> Settings:
    kinds = {each.name: type(each.default) for each in fields(Settings)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f"unknown setting {name!r}; the settings are {', '.join(kinds)}")
        found[name] = _value(name, value, kinds[name])
    return Settings(**found)


def _value(name: str, value: Any, kind: type) -> Any:
    """A value of a file, or a text of the command line, as the setting's kind."""
    try:
        if kind is str and isinstance(value, str):
            return value
        if kind is str or isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError
        return kind(number)
    except (TypeError, ValueError) as error:
        wanted = {int: "a whole number", float: "a number", str: "a word"}[kind]
        raise ConfigError(f"{name} must be {wanted}, got {value!r}") from error


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(os_error_line(error)) from error
    except ValueError as error:
        raise ConfigError(f"{path} is neither JSON nor TOML ({error}); write lines like max_steps = 300") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must hold settings by name, such as max_steps = 300")
    return found
