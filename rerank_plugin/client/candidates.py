"""Hits as candidates: the text the model reads and the features, found in ``_source``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rerank_plugin.config import FieldSource, Rerank
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import (
    NO_FEATURES,
    Features,
    age_in_days,
    freshness_utility,
    parse_date,
    stored_features,
)
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.domain.source_filter import SourceFilter
from rerank_plugin.domain.text_template import TextTemplate
from rerank_plugin.errors import DataError

#: Half-life of freshness where neither the settings nor the index name one.
DEFAULT_HALF_LIFE_DAYS = 365.0
#: The object the indexer writes into documents, and what is read of it.
ENRICHED = "rerank"
_ENRICHED_FIELDS = (*PRIORS, "published_at", "half_life_days")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What is read of documents: one for all hits of a search."""

    settings: Rerank
    #: Concrete index -> what it says of itself; indices that say nothing are absent.
    metas: Mapping[str, IndexMeta]
    #: Fields the query searches.
    searched: tuple[str, ...]
    now: datetime

    def needed(self) -> tuple[str, ...]:
        """Every dotted path in ``_source`` that reading takes; ``*`` where it may take any."""
        paths = [path for index in ("", *self.metas) for path in self._text_fields(index)]
        if not self.settings.text_paths:  # a searched title.english is stored as title
            paths += [path.rpartition(".")[0] for path in self.searched if "." in path]
        paths += [f"{ENRICHED}.{name}" for name in _ENRICHED_FIELDS]
        paths += [source.field for source in self.settings.field_map.values()]
        return tuple(dict.fromkeys(paths))

    def candidates(
        self, hits: Sequence[Mapping[str, Any]], cosines: Sequence[float | None], *, first_rank: int = 1
    ) -> tuple[Candidate, ...]:
        """One candidate per hit, ranked from ``first_rank`` on in the order given."""
        by_index: dict[str, tuple[tuple[str, ...], float]] = {}
        found: list[Candidate] = []
        for rank, (hit, cosine) in enumerate(zip(hits, cosines, strict=True), start=first_rank):
            source, score, index = hit.get("_source"), hit.get("_score"), str(hit.get("_index", ""))
            source = source if isinstance(source, dict) else {}
            if index not in by_index:
                by_index[index] = self._text_fields(index), self._half_life_days(index)
            paths, half_life_days = by_index[index]
            found.append(
                Candidate(
                    doc_id=str(hit["_id"]),
                    index=index,
                    retrieval_rank=rank,
                    retrieval_score=None if score is None else float(score),
                    text=self._text(source, paths),
                    features=features_of(source, self.settings.field_map, now=self.now, half_life_days=half_life_days),
                    cosine=cosine,
                )
            )
        return tuple(found)

    def _text(self, source: Mapping[str, Any], paths: tuple[str, ...]) -> str:
        if self.settings.text_template:
            template = TextTemplate.parse(self.settings.text_template)
            return template.fill(lambda path: list(_pieces(values_at(source, path))))
        return text_of(source, paths)

    def _text_fields(self, index: str) -> tuple[str, ...]:
        if self.settings.text_paths:
            return self.settings.text_paths
        meta = self.metas.get(index)
        if meta is not None and meta.text_fields:
            return meta.text_fields
        return self.searched or ("*",)

    def _half_life_days(self, index: str) -> float:
        if self.settings.half_life_days is not None:
            return self.settings.half_life_days
        meta = self.metas.get(index)
        return DEFAULT_HALF_LIFE_DAYS if meta is None else meta.half_life_days


def text_of(source: Mapping[str, Any], paths: Sequence[str]) -> str:
    """The text at the dotted paths, in their order, joined by newlines; arrays and arrays of objects are walked.

    Equal pieces count once: a multi-field is searched under several names. A path with ``*`` takes every string it
    matches.
    """
    pieces: dict[str, None] = {}
    for path in paths:
        if "*" in path:
            kept = SourceFilter(includes=(path,), excludes=(ENRICHED,)).apply(source)
            pieces.update(dict.fromkeys(_strings(kept)))
        elif "." not in path and isinstance(value := source.get(path), str):
            pieces[value] = None  # the common case, which costs the most
        else:
            pieces.update(dict.fromkeys(_pieces(values_at(source, path))))
    return "\n".join([piece for piece in pieces if piece.strip()])


def values_at(source: Any, path: str) -> list[Any]:
    """The values at a dotted path, through arrays and objects, also where keys are themselves dotted.

    Where a value is met before the path ends, it is the value: ``title.english`` is stored as ``title``.
    """
    if "." not in path and isinstance(source, dict):  # the common case, which costs the most
        value = source.get(path)
        if value is None or isinstance(value, (str, int, float)):
            return [] if path not in source else [value]
    return list(_walk(source, path.split(".")))


def _walk(value: Any, parts: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _walk(each, parts)
    elif not parts or not isinstance(value, Mapping):
        yield value
    else:
        for length in range(1, len(parts) + 1):
            key = ".".join(parts[:length])
            if key in value:
                yield from _walk(value[key], parts[length:])


def _pieces(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield str(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, Mapping)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(each)


def features_of(
    source: Mapping[str, Any], field_map: Mapping[str, FieldSource], *, now: datetime, half_life_days: float
) -> Features:
    """The features of a document: those the indexer stored, and over them those the field map finds.

    Values that are no numbers, and dates nobody can read, count as unknown.
    """
    enriched = source.get(ENRICHED)
    features = NO_FEATURES
    if isinstance(enriched, dict):
        features = stored_features(enriched, now=now, half_life_days=half_life_days)
    for factor, mapped in field_map.items():
        value = next(iter(values_at(source, mapped.field)), None)
        if mapped.scale == "date":
            features = _dated(features, value, now=now, half_life_days=half_life_days)
        else:
            unit = mapped.to_unit(value)
            if unit is not None:
                features = replace(features, **{factor: unit})
    return features


def _dated(features: Features, value: Any, *, now: datetime, half_life_days: float) -> Features:
    try:
        published_at = parse_date(value)
    except DataError:
        return features
    return replace(
        features,
        freshness=freshness_utility(published_at, now=now, half_life_days=half_life_days),
        age_days=max(age_in_days(published_at, now=now), 0.0),
    )
