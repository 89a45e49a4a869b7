"""The engines' ``_source`` filtering, as OpenSearch and Elasticsearch do it, on plain JSON objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rerank_plugin.errors import DataError


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """A parsed ``_source`` option: dotted paths in which ``*`` stands for any characters, dots included."""

    fetch: bool = True
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, option: Any) -> SourceFilter:
        """The option as a search body may give it: absent (None), bool, pattern, list, or includes/excludes object.

        :raises DataError: anything else.
        """
        if option is None or option is True:
            return cls()
        if option is False:
            return cls(fetch=False)
        if isinstance(option, str):
            return cls(includes=(option,))
        if isinstance(option, (list, tuple)) and all(isinstance(each, str) for each in option):
            return cls(includes=tuple(option))
        if isinstance(option, Mapping) and set(option) <= {"includes", "include", "excludes", "exclude"}:
            includes, excludes = (
                option.get("includes", option.get("include")),
                option.get("excludes", option.get("exclude")),
            )
            return cls(includes=cls.parse(includes).includes, excludes=cls.parse(excludes).includes)
        raise DataError(
            f"_source must be true, false, a pattern, a list of patterns or includes/excludes, got {option!r}"
        )

    @property
    def everything(self) -> bool:
        """Whether the whole source is asked for."""
        return self.fetch and not self.includes and not self.excludes

    def apply(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``source`` that was asked for, a new object; an include of an object takes all below it."""
        if not self.includes and not self.excludes:
            return dict(source)
        return _filter(source, "", self.includes, self.excludes, included=not self.includes)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)


@lru_cache(maxsize=1024)
def _could_lead(pattern: str, path: str) -> bool:
    """Whether something below ``path`` can match ``pattern``."""
    literal, star, _ = pattern.partition("*")
    return literal.startswith(f"{path}.") or (bool(star) and f"{path}.".startswith(literal))


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return any(_pattern(each).fullmatch(path) is not None for each in patterns)


def _filter(
    value: Mapping[str, Any], prefix: str, includes: tuple[str, ...], excludes: tuple[str, ...], *, included: bool
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, child in value.items():
        path = prefix + key
        if _matches(excludes, path):
            continue
        child_included = included or _matches(includes, path)
        if isinstance(child, Mapping):
            if child_included or any(_could_lead(each, path) for each in includes):
                below = _filter(child, f"{path}.", includes, excludes, included=child_included)
                if below or child_included:
                    kept[key] = below
        elif isinstance(child, list):
            filtered = _filter_list(child, path, includes, excludes, included=child_included)
            if filtered or child_included:
                kept[key] = filtered
        elif child_included:
            kept[key] = child
    return kept


def _filter_list(
    values: list[Any], path: str, includes: tuple[str, ...], excludes: tuple[str, ...], *, included: bool
) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if isinstance(value, Mapping):
            below = _filter(value, f"{path}.", includes, excludes, included=included)
            if below or included:
                kept.append(below)
        elif isinstance(value, list):
            kept.append(_filter_list(value, path, includes, excludes, included=included))
        elif included:
            kept.append(value)
    return kept
