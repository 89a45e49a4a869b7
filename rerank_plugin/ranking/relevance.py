"""Calibrated relevance z: a linear head over what is known of a query and a document (DESIGN 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rerank_plugin.errors import ModelFolderError

INPUTS: tuple[str, ...] = ("log_score", "relative_score", "cosine", "interaction")
#: Which inputs a candidate offers -> the name of the fit that serves it. A search may come without scores (sorted,
#: filtered), a document without text.
CASES: tuple[str, ...] = ("score+text", "text", "score")
#: The same where the text was read together with the query and there are no vectors: a cross-encoder alone.
PAIR_CASES: tuple[str, ...] = ("score+pair", "pair")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One coefficient per input, in log-odds.

    z = intercept + log_score * ln(1 + score) + relative_score * score / top score + cosine * cos + interaction * logit.
    The share of the query's top score is free of boosts and of the query's length; the logarithm says how good the
    best match is at all.
    """

    intercept: float
    log_score: float = 0.0
    relative_score: float = 0.0
    cosine: float = 0.0
    interaction: float = 0.0

    def z(self, score: float | None, top: float, *, cosine: float | None, interaction: float | None) -> float:
        """Log-odds of relevance; an input that is absent counts as 0, so its coefficient should be.

        :param score: the document's first-stage score.
        :param top: the highest one of its query.
        """
        total = self.intercept
        if score is not None:
            own = score if score > 0.0 else 0.0
            total += self.log_score * math.log1p(own)
            total += self.relative_score * (own / top if top > 0 else 0.0)
        if cosine is not None:
            total += self.cosine * cosine
        if interaction is not None:
            total += self.interaction * interaction
        return total


@dataclass(frozen=True, slots=True)
class RelevanceHead:
    """One fit per case of known inputs; ``PAIR_CASES`` may be absent, and are in a model that encodes."""

    fits: Mapping[str, Fit]

    @property
    def needs_interaction(self) -> bool:
        """Whether any fit gives the interaction logit a say; where none does, the costly joint pass is left out."""
        return any(fit.interaction != 0.0 for fit in self.fits.values())

    def z(self, score: float | None, top: float, *, cosine: float | None, interaction: float | None) -> float:
        """Log-odds of relevance from whatever is known; with nothing known, the base rate's.

        :param score: the document's first-stage score.
        :param top: the highest one of its query.
        """
        if cosine is not None:
            case = "text" if score is None else "score+text"
        elif interaction is not None and "pair" in self.fits:
            case = "pair" if score is None else "score+pair"
        else:
            return self.fits["score"].z(score, top, cosine=None, interaction=None)
        return self.fits[case].z(score, top, cosine=cosine, interaction=interaction)

    @classmethod
    def from_manifest(cls, section: Mapping[str, Any], *, where: str) -> RelevanceHead:
        """The head as ``manifest.json`` holds it under ``relevance``.

        :raises ModelFolderError: a case or a coefficient is absent or no finite number.
        """
        fits: dict[str, Fit] = {}
        for case in (*CASES, *(case for case in PAIR_CASES if case in section)):
            stored = section.get(case)
            if not isinstance(stored, Mapping):
                raise ModelFolderError(f"{where} has no calibration for {case!r}; run rerank model calibrate on it")
            values = {name: stored.get(name, 0.0) for name in ("intercept", *INPUTS)}
            for name, value in values.items():
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                    raise ModelFolderError(f"{where}: relevance.{case}.{name} must be a finite number, got {value!r}")
            fits[case] = Fit(**values)
        return cls(fits)

    def to_manifest(self) -> dict[str, dict[str, float]]:
        """The section to store, rounded to six digits."""
        return {
            case: {name: round(getattr(fit, name), 6) for name in ("intercept", *INPUTS)}
            for case, fit in self.fits.items()
        }
