"""The ``filter_path`` parameter: which parts of an answer come back, as the engines choose them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

#: Steps of one pattern: names in which ``*`` stands for any characters; ``**`` is any number of levels.
Steps = tuple[str, ...]


def filtered(body: Any, filter_path: str) -> Any:
    """The parts of an answer that the comma-separated patterns name, less those named behind a minus.

    ``hits.hits._id,-took``: lists are looked through, and what becomes empty is left out.
    """
    patterns = [each.strip() for each in filter_path.split(",") if each.strip()]
    includes = [tuple(each.split(".")) for each in patterns if not each.startswith("-")]
    excludes = [tuple(each[1:].split(".")) for each in patterns if each.startswith("-")]
    if includes:
        body = _kept(body, includes)
    return _without(body, excludes) if excludes else body


def _below(steps: list[Steps], name: str) -> list[Steps]:
    """The patterns that go on below the key ``name``; an empty one names the key itself."""
    found: list[Steps] = []
    for head, *rest in steps:
        if head == "**":
            found.append((head, *rest))
            found += _below([tuple(rest)], name) if rest else [()]
        elif fnmatchcase(name, head):
            found.append(tuple(rest))
    return found


def _kept(value: Any, steps: list[Steps]) -> Any:
    if isinstance(value, list):
        parts = [_kept(each, steps) for each in value]
        return [each for each in parts if each not in ({}, [], None)]
    if not isinstance(value, Mapping):
        return None
    kept: dict[str, Any] = {}
    for name, child in value.items():
        below = _below(steps, name)
        part = child if () in below else _kept(child, below) if below else None
        if part is not None and (() in below or part not in ({}, [])):
            kept[name] = part
    return kept


def _without(value: Any, steps: list[Steps]) -> Any:
    if isinstance(value, list):
        return [_without(each, steps) for each in value]
    if not isinstance(value, Mapping):
        return value
    left = {name: (child, _below(steps, name)) for name, child in value.items()}
    return {
        name: _without(child, below) if below else child for name, (child, below) in left.items() if () not in below
    }
