"""A small map that forgets: bounded in size and in time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from rerank_plugin.client.forking import after_fork

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """A least-recently-used map whose entries live ``ttl_seconds``; threads may share it.

    :param size: the most that all entries may cost together; the newest is kept whatever it costs.
    :param cost: what an entry costs; without it each costs 1.
    """

    def __init__(
        self,
        size: int,
        ttl_seconds: float,
        clock: Callable[[], float],
        *,
        cost: Callable[[Value], int] = lambda _: 1,
    ) -> None:
        self._size = size
        self._cost = cost
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._renew()
        after_fork(self._renew)

    def _renew(self) -> None:
        self._held = 0
        self._entries: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        """What was put under ``key``, or ``None`` when it never was, is too old or was crowded out."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            if self._clock() >= found[0]:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return found[1]

    def put(self, key: str, value: Value, *, ttl_seconds: float | None = None) -> None:
        """Keep ``value``; its time starts anew.

        :param ttl_seconds: how long this one lives, where that differs.
        """
        ends = self._clock() + (self._ttl_seconds if ttl_seconds is None else ttl_seconds)
        with self._lock:
            if key in self._entries:
                self._drop(key)
            self._entries[key] = (ends, value)
            self._held += self._cost(value)
            while self._held > self._size and len(self._entries) > 1:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._held -= self._cost(self._entries.pop(key)[1])

    def __len__(self) -> int:
        return len(self._entries)
