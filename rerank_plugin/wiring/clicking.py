"""Joins a log of clicks and the windows that a model is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    from rerank_plugin.domain.clicks import ClickLog
    from rerank_plugin.training.calibrate import Window
    from rerank_plugin.training.losses import ClickModel
    from rerank_plugin.training.settings import Settings


def with_clicks(
    windows: Sequence[Window], log: ClickLog | None, settings: Settings, tell: Callable[[str], None]
) -> tuple[list[Window], ClickModel | None, dict[str, Any]]:
    """Windows with the log's impressions, the model of its clicks, and how many there are; nothing of it without a log.

    :param windows: of the queries to learn from.
    :raises DataError: the log shows nothing that these queries found.
    """
    from rerank_plugin.evaluation.collection import same_text
    from rerank_plugin.training.clicks import joined
    from rerank_plugin.training.losses import ClickModel

    if log is None:
        return list(windows), None, {}
    texts = [same_text(each.request.query) for each in windows]
    said = joined(windows, texts, log, places=settings.click_places)
    if said.impressions == 0:
        raise DataError("the log of clicks shows nothing that the queries to learn from found; leave it out")
    tell(
        f"clicks: {said.clicks} of {said.impressions} impressions, {said.queries} queries; left out: {said.outside} of "
        f"documents that retrieval did not find, {said.elsewhere} of queries that are not learned from"
    )
    counts = ("impressions", "clicks", "queries", "outside", "elsewhere")
    tower = ClickModel(settings.click_places, settings.click_dropout, said.log_odds)
    return said.windows, tower, {name: getattr(said, name) for name in counts}
