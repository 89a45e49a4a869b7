"""Fitting the calibrated head and the weights: what the shipped numbers in ``manifest.json`` come from.

Head, in two steps. Slopes: a listwise softmax loss over what retrieval found for each query (Cao et al. 2007, ListNet's
top-one form), which cancels every per-query offset, so that a collection of easy queries does not bend them. Scale and
intercept: logistic regression on that one number (Platt 1999) over the calibration set, so that z is a log-odds.
Unjudged candidates count as not relevant, as the measures count them; positives that retrieval missed are not injected.
Every collection counts the same, whatever its size.

Weights: as far as no collection loses more than a hundredth of its nDCG@10, either the same for every factor, or raised
step by step, each time that of the factor whose utility among the first ten has gained least so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rerank_plugin.domain.candidate import NEUTRAL
from rerank_plugin.domain.factors import MAX_WEIGHT_SUM, PRIORS, Weights
from rerank_plugin.domain.features import priors_of
from rerank_plugin.errors import DataError
from rerank_plugin.ranking.blend import blend, in_order
from rerank_plugin.ranking.gate import query_gates
from rerank_plugin.ranking.ranker import top_score
from rerank_plugin.ranking.relevance import PAIR_CASES, Fit, RelevanceHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_plugin.domain.candidate import Ranked
    from rerank_plugin.domain.clicks import Shown
    from rerank_plugin.ranking.types import RankRequest

#: Weights tried, and how much of a collection's nDCG@10 may be lost for them.
STEPS = tuple(round(0.1 * step, 1) for step in range(11))
ALLOWED_LOSS = 0.01
#: By how much a weight is raised at a time.
STEP = 0.1


@dataclass(frozen=True, slots=True)
class Window:
    """One query's candidates as the read path found them, each with its cosine."""

    request: RankRequest
    #: (candidates,) or ``None`` where attention between query and document is closed: it would repeat the cosine.
    interactions: NDArray[np.float64] | None
    #: Judged grades by document id, those of documents that retrieval missed included.
    judgments: Mapping[str, int]
    #: (candidates,) log-odds of relevance up to a constant, NaN where no teacher looked; ``None`` without teachers.
    taught: NDArray[np.float64] | None = None
    #: Where candidates were shown for this query and clicked, by document id; empty without a log.
    shown: Mapping[str, Sequence[Shown]] = field(default_factory=dict)
    #: Documents that no label is believed of, not even that the unjudged are irrelevant: candidates, and what the query
    #: was made of, which another query of the batch may have found.
    open: frozenset[str] = frozenset()
    #: How much each factor is asked for, as in ``OPEN_GATES``; ``None`` is as the words of the query say.
    gates: Mapping[str, float] | None = None
    #: Name of the collection: the same document id may stand in several, of different documents.
    collection: str = ""

    @property
    def asked(self) -> Mapping[str, float]:
        """How much each factor is asked for, in [0.2, 1]."""
        return query_gates(self.request.query) if self.gates is None else self.gates

    @property
    def scores(self) -> NDArray[np.float64]:
        """(candidates,) first-stage scores, at least 0."""
        return np.array([max(each.retrieval_score or 0.0, 0.0) for each in self.request.candidates])

    @property
    def cosines(self) -> NDArray[np.float64]:
        """(candidates,); 0 for a document without text."""
        return np.array([each.cosine or 0.0 for each in self.request.candidates])

    @property
    def grades(self) -> NDArray[np.float64]:
        """(candidates,), 0 where not judged."""
        return np.array([max(float(self.judgments.get(each.doc_id, 0)), 0.0) for each in self.request.candidates])


def fit_head(collections: Sequence[Sequence[Window]], *, pairs: bool = False) -> RelevanceHead:
    """One fit per case of known inputs, all slopes at least 0.

    :param pairs: the model makes no vectors: fits also what a search without them knows, score and interaction.
    :raises DataError: a collection has no window with both a relevant and another candidate.
    """
    usable: list[Window] = []
    shares: list[float] = []
    for windows in collections:
        both = [each for each in windows if (each.grades > 0).any() and (each.grades <= 0).any()]
        if not both:
            raise DataError(f"none of {len(windows)} windows holds a relevant and an irrelevant candidate; cannot fit")
        usable += both
        shares += [1.0 / len(both)] * len(both)
    columns = {
        "log_score": [np.log1p(each.scores) for each in usable],
        "relative_score": [each.scores / max(each.scores.max(), 1e-9) for each in usable],
        "cosine": [each.cosines for each in usable],
    }
    text = ["cosine"]
    if all(each.interactions is not None for each in usable):
        columns["interaction"] = [each.interactions for each in usable if each.interactions is not None]
        text.append("interaction")
    score = ["log_score", "relative_score"]
    cases = {"score+text": [*score, *text], "text": text, "score": score}
    if pairs:
        cases |= dict(zip(PAIR_CASES, ([*score, "interaction"], ["interaction"]), strict=True))
    grades = [each.grades for each in usable]
    return RelevanceHead({case: _fit(names, columns, grades, shares) for case, names in cases.items()})


def _fit(
    names: Sequence[str],
    columns: Mapping[str, Sequence[NDArray[np.float64]]],
    grades: Sequence[NDArray[np.float64]],
    shares: Sequence[float],
) -> Fit:
    groups = [np.stack([columns[name][place] for name in names], axis=1) for place in range(len(grades))]
    slopes = listwise_slopes(groups, grades, shares)
    sums = np.concatenate([group @ slopes for group in groups])
    each_share = np.concatenate([np.full(len(grade), share) for grade, share in zip(grades, shares, strict=True)])
    scale, intercept = platt(sums, np.concatenate([grade > 0 for grade in grades]), each_share)
    return Fit(intercept=intercept, **{name: scale * float(slope) for name, slope in zip(names, slopes, strict=True)})


def listwise_slopes(
    groups: Sequence[NDArray[np.float64]], grades: Sequence[NDArray[np.float64]], shares: Sequence[float]
) -> NDArray[np.float64]:
    """(inputs,) non-negative slopes of least listwise cross-entropy.

    :param groups: per query (candidates, inputs).
    :param grades: per query (candidates,); the target distribution is grades / their sum.
    :param shares: how much each query counts; their sum is free.
    """
    from scipy.optimize import minimize

    total_share = sum(shares)

    def loss(slopes: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, gradient = 0.0, np.zeros_like(slopes)
        for inputs, grade, share in zip(groups, grades, shares, strict=True):
            target = grade / grade.sum()
            logits = inputs @ slopes
            logits -= logits.max()
            log_sum = np.log(np.exp(logits).sum())
            total -= share * float(target @ (logits - log_sum))
            gradient -= share * ((target - np.exp(logits - log_sum)) @ inputs)
        return total / total_share, gradient / total_share

    inputs = groups[0].shape[1]
    found = minimize(loss, np.ones(inputs), jac=True, method="L-BFGS-B", bounds=[(0.0, 100.0)] * inputs)
    slopes: NDArray[np.float64] = found.x
    return slopes


def platt(sums: NDArray[np.float64], relevant: NDArray[np.bool_], shares: NDArray[np.float64]) -> tuple[float, float]:
    """Scale (at least 0) and intercept of the weighted logistic regression of ``relevant`` on ``sums``.

    :param sums, relevant, shares: (candidates,).
    """
    from scipy.optimize import minimize

    weights = shares / shares.sum()
    centre = float(weights @ sums)  # centred, the two parameters hardly depend on each other

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = parameters[0] * (sums - centre) + parameters[1]
        error = weights * (1.0 / (1.0 + np.exp(-z)) - relevant)
        value = float(weights @ (np.logaddexp(0.0, z) - relevant * z))
        return value, np.array([error @ (sums - centre), error.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, 100.0), (-100.0, 100.0)])
    scale, intercept = (float(each) for each in found.x)
    return scale, intercept - scale * centre


def in_final_order(window: Window, head: RelevanceHead, weights: Weights) -> tuple[Ranked, ...]:
    """The window's candidates in the order of the blend."""
    return in_order(blend(relevance(window, head), window.request.candidates, weights, window.asked))


def relevance(window: Window, head: RelevanceHead) -> list[float]:
    """z of each candidate, in log-odds."""
    candidates = window.request.candidates
    top = top_score(candidates)
    interactions = [None] * len(candidates) if window.interactions is None else window.interactions.tolist()
    return [
        head.z(each.retrieval_score, top, cosine=each.cosine, interaction=interaction)
        for each, interaction in zip(candidates, interactions, strict=True)
    ]


def ndcg_at_10(windows: Sequence[Window], head: RelevanceHead, weights: Weights) -> float:
    """Mean nDCG@10 (linear gain, ir-measures) of the windows in the order of the blend."""
    return float(np.mean(ndcg_by_query(windows, head, weights)))


def ndcg_by_query(windows: Sequence[Window], head: RelevanceHead, weights: Weights) -> list[float]:
    """nDCG@10 of each window, as :func:`ndcg_at_10` averages it."""
    ranked = [in_final_order(window, head, weights) for window in windows]
    return _ndcg(windows, [[each.candidate.doc_id for each in order] for order in ranked])


def ndcg_of_orders(windows: Sequence[Window], orders: Sequence[Sequence[int]]) -> list[float]:
    """nDCG@10 of each window in an order of its places, as :func:`ndcg_at_10` averages it."""
    ids = [[each.doc_id for each in window.request.candidates] for window in windows]
    return _ndcg(windows, [[row[place] for place in order] for row, order in zip(ids, orders, strict=True)])


def _ndcg(windows: Sequence[Window], ranked: Sequence[Sequence[str]]) -> list[float]:
    import ir_measures

    qrels = {str(place): dict(window.judgments) for place, window in enumerate(windows)}
    run = {str(place): {doc_id: -float(rank) for rank, doc_id in enumerate(ids)} for place, ids in enumerate(ranked)}
    measure = ir_measures.nDCG @ 10
    values = {each.query_id: float(each.value) for each in ir_measures.iter_calc([measure], qrels, run)}
    return [values[str(place)] for place in range(len(windows))]


def equal_weights(
    collections: Sequence[Sequence[Window]], head: RelevanceHead, factors: Sequence[str] = PRIORS
) -> Weights:
    """The largest equal weight of the factors that costs no collection more than ``ALLOWED_LOSS`` of its nDCG@10."""
    plain = [ndcg_at_10(windows, head, Weights()) for windows in collections]
    best = 0.0
    for step in STEPS[1:]:
        weights = Weights.of(dict.fromkeys(factors, step))
        kept = [ndcg_at_10(windows, head, weights) for windows in collections]
        if any(value < (1.0 - ALLOWED_LOSS) * base for value, base in zip(kept, plain, strict=True)):
            break
        best = step
    return Weights.of(dict.fromkeys(factors, best))


def raised_weights(
    collections: Sequence[Sequence[Window]], head: RelevanceHead, factors: Sequence[str] = PRIORS
) -> Weights:
    """Weights that balance what the factors gain, at a cost to no collection of more than ``ALLOWED_LOSS`` (DESIGN 3).

    From 0 on, the factor whose utility among the first ten has gained least, as a share of what it is without weights,
    gets ``STEP`` more; where that costs too much, the next one. It ends where none can be raised, or at the most that
    weights may sum to. A factor that no candidate has a feature for stays at 0.
    """
    return raised(collections, [[Blended.of(window, head) for window in windows] for windows in collections], factors)


def raised(
    collections: Sequence[Sequence[Window]], blended: Sequence[Sequence[Blended]], factors: Sequence[str]
) -> Weights:
    """As :func:`raised_weights`, of windows that are columns already.

    :param blended: of the collections' windows.
    """
    known = [
        place
        for place, factor in enumerate(PRIORS)
        if factor in factors and any(each.known[place] for columns in blended for each in columns)
    ]
    steps = [0] * len(PRIORS)  # whole numbers: sums of tenths drift
    plain, before = _reached(collections, blended, steps)
    now, going = before, True
    while going and sum(steps) * STEP < MAX_WEIGHT_SUM - STEP / 2:
        going = False
        gains = (now / np.maximum(before, 1e-9)).mean(axis=0).round(9).tolist()
        for place in sorted(known, key=lambda place: (gains[place], steps[place])):
            tried = [*steps[:place], steps[place] + 1, *steps[place + 1 :]]
            kept, reached = _reached(collections, blended, tried)
            if bool((kept >= (1.0 - ALLOWED_LOSS) * plain).all()):
                steps, now, going = tried, reached, True
                break
    return Weights.of({factor: round(count * STEP, 1) for factor, count in zip(PRIORS, steps, strict=True)})


def _reached(
    collections: Sequence[Sequence[Window]], blended: Sequence[Sequence[Blended]], steps: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """With weights of so many steps: nDCG@10 (collections,), and mean utilities of the first ten, (collections,
    factors)."""
    weights = np.array(steps) * STEP
    ndcg: list[float] = []
    utilities: list[NDArray[np.float64]] = []
    for windows, columns in zip(collections, blended, strict=True):
        orders = [each.order(weights) for each in columns]
        ndcg.append(float(np.mean(ndcg_of_orders(windows, orders))))
        utilities.append(np.mean([each.at_10(order) for each, order in zip(columns, orders, strict=True)], axis=0))
    return np.array(ndcg), np.array(utilities)


@dataclass(frozen=True, slots=True)
class Blended:
    """A window as columns, so that many weights can be tried: the sum of ``blend`` and its order."""

    #: (candidates,).
    zs: NDArray[np.float64]
    #: (candidates, factors): 1/2 where a feature is unknown; and the same less 1/2, times the gates.
    utilities: NDArray[np.float64]
    pulls: NDArray[np.float64]
    #: (candidates,).
    ranks: NDArray[np.int64]
    #: (factors,): whether a candidate has the feature.
    known: Sequence[bool]

    @classmethod
    def of(cls, window: Window, head: RelevanceHead) -> Blended:
        """The window, its relevance by a head."""
        candidates = window.request.candidates
        stored = [[np.nan if each is None else each for each in priors_of(one.features)] for one in candidates]
        features = np.array(stored, dtype=np.float64).reshape(len(candidates), len(PRIORS))
        utilities = np.nan_to_num(features, nan=NEUTRAL)
        gates = np.array([window.asked[factor] for factor in PRIORS])
        ranks = np.array([each.retrieval_rank for each in candidates], dtype=np.int64)
        known = [bool(np.isfinite(column).any()) for column in features.T]
        return cls(np.array(relevance(window, head)), utilities, (utilities - NEUTRAL) * gates, ranks, known)

    def order(self, weights: NDArray[np.float64]) -> list[int]:
        """The places by (-z_final, retrieval_rank).

        :param weights: (factors,).
        """
        ordered: list[int] = np.lexsort((self.ranks, -(self.zs + self.pulls @ weights))).tolist()
        return ordered

    def at_10(self, order: Sequence[int]) -> NDArray[np.float64]:
        """(factors,): mean utilities of the first ten of an order; 1/2 where nothing was found."""
        if not order:
            return np.full(len(PRIORS), NEUTRAL)
        means: NDArray[np.float64] = self.utilities[list(order[:10])].mean(axis=0)
        return means


#: How weights are found, by the setting ``weights``.
WEIGHTINGS = {"equal": equal_weights, "raised": raised_weights}
