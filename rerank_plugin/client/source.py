"""``_source`` both ways: ask the engine for what the model needs, hand the caller what was asked for (DESIGN 6.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rerank_plugin.domain.source_filter import SourceFilter

#: URL parameters that, where any of them is given, take the place of the body's ``_source``.
PARAMS = ("_source", "_source_includes", "_source_excludes")


def param_text(value: Any) -> str:
    """A URL parameter as text: opensearch-py hands them on as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def asked_source(body: Mapping[str, Any], params: Mapping[str, Any]) -> SourceFilter:
    """What of ``_source`` the engine would return for this request.

    :raises DataError: the body's ``_source`` is none the engines know.
    """
    if any(name in params for name in PARAMS):
        return _from_params(params)
    if "_source" in body:
        return SourceFilter.parse(body["_source"])
    stored = body.get("stored_fields", params.get("stored_fields"))
    if stored is not None:  # naming stored fields switches _source off, unless it is among them
        names = param_text(stored).split(",") if isinstance(stored, (str, bytes)) else stored
        return SourceFilter(fetch="_source" in names)
    return SourceFilter(fetch="script_fields" not in body)  # and so do script fields


def _from_params(params: Mapping[str, Any]) -> SourceFilter:
    given = {name: param_text(params[name]) for name in PARAMS if name in params}
    source = given.get("_source", "true")
    includes = given.get("_source_includes", "" if source in {"true", "false"} else source)
    return SourceFilter(
        fetch=source != "false",
        includes=_split(includes),
        excludes=_split(given.get("_source_excludes", "")),
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def wider_source(asked: SourceFilter, needed: tuple[str, ...]) -> Any:
    """The ``_source`` option that fetches what was asked for and what is needed; excludes in its way are dropped.

    :param needed: dotted paths; ``*`` needs everything.
    """
    if asked.everything or "*" in needed:
        return True
    if not asked.fetch:
        return {"includes": list(needed)}
    includes = [*asked.includes, *needed] if asked.includes else []
    excludes = [each for each in asked.excludes if not any(_in_the_way(each, path) for path in needed)]
    return {"includes": list(dict.fromkeys(includes)), "excludes": excludes}


def _in_the_way(pattern: str, path: str) -> bool:
    """Whether excluding ``pattern`` may take what is at ``path``; needed paths end at values, so below is nothing."""
    if "*" in path:
        return True
    expression = re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)
    parts = path.split(".")
    return any(expression.fullmatch(".".join(parts[:length])) for length in range(1, len(parts) + 1))


def narrow_source(hit: Mapping[str, Any], asked: SourceFilter) -> dict[str, Any]:
    """A copy of the hit with exactly the ``_source`` that was asked for."""
    narrowed = dict(hit)
    if not asked.fetch:
        narrowed.pop("_source", None)
    elif not asked.everything and isinstance(hit.get("_source"), Mapping):
        narrowed["_source"] = asked.apply(hit["_source"])
    return narrowed
