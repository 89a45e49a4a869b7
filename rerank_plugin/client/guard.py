"""What keeps a failing, hanging or overrun model away from searches: a limit, a breaker, a time (DESIGN 6.1, 6.7)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from rerank_plugin.client.forking import after_fork
from rerank_plugin.errors import RerankError

#: Failures in a row that open the circuit.
FAILURES = 5
#: How long it then stays open before one search tries again.
OPEN_SECONDS = 10.0

Result = TypeVar("Result")


class OverloadedError(RerankError):
    """The model has all the work it may have, or is being left in peace: nothing was tried."""


class Guarded(Generic[Result]):
    """Work on its way in a thread of its own. Its slot is taken until it ends, waited for or not."""

    def __init__(self, guard: Guard, seconds: float) -> None:
        self._guard = guard
        self._seconds = seconds
        #: Given up by its waiter: how it ends no longer says anything of the model.
        self.late = False
        self.future: Future[Result] = Future()
        self.future.set_running_or_notify_cancel()  # from now on no waiter can cancel it

    def result(self) -> Result:
        """What the work returned.

        :raises RerankError: it did not end in time; it is left to itself.
        """
        try:
            return self.future.result(self._seconds)
        except TimeoutError as error:
            raise self._late() from error

    async def awaited(self) -> Result:
        """The same for asyncio."""
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self.future)), self._seconds)
        except TimeoutError as error:
            raise self._late() from error

    def _late(self) -> BaseException:
        own = self.future.exception() if self.future.done() else None
        if own is not None:
            return own  # the time was up within the work, not for it
        self.late = True
        self._guard.failed()
        return RerankError(f"the model did not answer within {1000 * self._seconds:.0f} ms and was left to itself")


class Guard:
    """Lets at most ``limit`` pieces of work run at once, and none while the circuit is open; threads may share it.

    After ``FAILURES`` failures in a row the circuit opens: for ``OPEN_SECONDS`` nothing is tried, then one piece of
    work is, and its success closes the circuit (Nygard, Release It!, 2007).
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._renew()
        after_fork(self._renew)

    def _renew(self) -> None:
        """Nothing runs, nothing failed: also the state of a forked child, in which the parent's threads are gone."""
        self._lock = threading.Lock()
        self._running = 0
        self._failures = 0
        self._opened = 0.0
        self._probing = False

    def check(self) -> None:
        """Whether work would be let in now; cheap, so that a search need not fetch a window in vain.

        :raises OverloadedError: it would not.
        """
        with self._lock:
            self._refuse()

    def _refuse(self) -> None:
        if self._running >= self._limit:
            raise OverloadedError(f"overload: {self._running} windows are at the model, at most {self._limit} may be")
        if self._failures >= FAILURES:
            left = self._opened + OPEN_SECONDS - self._clock()
            if left > 0 or self._probing:
                raise OverloadedError(
                    f"the model failed {self._failures} times in a row and is left in peace"
                    + (f" for {left:.1f} s" if left > 0 else " while one search tries it")
                )

    def start(self, work: Callable[[], Result], seconds: float) -> Guarded[Result]:
        """Begins ``work`` in a thread, for at most ``seconds``.

        A thread per piece of work: it costs some 50 microseconds, and one that hangs holds up neither a pool, a fork
        nor the end of the process.

        :raises OverloadedError: no slot is free, or the circuit is open.
        """
        with self._lock:
            self._refuse()
            self._running += 1
            self._probing = self._failures >= FAILURES
        guarded: Guarded[Result] = Guarded(self, seconds)
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run, work, guarded), name="rerank", daemon=True).start()
        return guarded

    def _run(self, work: Callable[[], Any], guarded: Guarded[Any]) -> None:
        try:
            result = work()
        except BaseException as error:
            self._left(None if guarded.late else self.failed)
            guarded.future.set_exception(error)
        else:
            self._left(None if guarded.late else self.worked)
            guarded.future.set_result(result)

    def _left(self, told: Callable[[], None] | None) -> None:
        if told is not None:
            told()
        with self._lock:
            self._running -= 1

    def failed(self) -> None:
        """One more failure in a row."""
        with self._lock:
            self._failures += 1
            self._probing = False
            if self._failures >= FAILURES:
                self._opened = self._clock()

    def worked(self) -> None:
        """The model answers: the circuit is closed."""
        with self._lock:
            self._failures, self._probing = 0, False
