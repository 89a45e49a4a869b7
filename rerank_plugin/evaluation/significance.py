"""Is a difference between two arms real? Paired tests over the same queries, from scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rerank_plugin.errors import MissingExtraError

#: Differences up to this size are a tie: measures are sums of fractions, so equal values may differ in the last digits.
TIE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A candidate against a baseline; differences are candidate minus baseline."""

    #: Mean difference; 0 without queries.
    delta: float
    #: 95 % interval of the mean difference by Student's t; ``None`` with fewer than two queries.
    ci95: tuple[float, float] | None
    #: 95 % BCa bootstrap interval over queries; ``None`` with fewer than two queries.
    ci95_bootstrap: tuple[float, float] | None
    #: Two-sided paired t-test; ``None`` with fewer than two queries.
    p_ttest: float | None
    #: Two-sided sign-flip permutation test: exact where 2^n is within the resamples, else
    #: (count + 1) / (resamples + 1).
    p_permutation: float | None
    wins: int
    ties: int
    losses: int


def paired(differences: Sequence[float], *, seed: int, resamples: int = 9999) -> Paired:
    """The mean of per-query differences with its interval, two tests, and wins, ties and losses.

    Differences that are all the same have no spread: their interval is a point, and the t-test's p is its limit, 1
    where they are ties and 0 elsewhere. The permutation test says how much such a thing means in few queries.

    :raises MissingExtraError: scipy is not installed.
    """
    count = len(differences)
    settled = [0.0 if abs(each) <= TIE else float(each) for each in differences]
    mean = math.fsum(settled) / max(count, 1)
    low, high, p_ttest = _student(settled, mean)
    return Paired(
        delta=mean,
        ci95=None if count < 2 else (low, high),
        ci95_bootstrap=None if count < 2 else _bootstrap(settled, mean, seed=seed, resamples=resamples),
        p_ttest=None if count < 2 else p_ttest,
        p_permutation=None if count < 2 else _sign_flip(settled, seed=seed, resamples=resamples),
        wins=sum(each > 0 for each in settled),
        ties=sum(each == 0 for each in settled),
        losses=sum(each < 0 for each in settled),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p corrected for all of them (Holm 1979), so that the chance of any false finding stays below the level.

    A p that is not known stays so, and does not count among the tests.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for done, (p, place) in enumerate(known):
        highest = max(highest, min((len(known) - done) * p, 1.0))
        corrected[place] = highest
    return corrected


def _bootstrap(values: list[float], mean: float, *, seed: int, resamples: int) -> tuple[float, float]:
    """Efron's bias-corrected and accelerated interval of the mean; a point where nothing varies."""
    if max(values) - min(values) <= TIE:
        return mean, mean
    try:
        import numpy as np
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("an interval of a difference", "evaluate") from error
    found = stats.bootstrap(
        (np.asarray(values),),
        np.mean,
        method="BCa",
        n_resamples=resamples,
        batch=1000,
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _student(values: list[float], mean: float) -> tuple[float, float, float]:
    """Lower and upper end of the 95 % t interval, and the two-sided p against 0."""
    if len(values) < 2 or max(values) - min(values) <= TIE:
        return mean, mean, 1.0 if abs(mean) <= TIE else 0.0
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("testing a difference", "evaluate") from error
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(0.95)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _sign_flip(values: list[float], *, seed: int, resamples: int) -> float:
    """Under the null each difference is as likely with the other sign; ties have no sign and cannot change the sum."""
    signed = [each for each in values if each]
    if len(signed) < 2:  # one signed value alone: both signs are equally extreme
        return 1.0
    try:
        import numpy as np
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError("testing a difference", "evaluate") from error
    result = stats.permutation_test(
        (np.asarray(signed),),
        lambda sample, axis: np.sum(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,  # bounds memory: batch x queries numbers at a time
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)
