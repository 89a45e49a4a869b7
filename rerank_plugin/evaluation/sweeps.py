"""How much of a setting is right: windows, deadlines, and weights with the front between relevance and each factor."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rerank_plugin.domain.factors import MAX_WEIGHT_SUM, PRIORS, Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import Answer, Found

#: What can be swept -> its values where none are given; of weights, how many points.
KINDS: Mapping[str, tuple[float, ...]] = {
    "window": (10, 20, 50, 100, 200),
    "deadline_ms": (5, 10, 20, 50, 100),
    "weights": (64,),
}
_SINGLE = (0.25, 0.5, 1.0, 2.0, 4.0)
_EQUAL = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A setting and the values to try."""

    kind: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """``window``, ``window=10,50`` or ``weights=200``.

        :raises ConfigError: an unknown setting, or a value that is no number above 0.
        """
        kind, sign, rest = text.strip().partition("=")
        if kind not in KINDS:
            raise ConfigError(f"--sweep {text!r}: what can be swept is {', '.join(KINDS)}")
        try:
            values = tuple(float(each) for each in rest.split(",")) if sign else KINDS[kind]
        except ValueError as error:
            raise ConfigError(f"--sweep {text!r}: values are numbers, as in {kind}=10,50") from error
        whole = kind != "deadline_ms"
        if not all(0 < each <= 1e6 and (float(each).is_integer() or not whole) for each in values):
            raise ConfigError(f"--sweep {text!r}: values are {'whole ' if whole else ''}numbers above 0")
        if kind == "weights" and len(values) > 1:
            raise ConfigError(f"--sweep {text!r}: weights takes one number, how many points to try")
        return cls(kind, values)


def weight_points(count: int, *, seed: int) -> list[Weights]:
    """Weights to try: none, each factor alone, all alike, then random ones up to ``count`` in all."""
    points = [Weights()]
    points += [Weights(**{factor: value}) for factor in PRIORS for value in _SINGLE]
    points += [Weights(**dict.fromkeys(PRIORS, value)) for value in _EQUAL]
    source = random.Random(seed)
    while len(points) < count:
        shares = [source.expovariate(1.0) for _ in PRIORS]
        total = source.uniform(0.0, MAX_WEIGHT_SUM)
        scaled = (round(total * share / sum(shares), 3) for share in shares)
        points.append(Weights(**dict(zip(PRIORS, scaled, strict=True))))
    return points


def reblended(answer: Answer, weights: Weights) -> Answer:
    """The answer as it would have been with these weights given: exact, because the blend is a sum (DESIGN 3).

    The answer must hold everything that was scored. Documents without a z keep their places behind the others.
    """

    def key(found: Found) -> tuple[float, int]:
        terms = found.said["factors"]
        z = found.said["z"] + sum(weights[factor] * (terms[factor]["utility"] - 0.5) for factor in PRIORS)
        return -z, found.said["retrieval_rank"]

    scored = sorted((each for each in answer.found if each.said.get("z") is not None), key=key)
    others = [each for each in answer.found if each.said.get("z") is None]
    placed = [replace(each, score=-float(rank)) for rank, each in enumerate((*scored, *others), start=1)]
    return replace(answer, found=tuple(placed))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other point beats or equals in both coordinates, by rising first coordinate."""
    order = sorted(range(len(points)), key=lambda place: (-points[place][0], -points[place][1], place))
    front: list[int] = []
    highest = float("-inf")
    for place in order:
        if points[place][1] > highest:
            front.append(place)
            highest = points[place][1]
    return front[::-1]


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """The area that the points dominate, from (0, 0) on: for coordinates in [0, 1] a share of what is possible."""
    area, left = 0.0, 0.0
    for place in pareto_front(points):
        x, y = points[place]
        area += (x - left) * y
        left = x
    return area


def weights_json(points: Sequence[Mapping[str, Any]], measure: str, factors_key: str) -> dict[str, Any]:
    """The points with the front and the hypervolume between the measure and each factor that is known.

    :param points: each with ``weights``, the measure, and the factor means under ``factors_key``.
    """
    fronts: dict[str, list[int]] = {}
    volumes: dict[str, float] = {}
    for factor in PRIORS:
        pairs = [(float(each[measure]), each[factors_key][factor]) for each in points]
        if any(value is None for _, value in pairs):
            continue
        known = [(x, float(y)) for x, y in pairs]
        fronts[factor], volumes[factor] = pareto_front(known), hypervolume(known)
    return {"points": list(points), "front": fronts, "hypervolume": volumes}
