"""What may be a number and what may be an id, in the loose JSON of records."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether ``value`` is a finite number that fits a float; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def is_id(value: Any) -> TypeGuard[str | int]:
    """Whether ``value`` can be the id of a document: text that is not empty, or a whole number."""
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""
