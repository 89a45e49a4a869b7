"""The text form in which a command names the arms of a comparison: ``NAME[:key=value,...]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from rerank_plugin.config import Dense, Rerank
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import DEPTH
from rerank_plugin.evaluation.diverse import METHODS, Method

#: The label of the arm that ``--first-stage-run`` adds.
FIRST_STAGE = "first-stage"
#: What each kind of arm is, in the order of a report.
KINDS: dict[str, str] = {
    "bm25": "the engine's own answer to the words",
    "dense": "nearest vectors",
    "fused": "min-max sum of BM25 and cosine",
    "hybrid": "the engine's own hybrid query",
    "sum": "weighted sum of BM25, cosine and factors, tuned",
    "lightgbm": "LambdaMART over the same inputs",
    "rerank": "the reranking client",
    "run": "a saved TREC run",
}
#: Arms that look for neighbours in the vector folder.
BY_MEANING = frozenset({"dense", "fused"})
#: Arms that are no arm of ours: reranking is compared with each of them.
RIVALS = ("fused", "hybrid", "sum", "lightgbm", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSpec:
    """An arm as a command names it: ``NAME[:key=value,...]``.

    ``as=LABEL`` names any arm in the report; without it an arm is called what was written. The other keys: ``fused``
    takes ``depth``; ``hybrid`` takes ``field``; ``run`` takes ``file``; ``rerank`` takes ``window``, ``dense``,
    ``dense_size``, ``deadline_ms``, ``model`` and ``weights``, in which ``+`` stands for the comma:
    ``rerank:window=50,weights=authority=1+freshness=0.5``; ``diversify=mmr`` or ``xquad`` adds a last step, with the
    share of diversity as ``trade=0.3``.
    """

    kind: str
    label: str
    #: Settings of the reranking client that differ from the command's, for ``rerank``.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: The keys of the other kinds.
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ArmSpec:
        """The arm of a text.

        :raises ConfigError: an unknown arm or key, or a value that is not allowed.
        """
        kind, _, rest = text.strip().partition(":")
        if kind not in KINDS:
            raise ConfigError(f"unknown arm {kind!r}; the arms are {', '.join(KINDS)}, as NAME[:key=value,...]")
        values: dict[str, Any] = {}
        for part in filter(None, (piece.strip() for piece in rest.split(","))):
            key, sign, value = part.partition("=")
            converters = _KEYS[kind]
            if not sign or key not in converters:
                raise ConfigError(
                    f"arm {text!r}: {kind} takes {', '.join(f'{each}=...' for each in converters)}; got {part!r}"
                )
            try:
                values[key] = converters[key](value.strip())
            except ValueError as error:
                raise ConfigError(f"arm {text!r}: {key}={value} is not possible ({error})") from error
        if "trade" in values and "diversify" not in values:
            raise ConfigError(f"arm {text!r}: trade is how much diversify counts; add diversify=mmr or xquad")
        if kind == "run" and "file" not in values:
            raise ConfigError(f"arm {text!r}: a saved run needs file=FILE")
        label = values.pop("as", text.strip())
        settings = {key: values.pop(key) for key in list(values) if key in _SETTINGS}
        try:
            replace(Rerank(vectors=Path()), **settings)  # refused now, not after the first arm has run
        except ConfigError as error:
            raise ConfigError(f"arm {text!r}: {error}") from error
        return cls(kind=kind, label=label, settings=settings, options=values)

    def rerank(self, base: Rerank) -> Rerank:
        """The command's settings with this arm's own.

        :raises ConfigError: they do not go together.
        """
        return replace(base, **self.settings)


def parse_run(text: str) -> ArmSpec:
    """The arm of ``--run NAME=FILE``.

    :raises ConfigError: not of that form.
    """
    label, sign, file = text.partition("=")
    if not sign or not file:
        raise ConfigError(f"--run is written NAME=FILE, got {text!r}")
    try:
        return ArmSpec(kind="run", label=_label(label), options={"file": Path(file)})
    except ValueError as error:
        raise ConfigError(f"--run {text!r}: {error}") from error


def compared_pairs(kinds: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which arms are compared, as (baseline, candidate): all arms with the first bm25 (without one: with the first
    arm), and every rerank with the first arm of each rival kind.

    :param kinds: label -> kind, in the order of the report.
    """
    first: dict[str, str] = {}
    for label, kind in kinds.items():
        first.setdefault(kind, label)
    if not first:
        return []
    lead = first.get("bm25", next(iter(kinds)))
    pairs = [(lead, label) for label in kinds if label != lead]
    pairs += [
        (first[rival], label) for rival in RIVALS if rival in first for label, kind in kinds.items() if kind == "rerank"
    ]
    return list(dict.fromkeys(pairs))


def lead_pair(kinds: Mapping[str, str]) -> tuple[str, str] | None:
    """The comparison a reader came for: the first rerank arm against the baseline, else the last arm; ``None`` with
    fewer than two arms."""
    pairs = compared_pairs(kinds)
    if not pairs:
        return None
    baseline = pairs[0][0]
    return next(
        (pair for pair in pairs if pair[0] == baseline and kinds[pair[1]] == "rerank"), (baseline, [*kinds][-1])
    )


def _label(text: str) -> str:
    if not text or not all(letter.isalnum() or letter in "_-" for letter in text):
        raise ValueError("a label has letters, digits, _ and -")
    return text


def _depth(text: str) -> int:
    depth = int(text)
    if not DEPTH <= depth <= 10_000:
        raise ValueError(f"from {DEPTH} to 10000")
    return depth


def _dense(text: str) -> Dense:
    if text not in get_args(Dense):
        raise ValueError(f"one of {', '.join(get_args(Dense))}")
    return cast(Dense, text)


def _method(text: str) -> Method:
    for method in METHODS:
        if text == method:
            return method
    raise ValueError(f"one of {', '.join(METHODS)}")


def _trade(text: str) -> float:
    trade = float(text)
    if not 0.0 <= trade <= 1.0:
        raise ValueError("from 0 to 1")
    return trade


#: Keys that are settings of the reranking client.
_SETTINGS: dict[str, Callable[[str], Any]] = {
    "window": int,
    "dense": _dense,
    "dense_size": int,
    "deadline_ms": float,
    "model": Path,
    "weights": lambda text: Weights.parse(text.replace("+", ",")),
}
_KEYS: dict[str, dict[str, Callable[[str], Any]]] = {
    "bm25": {"as": _label},
    "dense": {"as": _label},
    "fused": {"as": _label, "depth": _depth},
    "hybrid": {"as": _label, "field": str},
    "sum": {"as": _label},
    "lightgbm": {"as": _label},
    "rerank": {"as": _label, **_SETTINGS, "diversify": _method, "trade": _trade},
    "run": {"as": _label, "file": Path},
}
