"""What the course of one search asks for next; ``client/flow.py`` turns steps into calls, many searches at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rerank_plugin.ranking.types import RankRequest


@dataclass(frozen=True, slots=True)
class ReadMapping:
    """The mapping of an index expression; the reply is the engine's answer."""

    index: str
    #: All of it, for an engine that cannot pick out the part that is wanted.
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """A search of ours; the reply is a response with hits, or a ``TransportError`` is raised."""

    params: Mapping[str, Any]
    body: Any


@dataclass(frozen=True, slots=True)
class FetchOwn:
    """The caller's own search; the reply is whatever the engine says to it, errors included."""

    #: The caller's own body, less our key.
    body: Any


@dataclass(frozen=True, slots=True)
class Local:
    """Work for this machine's processor; the reply is what it returns."""

    run: Callable[[], Any]
    #: Over sooner than a thread would begin.
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Rank:
    """A window to be ranked; the reply is a ``Ranking``."""

    request: RankRequest


Step = ReadMapping | Fetch | FetchOwn | Local | Rank
