"""Clicks as labels of the popularity head: joined to what retrieval found, and where head and tower start."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rerank_plugin.domain.clicks import ClickLog, Shown
    from rerank_plugin.training.calibrate import Window


@dataclass(frozen=True, slots=True)
class Joined:
    """Windows with their impressions, and how many of the log's there are."""

    windows: list[Window]
    #: Windows with an impression.
    queries: int
    impressions: int
    clicks: int
    #: Impressions of documents that retrieval did not find.
    outside: int
    #: Impressions of queries without a window.
    elsewhere: int
    #: (places,): log-odds of a click by place, documents as they were shown there; the last place stands for all below.
    log_odds: tuple[float, ...]


def joined(windows: Sequence[Window], texts: Sequence[str], log: ClickLog, *, places: int) -> Joined:
    """The windows with what a log says of their candidates.

    :param windows: of the queries to learn from and of no others: what validates and is tested is not looked at.
    :param texts: of each window's query, as the log writes it.
    :param places: that get a bias of their own.
    """
    found = []
    for window, text in zip(windows, texts, strict=True):
        by_doc, ids = log.get(text, {}), {each.doc_id for each in window.request.candidates}
        found.append(replace(window, shown={doc_id: shown for doc_id, shown in by_doc.items() if doc_id in ids}))
    kept = {(text, doc_id) for text, window in zip(texts, found, strict=True) for doc_id in window.shown}
    asked, where = set(texts), Counter[str]()
    used: list[Shown] = []
    for text, by_doc in log.items():
        for doc_id, shown in by_doc.items():
            if (text, doc_id) in kept:
                used += shown
            else:
                where["outside" if text in asked else "elsewhere"] += sum(each.impressions for each in shown)
    return Joined(
        windows=found,
        queries=sum(any(window.shown.values()) for window in found),
        impressions=sum(each.impressions for each in used),
        clicks=sum(each.clicks for each in used),
        outside=where["outside"],
        elsewhere=where["elsewhere"],
        log_odds=_log_odds(used, places),
    )


def one_of(shown: Sequence[Shown], rng: random.Random) -> tuple[int, bool]:
    """Place and click of one impression, each of them as likely; place 0 where there is none."""
    total = sum(each.impressions for each in shown)
    if total == 0:
        return 0, False
    left = rng.randrange(total)
    for each in shown:
        if left < each.impressions:
            return each.position, left < each.clicks
        left -= each.impressions
    raise AssertionError("more impressions than were counted")


def _log_odds(shown: Sequence[Shown], places: int) -> tuple[float, ...]:
    """By place, half a click added to both sides; that of the place above where nothing was shown."""
    impressions, clicks = [0] * places, [0] * places
    for each in shown:
        place = min(each.position, places) - 1
        impressions[place] += each.impressions
        clicks[place] += each.clicks
    all_shown, all_clicked = sum(impressions), sum(clicks)
    found: list[float] = []
    last = math.log((all_clicked + 0.5) / (all_shown - all_clicked + 0.5))
    for count, clicked in zip(impressions, clicks, strict=True):
        if count:
            last = math.log((clicked + 0.5) / (count - clicked + 0.5))
        found.append(last)
    return tuple(found)
