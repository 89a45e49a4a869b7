"""The body of ``_msearch``: pairs of lines, a header and a search body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """One search of an msearch."""

    #: Parameters: index, preference, routing and so on.
    header: Mapping[str, Any]
    body: Mapping[str, Any]
    #: Both lines as the caller wrote them.
    lines: str


def parse(body: Any) -> list[Item]:
    """The searches of an msearch body.

    :raises ValueError: it is not made of pairs of JSON objects.
    """
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    if not isinstance(text, str):
        raise ValueError("an msearch body is text")
    # split at the line feed alone: JSON strings may hold other characters that Python takes for line ends
    lines = text.removesuffix("\n").split("\n")
    if len(lines) % 2:
        raise ValueError("an msearch body has an even number of lines")
    items = []
    for header, search in zip(lines[::2], lines[1::2], strict=True):
        try:
            parsed = [json.loads(header) if header.strip() else {}, json.loads(search)]
        except RecursionError as error:
            raise ValueError("a line of an msearch body is nested too deeply") from error
        if not all(isinstance(each, Mapping) for each in parsed):
            raise ValueError("a line of an msearch body is a JSON object")
        items.append(Item(parsed[0], parsed[1], f"{header}\n{search}\n"))
    return items


def lines_of(header: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """A search as two lines."""
    return "".join(f"{json.dumps(part, separators=(',', ':'))}\n" for part in (header, body))
