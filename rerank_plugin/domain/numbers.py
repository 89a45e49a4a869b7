"""What counts as a number in values that others wrote."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_finite_number(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a number that a float can hold: JSON knows whole numbers of any length."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
