"""Query-string parameters: what each operation understands, what may be ignored, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerank_plugin.engines.embedded.refusal import illegal, unsupported

#: Change nothing in the answer of an engine that has one shard on one machine.
IGNORED = frozenset({
    "timeout", "master_timeout", "cluster_manager_timeout", "wait_for_active_shards", "wait_for_completion",
    "preference", "request_cache", "pretty", "human", "error_trace", "allow_no_indices", "ignore_unavailable",
    "expand_wildcards", "batched_reduce_size", "max_concurrent_shard_requests", "max_concurrent_searches",
    "pre_filter_shard_size", "ccs_minimize_roundtrips", "cancel_after_time_interval", "search_type", "level", "local",
    "ignore_throttled", "include_defaults", "phase_took", "write_index_only", "wait_for_status", "retry_on_conflict",
    "allow_partial_search_results", "force", "wait_if_ongoing", "max_num_segments", "only_expunge_deletes", "flush",
})  # fmt: skip
#: The engines know them and this one does not; ``False`` is what happens here anyway.
_REFUSED = frozenset({
    "routing", "scroll", "q", "typed_keys", "rest_total_hits_as_int", "explain", "pipeline",
    "version_type", "search_pipeline", "require_alias", "df", "analyzer", "default_operator", "lenient", "stats",
    "suggest_field", "stored_fields", "docvalue_fields", "terminate_after", "flat_settings",
})  # fmt: skip


def check_parameters(params: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    """Refuses parameters that would change the answer and that this operation does not understand.

    :raises Refusal: 400 that names the first one.
    """
    for name, value in params.items():
        if name in known or name in IGNORED:
            continue
        if name in _REFUSED:
            if str(value).lower() == "false":
                continue
            raise unsupported(name)
        raise illegal(f"request [{path}] contains unrecognized parameter: [{name}]")


def flag(params: Mapping[str, Any], name: str, default: bool) -> bool:
    """A boolean parameter, as the clients write them.

    :raises Refusal: 400 for anything else than true or false.
    """
    value = params.get(name, default)
    text = str(value).lower()
    if text not in {"true", "false", ""}:
        raise illegal(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")
    return text != "false"


def integer(params: Mapping[str, Any], name: str) -> int | None:
    """A whole number, or ``None`` when it is absent.

    :raises Refusal: 400 for anything else.
    """
    if name not in params:
        return None
    try:
        return int(params[name])
    except (TypeError, ValueError) as error:
        raise illegal(f"Failed to parse int parameter [{name}] with value [{params[name]}]") from error


def wants_refresh(params: Mapping[str, Any]) -> bool:
    """Whether a write asks to be visible when it returns: ``refresh`` empty, ``true`` or ``wait_for``."""
    value = str(params.get("refresh", "false")).lower()
    if value not in {"", "true", "false", "wait_for"}:
        raise illegal(f"Unknown value for refresh: [{params['refresh']}].")
    return value != "false"


def source_option(params: Mapping[str, Any], option: Any = None) -> Any:
    """The ``_source`` option of a request: ``option`` from the body, overridden by the query string."""
    given = {name: params[name] for name in ("_source", "_source_includes", "_source_excludes") if name in params}
    if not given:
        return option
    chosen = given.get("_source")
    if str(chosen).lower() in {"true", "false", "none"}:
        chosen = None if str(chosen).lower() != "false" else False
    if chosen is False:
        return False
    includes = _names(given.get("_source_includes", chosen))
    return {"includes": includes, "excludes": _names(given.get("_source_excludes"))}


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else str(value).split(",")
