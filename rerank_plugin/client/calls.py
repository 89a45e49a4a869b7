"""What a flow asks of its driver: the engine, the model, the processor. Flows are generators and do no I/O themselves.

A driver (``client/transport.py``) runs a flow: it carries out each call it yields, sends back the reply, and throws
into it what the engine raised; one set of rules thus serves every kind of client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rerank_plugin.ranking.types import RankRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCall:
    """One request to the engine; the reply is its parsed answer."""

    method: str
    path: str
    params: Mapping[str, Any]
    body: Any = None
    headers: Mapping[str, str] | None = None
    #: Statuses that are answers, not errors, as opensearch-py's ``ignore``.
    ignore: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class RankCall:
    """Windows to be ranked in one batch; the reply is one ``Ranking`` each, in their order."""

    requests: tuple[RankRequest, ...]


@dataclass(frozen=True, slots=True)
class LocalCall:
    """Work for this machine's processor, such as opening a model; the reply is what ``run`` returns.

    A driver that must not block runs it, as it does a ``RankCall``, in a thread.
    """

    run: Callable[[], Any]
    #: Over sooner than a thread would begin: it may be run at once by everybody.
    brief: bool = False


Result = TypeVar("Result")
#: A generator that yields calls, receives their replies and returns its result.
Flow = Generator[EngineCall | RankCall | LocalCall, Any, Result]
