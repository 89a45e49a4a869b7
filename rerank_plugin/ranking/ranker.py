"""The ranker: model inputs, calibrated relevance, blend, order. Many windows in one batched call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_plugin.domain.candidate import Candidate, Ranked, Ranking
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import RerankError
from rerank_plugin.ranking.blend import blend, in_order
from rerank_plugin.ranking.gate import OPEN_GATES, query_gates
from rerank_plugin.ranking.relevance import FirstStage
from rerank_plugin.ranking.vector_cache import Remembered, VectorCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.models.types import TwoModeTrunk
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.ranking.types import RankRequest

#: Candidates whose texts go to the model between two looks at the clock: few at first, since 32 long documents may take
#: seconds, then twice as many each time, so that the overrun is at most about what the search took so far.
FIRST_WAVE = 4
WAVE = 32
#: Document vectors kept: 384 float32 are 1.5 kB, so about 30 MB.
DOCUMENT_VECTORS = 20_000
QUERY_VECTORS = 1_000


@dataclass(slots=True)
class _Scored:
    """What the model has said so far of one request's candidates; ``None`` where it was not reached in time."""

    z: list[float | None]
    #: The query's highest first-stage score.
    top_score: float
    #: Places of candidates of which the model could not read everything.
    truncated: set[int] = field(default_factory=set)
    model_seconds: float = 0.0


class ModelRanker:
    """Ranks windows with one trunk: cosine of vectors (given, cached or encoded now), interaction where it counts."""

    def __init__(
        self,
        trunk: TwoModeTrunk,
        head: RelevanceHead,
        weights: Weights,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trunk = trunk
        self._head = head
        self._weights = weights
        self._clock = clock
        self._documents = VectorCache(DOCUMENT_VECTORS)
        self._queries = VectorCache(QUERY_VECTORS)

    @property
    def model(self) -> str:
        """Name and digest of the trunk."""
        return self._trunk.name

    @property
    def weights(self) -> Weights:
        """The model folder's weights, used where the caller gives none."""
        return self._weights

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """The query's vector, (dimensions,), L2-normalised; remembered."""
        return self._encoded(self._queries, [query])[0].vector

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request, in their order.

        Candidates are scored in waves, best first-stage rank first; what a deadline cuts off is returned as
        ``unscored``, in the first stage's order.

        :raises RerankError: the model gave a value that is no finite number.
        """
        scored = [
            _Scored(z=[None] * len(request.candidates), top_score=top_score(request.candidates)) for request in requests
        ]
        longest = max((len(request.candidates) for request in requests), default=0)
        # Without a deadline nobody looks at the clock, and one large batch is the quickest.
        start, wave = 0, FIRST_WAVE if any(request.deadline is not None for request in requests) else longest
        while start < longest:
            self._score_wave(requests, scored, range(start, start + wave))
            start, wave = start + wave, min(2 * wave, WAVE)
        return [self._ranking(request, result) for request, result in zip(requests, scored, strict=True)]

    def _score_wave(self, requests: Sequence[RankRequest], scored: Sequence[_Scored], places: range) -> None:
        """Scores the candidates at ``places`` of every request whose deadline has not passed."""
        began, start = self._clock(), places.start
        open_requests = [
            (request, result)
            for request, result in zip(requests, scored, strict=True)
            if start < len(request.candidates) and (request.deadline is None or began < request.deadline)
        ]
        waves = [request.candidates[start : places.stop] for request, _ in open_requests]
        texts = {each.text: None for wave in waves for each in wave if each.cosine is None and each.text.strip()}
        documents = dict(zip(texts, self._encoded(self._documents, list(texts)), strict=True))
        for (request, result), wave in zip(open_requests, waves, strict=True):
            interactions = self._interactions(request.query, wave, start, result)
            for offset, (candidate, interaction) in enumerate(zip(wave, interactions, strict=True)):
                cosine = candidate.cosine
                if candidate.text in documents and cosine is None:
                    cosine = float(documents[candidate.text].vector @ self.encode_query(request.query))
                    if documents[candidate.text].truncated:
                        result.truncated.add(start + offset)
                z = self._head.z(_first_stage(candidate, result.top_score), cosine=cosine, interaction=interaction)
                if not math.isfinite(z):
                    raise RerankError(f"the model gave {z} for document {candidate.doc_id!r}; wanted a finite number")
                result.z[start + offset] = z
            result.model_seconds += self._clock() - began

    def _encoded(self, cache: VectorCache, texts: Sequence[str]) -> list[Remembered]:
        """What encoding each text gives; those not remembered go to the trunk in one batch."""
        found = [cache.get(text) for text in texts]
        missing = [text for text, each in zip(texts, found, strict=True) if each is None]
        fresh: dict[str, Remembered] = {}
        if missing:
            encoded = self._trunk.encode(missing)
            for text, vector, truncated in zip(missing, encoded.vectors, encoded.truncated, strict=True):
                fresh[text] = Remembered(vector.copy(), bool(truncated))  # a view would keep its whole batch alive
                cache.put(text, fresh[text])
        return [fresh[text] if each is None else each for text, each in zip(texts, found, strict=True)]

    def _interactions(self, query: str, wave: Sequence[Candidate], start: int, result: _Scored) -> list[float | None]:
        if not self._head.needs_interaction:
            return [None] * len(wave)
        with_text = [place for place, each in enumerate(wave) if each.text.strip()]
        said = self._trunk.interact(query, [wave[place].text for place in with_text])
        logits: list[float | None] = [None] * len(wave)
        for place, logit, truncated in zip(with_text, said.logits, said.truncated, strict=True):
            logits[place] = float(logit)
            if truncated:
                result.truncated.add(start + place)
        return logits

    def _ranking(self, request: RankRequest, result: _Scored) -> Ranking:
        weights = self._weights if request.weights is None else request.weights
        gates = query_gates(request.query) if request.weights is None else OPEN_GATES
        ranked: list[Ranked] = []
        unscored: list[Candidate] = []
        for candidate, z in zip(request.candidates, result.z, strict=True):
            if z is None:
                unscored.append(candidate)
            else:
                ranked.append(blend(z, candidate, weights, gates))
        return Ranking(
            ranked=in_order(ranked),
            unscored=tuple(unscored),
            weights=weights,
            model=self.model,
            truncated=len(result.truncated),
            features_missing=sum(each.features.missing > 0 for each in request.candidates),
            model_ms=1000.0 * result.model_seconds,
        )


def top_score(candidates: Sequence[Candidate]) -> float:
    """The highest first-stage score among them; 0 where none has one."""
    return max((each.retrieval_score for each in candidates if each.retrieval_score is not None), default=0.0)


def _first_stage(candidate: Candidate, top: float) -> FirstStage | None:
    return None if candidate.retrieval_score is None else FirstStage(candidate.retrieval_score, top)
