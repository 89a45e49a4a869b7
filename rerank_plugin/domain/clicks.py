"""What a log says of queries and documents: where a document was shown, how often, and how often it was clicked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """A document on one place for one query."""

    #: From 1.
    position: int
    impressions: int
    #: At most ``impressions``.
    clicks: int


#: Query, as ``evaluation.collection.same_text`` writes it -> document -> its places, by position.
ClickLog = Mapping[str, Mapping[str, tuple[Shown, ...]]]
