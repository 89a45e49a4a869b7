"""The ``"rerank"`` key of a search body: how one request is reranked. It never reaches the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opensearchpy.exceptions import RequestError

from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError, RerankError

#: The key in search bodies, and in responses.
KEY = "rerank"
#: Keys that stand for a setting of the same name.
_SETTINGS = ("weights", "window", "deadline_ms", "mode", "now")
_KNOWN = (*_SETTINGS, "query_text", "order_id", "user")


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of one request."""

    settings: Rerank
    #: The text to rerank for, where the caller names it.
    query_text: str = ""
    #: The order this page belongs to, where the caller names it.
    order_id: str = ""
    #: Who searches, where the caller says so: one user always falls on the same side of a ``share``.
    user: str = ""


def read_options(given: Any, settings: Rerank) -> Options:
    """The client's settings with what the body's ``rerank`` object changes; ``None`` changes nothing.

    :raises ConfigError: an unknown key or a value that is not allowed, named in the message.
    """
    if given is None:
        return Options(settings)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{KEY} must be an object, got {type(given).__name__}")
    unknown = sorted(set(given) - set(_KNOWN), key=str)
    if unknown:
        raise ConfigError(f"unknown key {KEY}.{unknown[0]}; known are {', '.join(_KNOWN)}")
    for name in ("query_text", "order_id", "now", "user"):
        if not isinstance(given.get(name, ""), str):
            raise ConfigError(f"{KEY}.{name} must be a string, got {given[name]!r}")
    if not isinstance(given.get("weights"), (Mapping, str, type(None))):
        raise ConfigError(f"{KEY}.weights must be an object of factors and numbers, got {given['weights']!r}")
    named = {name: given[name] for name in _SETTINGS if name in given}
    try:
        parsed = Rerank.of(named)
        changed = replace(settings, **{name: getattr(parsed, name) for name in named})
    except RerankError as error:
        raise ConfigError(f"{KEY}: {error}") from error
    text = " ".join(given.get("query_text", "").split())
    return Options(changed, text, given.get("order_id", ""), given.get("user", ""))


def refusal(error: ConfigError) -> RequestError:
    """The error a caller gets for a ``rerank`` object that cannot be followed: a 400 in the engines' own shape."""
    return RequestError(400, "illegal_argument_exception", refusal_body(error))


def refusal_body(error: ConfigError) -> dict[str, Any]:
    """The same as an item of an msearch response."""
    cause = {"type": "illegal_argument_exception", "reason": str(error)}
    return {"error": {"root_cause": [cause], **cause}, "status": 400}
