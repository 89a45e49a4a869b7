"""What a refresh changes of one document: the features that new evidence moved far enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.numbers import is_finite_number

#: Keys of the ``rerank`` object that go with freshness.
AGE = ("published_at", "half_life_days")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which features may change, and by how much they must to be written."""

    factors: Collection[str]
    #: Smallest change of a feature that is worth a write, in [0, 1].
    threshold: float

    def changes(self, stored: Any, found: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of the ``rerank`` object to write; empty where the document may stay as it is.

        :param stored: the object as the document has it; anything but an object counts as none.
        :param found: the object as it would be written today.
        """
        if not isinstance(stored, dict) or "features_version" not in stored:
            return dict(found)
        changed = {
            factor: found.get(factor)
            for factor in PRIORS
            if factor in self.factors and self._differ(stored.get(factor), found.get(factor))
        }
        if "freshness" in self.factors:
            changed |= {key: found.get(key) for key in AGE if stored.get(key) != found.get(key)}
        return changed

    def _differ(self, stored: Any, found: float | None) -> bool:
        known = float(stored) if is_finite_number(stored) else None
        if known is None or found is None:
            return (known is None) != (found is None)
        return abs(known - found) > self.threshold
