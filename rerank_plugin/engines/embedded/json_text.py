"""JSON texts in and out, with the engines' errors."""

from __future__ import annotations

import json
from typing import Any

from rerank_plugin.engines.embedded.refusal import Refusal


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text.

    :raises Refusal: 400 when it is none; NaN and Infinity are none.
    """
    try:
        return json.loads(raw.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(400, "json_parse_exception", reason[:300]) from error


def _no_constant(text: str) -> float:
    raise ValueError(f"Non-standard token '{text}'")


def dump_json(value: Any) -> bytes:
    """A JSON text that keeps every string, also one that is no proper Unicode."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
