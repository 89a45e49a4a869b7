"""A forked worker starts anew: a lock that another thread held at the fork would never be released in the child."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_RENEWALS: list[weakref.WeakMethod[Callable[[], None]]] = []


def after_fork(renew: Callable[[], None]) -> None:
    """Has the bound method ``renew`` called in every forked child, as long as its object lives."""
    _RENEWALS[:] = [each for each in _RENEWALS if each() is not None]
    _RENEWALS.append(weakref.WeakMethod(renew))


def _renew_all() -> None:
    for each in list(_RENEWALS):
        renew = each()
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_all)
