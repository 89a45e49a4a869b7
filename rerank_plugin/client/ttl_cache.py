"""A small map that forgets: bounded in size and in time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """A least-recently-used map whose entries live ``ttl_seconds``; threads may share it."""

    def __init__(self, size: int, ttl_seconds: float, clock: Callable[[], float]) -> None:
        self._size = size
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        """What was put under ``key``, or ``None`` when it never was, is too old or was crowded out."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            if self._clock() >= found[0]:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return found[1]

    def put(self, key: str, value: Value) -> None:
        """Keep ``value``; its time starts anew."""
        with self._lock:
            self._entries[key] = (self._clock() + self._ttl_seconds, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
