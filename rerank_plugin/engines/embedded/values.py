"""One JSON value into what a field stores, with the engines' coercions and their errors."""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

from rerank_plugin.engines.embedded.dates import parse_span
from rerank_plugin.engines.embedded.mapping import FLOATS, INTEGER_BITS, Field
from rerank_plugin.engines.embedded.refusal import Refusal, illegal, unmappable

Value = str | int | float

#: Lucene's limit for one term, in bytes of UTF-8.
MAX_TERM_BYTES = 32_766
_PACKED = {"float": "<f", "half_float": "<e"}
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """The text with lone surrogates, which are no characters, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def as_text(value: Any) -> str:
    """A JSON scalar as the text the engines index for it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)


def to_value(field: Field, value: Any) -> Value | None:
    """What ``field`` indexes for a JSON scalar; ``None`` when it leaves it out (``ignore_above``).

    :raises Refusal: 400 with the engines' reason; for documents, the caller wraps it with the document's id.
    """
    if field.type == "text":
        return as_text(value)
    if field.type == "keyword":
        return _keyword(field, as_text(value))
    if field.type == "boolean":
        return boolean(value)
    if field.type == "date":
        return parse_span(as_text(value), field.formats).first
    if field.type in INTEGER_BITS:
        return integer(field.type, value)
    return floating(field.type, value)


def _keyword(field: Field, text: str) -> str | None:
    if len(text) > field.ignore_above:
        return None
    size = len(text.encode())
    if size > MAX_TERM_BYTES:
        raise illegal(
            f'Document contains at least one immense term in field="{field.path}" (whose UTF8 encoding is longer than '
            f"the max length {MAX_TERM_BYTES}), all of which were skipped. Please correct the analyzer to not produce "
            f"such terms. The first immense term is {size} bytes long"
        )
    return text


def boolean(value: Any) -> int:
    """1 or 0.

    :raises Refusal: 400 for anything that is not true, false or their names.
    """
    if value in (True, "true"):
        return 1
    if value in (False, "false", ""):
        return 0
    raise illegal(f"Failed to parse value [{as_text(value)[:100]}] as only [true] or [false] are allowed.")


def number(value: Any) -> int | float:
    """A JSON number, or the number in a string.

    :raises Refusal: 400 for anything else.
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            return int(text) if re.fullmatch(r"[+-]?\d{1,19}", text) else float(text)
        except ValueError:
            pass
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise Refusal(400, "number_format_exception", f'For input string: "{as_text(value)[:100]}"')


def integer(kind: str, value: Any) -> int:
    """A whole number inside the type's range; a fraction is cut off.

    :raises Refusal: 400 for no number, or one out of range.
    """
    parsed = number(value)
    highest = 2 ** (INTEGER_BITS[kind] - 1)
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise illegal(f"[{kind}] supports only finite values, but got [{parsed}]")
    whole = math.trunc(parsed)
    if not -highest <= whole < highest:
        raise illegal(f"Value [{as_text(value)[:100]}] is out of range for a {kind}")
    return whole


def floating(kind: str, value: Any) -> float:
    """The number as the type keeps it: rounded to 32 or 16 bits where the type has no more.

    :raises Refusal: 400 for no number, or one the type cannot hold.
    """
    try:
        parsed = float(number(value))
        if kind in _PACKED:
            (parsed,) = struct.unpack(_PACKED[kind], struct.pack(_PACKED[kind], parsed))
    except OverflowError:
        parsed = math.inf
    if not math.isfinite(parsed):
        raise illegal(f"[{kind}] supports only finite values, but got [{as_text(value)[:100]}]")
    return parsed


def unusable(field: Field, doc_id: str, value: Any, cause: Refusal) -> Refusal:
    """The engines' error for a document with a value that its field cannot take."""
    if "immense term" in cause.reason:
        return cause
    preview = as_text(value)
    return unmappable(
        f"failed to parse field [{field.path}] of type [{field.type}] in document with id '{doc_id}'. "
        f"Preview of field's value: '{preview[:100]}'",
        caused_by=(cause.kind, cause.reason),
    )


__all__ = ["FLOATS", "Value", "as_text", "boolean", "clean", "floating", "integer", "number", "to_value", "unusable"]
