"""Settings of the read path: typed, frozen, checked once at construction. Defaults live here and nowhere else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.numbers import is_finite_number
from rerank_plugin.domain.text_template import TextTemplate
from rerank_plugin.errors import ConfigError, DataError

Mode = Literal["on", "off", "shadow"]
Dense = Literal["off", "reorder", "extend"]
Scale = Literal["unit", "log", "saturation", "date"]

#: Environment variable that overrides ``Rerank.mode`` of every client in the process: ``off`` is the kill switch.
MODE_VARIABLE = "RERANK_MODE"
#: Environment variable with a path: while a file of that name exists, every client of the process is off.
KILL_FILE_VARIABLE = "RERANK_KILL_FILE"
#: Environment variable with the settings file of clients that are given no settings.
CONFIG_VARIABLE = "RERANK_CONFIG"
#: Environment variables with the key of the remote scorer, or with a file that holds it. It stands nowhere else.
KEY_VARIABLE, KEY_FILE_VARIABLE = "RERANK_API_KEY", "RERANK_API_KEY_FILE"
#: The most bytes of a settings file.
MOST_BYTES = 1 << 20
#: Environment variable with the model folder to use where none is configured.
MODEL_VARIABLE = "RERANK_MODEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSource:
    """Where a factor is read from in an index that was never enriched (DESIGN 4, the field map)."""

    #: Dotted path in ``_source``.
    field: str
    #: ``unit``: already in [0, 1], clipped. ``log``: log(1 + x) / (log(1 + x) + log(1 + pivot)).
    #: ``saturation``: x / (x + pivot). ``date``: a publication date (freshness only).
    scale: Scale = "unit"
    #: The value that means 1/2, for ``log`` and ``saturation``.
    pivot: float = 10.0

    def __post_init__(self) -> None:
        if not self.field or not isinstance(self.field, str):
            raise ConfigError(f"a field map entry needs the name of a field, got {self.field!r}")
        if self.scale not in get_args(Scale):
            raise ConfigError(f"scale must be one of {', '.join(get_args(Scale))}, got {self.scale!r}")
        if not is_finite_number(self.pivot) or self.pivot <= 0:
            raise ConfigError(f"pivot must be above 0, got {self.pivot!r}")

    def to_unit(self, value: Any) -> float | None:
        """A stored number as a feature in [0, 1]; ``None`` when it is absent, negative on a log scale or no number."""
        if isinstance(value, list):
            value = value[0] if value else None
        if not is_finite_number(value):
            return None
        if self.scale == "unit":
            return min(max(float(value), 0.0), 1.0)
        if value < 0:
            return None
        grown = math.log1p(value) if self.scale == "log" else float(value)
        pivot = math.log1p(self.pivot) if self.scale == "log" else self.pivot
        return grown / (grown + pivot)


def _field_source(factor: str, value: Any) -> FieldSource:
    default_scale: Scale = "date" if factor == "published_at" else "unit"
    if isinstance(value, FieldSource):
        return value
    if isinstance(value, str):
        return FieldSource(field=value, scale=default_scale)
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"field", "scale", "pivot"})
        if unknown or "field" not in value:
            raise ConfigError(
                f"field_map.{factor} takes field, scale and pivot, "
                + (f"got the unknown key {unknown[0]!r}" if unknown else "and field is missing")
            )
        return FieldSource(**{"scale": default_scale, **value})
    raise ConfigError(f"field_map.{factor} must be a field name or an object, got {value!r}")


#: Settings of the client's one model: they cannot differ by index.
_OF_THE_CLIENT = ("model", "scorer", "threads", "max_concurrent", "indices")


def _of_index(pattern: Any, common: Mapping[str, Any], given: Any) -> Rerank:
    """The settings of an index: the client's, with what is given for the pattern."""
    if isinstance(given, Rerank):
        return given
    if not isinstance(pattern, str) or not isinstance(given, Mapping):
        raise ConfigError(f"indices.{pattern} must be an object of settings, got {given!r}")
    for name in _OF_THE_CLIENT:
        if name in given:
            raise ConfigError(f"indices.{pattern}.{name} cannot differ by index; use one client per {name}")
    try:
        return Rerank.of({**{name: each for name, each in common.items() if name != "indices"}, **given})
    except ConfigError as error:
        raise ConfigError(f"indices.{pattern}: {error}") from error


def _check_scorer(url: Any, *, has_vectors: bool) -> None:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"scorer must be the http(s):// address of a rerank API, got {url!r}")
    if parts.username or parts.password:
        raise ConfigError(f"scorer must be an address without a password; keys stand in {KEY_VARIABLE}")
    if has_vectors:
        raise ConfigError("vectors need a model of this process, and scorer names a server; leave one out")


def switched_off(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether ``RERANK_MODE=off`` or the file of ``RERANK_KILL_FILE`` switches every client off."""
    if environ.get(MODE_VARIABLE, "").strip() == "off":
        return True
    kill_file = environ.get(KILL_FILE_VARIABLE, "")
    return bool(kill_file) and os.path.exists(kill_file)


def api_key(environ: Mapping[str, str] = os.environ) -> str:
    """The remote scorer's key, from ``RERANK_API_KEY`` or the file of ``RERANK_API_KEY_FILE``; empty is none.

    :raises ConfigError: the file cannot be read.
    """
    file = environ.get(KEY_FILE_VARIABLE)
    if environ.get(KEY_VARIABLE) or not file:
        return environ.get(KEY_VARIABLE, "").strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{KEY_FILE_VARIABLE}: {file} cannot be read") from error


def together(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """The number of this process, from 0, among those that train together, and how many these are; (0, 1) alone.

    ``torchrun`` and ``accelerate launch`` say so to each process that they start.

    :raises ConfigError: the environment says something else there.
    """
    number, count = environ.get("RANK", "0"), environ.get("WORLD_SIZE", "1")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise ConfigError(
            f"RANK={number[:20]} and WORLD_SIZE={count[:20]} name no process of several; unset them or use torchrun"
        )
    return int(number), int(count)


def wandb_mode(environ: Mapping[str, str] = os.environ) -> str:
    """What ``WANDB_MODE`` says; ``offline`` where it says nothing: a training sends nothing unless it is told to."""
    return environ.get("WANDB_MODE", "").strip() or "offline"


def several(name: str, words: str, allowed: Collection[str]) -> tuple[str, ...]:
    """The words of a setting that takes some of ``allowed`` with commas between, in the order of ``allowed``.

    :raises ConfigError: none, or one that is not allowed.
    """
    given = {word.strip() for word in words.split(",")}
    if not given <= set(allowed):
        raise ConfigError(f"{name} must be some of {', '.join(allowed)}, with commas between, got {words!r}")
    return tuple(word for word in allowed if word in given)


def _from_file(path: Path) -> Any:
    """What a settings file holds: TOML (``.toml``) or JSON (``.json``)."""
    import json
    import tomllib

    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise ConfigError(f"the settings file {path} must end in .toml or .json")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"the settings file {path} has more than {MOST_BYTES} bytes")
    try:
        found = readers[path.suffix](content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the settings file {path} is no {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"the settings file {path} must hold an object, found {type(found).__name__}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """How a client reranks. Everything has a default; ``Rerank()`` reranks with the shipped model.

    :raises ConfigError: any value out of its range, naming the setting, what was wanted and what was found.
    """

    #: ``off`` leaves every search exactly as it is; ``shadow`` ranks, logs and changes nothing but the status.
    #: ``RERANK_MODE`` in the environment overrides it.
    mode: Mode = "on"
    #: Of all users (where none is named: of all query texts), the share whose searches are reranked, in [0, 1].
    share: float = 1.0
    #: Candidates rescored per query, whatever ``from`` and ``size`` are.
    window: int = 100
    #: Log-odds per factor; ``None`` takes the model folder's. Given weights set every gate to 1.
    weights: Weights | None = None
    #: Dotted paths the model reads, in order, joined by a newline; empty takes the index's own, else the fields the
    #: query searched.
    text_fields: tuple[str, ...] = ()
    #: What the model reads instead, as a template: ``{title}. {authors.name:, }``; see ``TextTemplate``.
    text_template: str = ""
    #: Pieces of a long text that the model reads, one after the other; the best one counts.
    passages: int = 1
    #: Factor (or ``published_at``) -> where it is found in documents that were never enriched.
    field_map: Mapping[str, FieldSource] = field(default_factory=dict)
    #: Half-life of freshness; ``None`` takes the index's own, else 365.
    half_life_days: float | None = None
    #: The clock; ``None`` is the time of the search, rounded down to the hour.
    now: datetime | None = None
    #: A model folder; ``None`` takes ``RERANK_MODEL``, else the shipped one.
    model: Path | None = None
    #: ``http(s)://host:port`` of a rerank API (``rerank serve``) that scores in place of a model of this process.
    scorer: str | None = None
    #: Folder of the vector index; ``None`` encodes the window's texts instead.
    vectors: Path | None = None
    #: A k-NN field of the engine with vectors of the same model, in place of a folder.
    vector_field: str = ""
    #: ``reorder``: vector similarity of what the query matched joins the score. ``extend``: the vector index also
    #: adds candidates. ``off``: words only.
    dense: Dense = "reorder"
    #: Candidates added by ``extend``.
    dense_size: int = 100
    #: Our whole share of a search call in milliseconds; ``None`` is no limit.
    deadline_ms: float | None = None
    #: Searches that the model may work on at once; one more keeps the engine's order.
    max_concurrent: int = 32
    #: Threads of the model's session; ``None`` lets onnxruntime choose.
    threads: int | None = None
    #: Index name or pattern (``articles-*``) -> what differs there; the first pattern that fits counts.
    indices: Mapping[str, Rerank] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mode must be one of {', '.join(get_args(Mode))}, got {self.mode!r}")
        if self.dense not in get_args(Dense):
            raise ConfigError(f"dense must be one of {', '.join(get_args(Dense))}, got {self.dense!r}")
        for name, low, high in (
            ("window", 1, 1000),
            ("dense_size", 1, 1000),
            ("passages", 1, 16),
            ("max_concurrent", 1, 10_000),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
        for name in ("half_life_days", "deadline_ms"):
            value = getattr(self, name)
            if value is not None and not (is_finite_number(value) and value > 0):
                raise ConfigError(f"{name} must be above 0, got {value!r}")
        if not is_finite_number(self.share) or not 0 <= self.share <= 1:
            raise ConfigError(f"share must be from 0 to 1, got {self.share!r}")
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise ConfigError(f"threads must be a whole number of at least 1, got {self.threads!r}")
        if self.scorer is not None:
            _check_scorer(self.scorer, has_vectors=self.vectors is not None)
        if not isinstance(self.weights, (Weights, type(None))):
            raise ConfigError(f"weights must be Weights, a mapping or factor=number,..., got {self.weights!r}")
        if not isinstance(self.text_fields, tuple) or not all(isinstance(each, str) for each in self.text_fields):
            raise ConfigError(f"text_fields must be names of fields, got {self.text_fields!r}")
        if not isinstance(self.text_template, str):
            raise ConfigError(f"text_template must be a string, got {self.text_template!r}")
        if self.text_template:
            TextTemplate.parse(self.text_template)
        if not isinstance(self.now, (datetime, type(None))):
            raise ConfigError(f"now must be a date, got {self.now!r}")
        if self.now is not None and self.now.tzinfo is None:
            raise ConfigError(f"now needs a time zone, got {self.now.isoformat()}; add Z or an offset")
        if not isinstance(self.vector_field, str):
            raise ConfigError(f"vector_field must be the name of a field, got {self.vector_field!r}")
        if self.vector_field and self.vectors is not None:
            raise ConfigError("vectors come from a folder (vectors) or from the engine (vector_field), not from both")
        if self.dense == "extend" and self.vectors is None and not self.vector_field:
            raise ConfigError(
                "dense='extend' needs vectors, the folder that rerank-index load wrote, or vector_field, a k-NN field"
            )
        unknown = sorted(set(self.field_map) - {*PRIORS, "published_at"}, key=str)
        if unknown:
            raise ConfigError(f"field_map names {unknown[0]!r}; it maps {', '.join(PRIORS)} and published_at")
        for factor, source in self.field_map.items():
            if factor != "freshness" and (factor == "published_at") != (source.scale == "date"):
                raise ConfigError(
                    f"field_map.{factor} cannot have the scale {source.scale!r}; dates are published_at's"
                )

    @classmethod
    def of(cls, value: Rerank | Mapping[str, Any] | str | Path | bool | None) -> Rerank:
        """Settings from what a caller may write after ``rerank=``.

        That is settings, a mapping of them, a settings file's path, True, False or None. Loose forms are converted
        here, once: weights from a mapping or ``f=w,...``, paths from strings, lists.

        :raises ConfigError: an unknown setting, a value out of range or a file that is none.
        """
        if isinstance(value, Rerank):
            return value
        if value is None and os.environ.get(CONFIG_VARIABLE):
            value = os.environ[CONFIG_VARIABLE]
        if isinstance(value, (str, Path)):
            value = _from_file(Path(value))
        if value is None or isinstance(value, bool):
            return cls(mode="off" if value is False else "on")
        if not isinstance(value, Mapping):
            raise ConfigError(f"rerank must be settings, a mapping, a file, True or False, got {type(value).__name__}")
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(value) - known, key=str)
        if unknown:
            raise ConfigError(f"unknown setting rerank.{unknown[0]}; known are {', '.join(sorted(known))}")
        settings = dict(value)
        weights = settings.get("weights")
        if isinstance(weights, str):
            settings["weights"] = Weights.parse(weights)
        elif isinstance(weights, Mapping):
            settings["weights"] = Weights.of(weights)
        if isinstance(settings.get("text_fields"), str):
            settings["text_fields"] = (settings["text_fields"],)
        if isinstance(settings.get("text_fields"), (list, type(None))):
            settings["text_fields"] = tuple(settings.get("text_fields") or ())
        for name in ("model", "vectors"):
            if isinstance(settings.get(name), str):
                settings[name] = Path(settings[name])
        if isinstance(settings.get("now"), str):
            from rerank_plugin.domain.features import parse_date

            try:
                settings["now"] = parse_date(settings["now"])
            except DataError as error:
                raise ConfigError(f"now: {error}") from error
        field_map = settings.get("field_map") or {}
        if not isinstance(field_map, Mapping):
            raise ConfigError(f"field_map must be an object of factors and fields, got {field_map!r}")
        settings["field_map"] = {factor: _field_source(factor, source) for factor, source in field_map.items()}
        indices = settings.pop("indices", None) or {}
        if not isinstance(indices, Mapping):
            raise ConfigError(f"indices must be an object of index patterns and settings, got {indices!r}")
        return cls(**settings, indices={pattern: _of_index(pattern, value, each) for pattern, each in indices.items()})

    @property
    def text_paths(self) -> tuple[str, ...]:
        """The fields that the model reads, where the settings say so."""
        return TextTemplate.parse(self.text_template).paths if self.text_template else self.text_fields

    def for_index(self, expression: str) -> Rerank:
        """The settings for a search of an index expression: of the first pattern that fits all its names."""
        names = [name for name in expression.split(",") if name]
        for pattern, settings in self.indices.items():
            if names and all(fnmatchcase(name, pattern) for name in names):
                return settings
        return self

    def with_environment(self, environ: Mapping[str, str] = os.environ) -> Rerank:
        """These settings with ``RERANK_MODE``, ``RERANK_KILL_FILE`` and ``RERANK_MODEL`` applied.

        :raises ConfigError: ``RERANK_MODE`` holds something else than a mode.
        """
        changed = self
        mode = environ.get(MODE_VARIABLE, "").strip()
        if mode:
            if mode not in get_args(Mode):
                raise ConfigError(f"{MODE_VARIABLE} must be one of {', '.join(get_args(Mode))}, got {mode!r}")
            changed = replace(changed, mode=cast(Mode, mode))
        if switched_off(environ):
            changed = replace(changed, mode="off")
        if changed.model is None and environ.get(MODEL_VARIABLE):
            changed = replace(changed, model=Path(environ[MODEL_VARIABLE]))
        return changed
