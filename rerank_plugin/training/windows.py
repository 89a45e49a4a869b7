"""Windows for calibration, taken where rankings are made: a ranker that keeps what the read path hands it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_plugin.domain.candidate import Ranking
from rerank_plugin.domain.factors import Weights
from rerank_plugin.models.types import encoded_query
from rerank_plugin.ranking.blend import blend
from rerank_plugin.ranking.gate import OPEN_GATES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.models.types import TextEncoder
    from rerank_plugin.ranking.types import RankRequest


class RecordingRanker:
    """Leaves every window in the first stage's order and keeps it, each candidate with its cosine.

    :param encoder: makes the cosines: the model itself, or what stands beside a cross-encoder.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.requests: list[RankRequest] = []

    @property
    def model(self) -> str:
        """Name of the encoder."""
        return self._encoder.name

    @property
    def encoder(self) -> str:
        """Its name once more, so that its vector indexes are accepted."""
        return self._encoder.name

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """(dimensions,), L2-normalised."""
        return encoded_query(self._encoder, query)

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """The windows as they came."""
        self.requests += [self._with_cosines(request) for request in requests]
        return [self._as_found(request) for request in requests]

    def _with_cosines(self, request: RankRequest) -> RankRequest:
        unknown = [each.text for each in request.candidates if each.cosine is None and each.text.strip()]
        if not unknown:
            return request
        query = self.encode_query(request.query)
        cosines = iter((self._encoder.encode(unknown).vectors @ query).tolist())
        candidates = tuple(
            replace(each, cosine=next(cosines)) if each.cosine is None and each.text.strip() else each
            for each in request.candidates
        )
        return replace(request, candidates=candidates)

    def _as_found(self, request: RankRequest) -> Ranking:
        ranks = [-float(each.retrieval_rank) for each in request.candidates]
        return Ranking(
            ranked=tuple(blend(ranks, request.candidates, Weights(), OPEN_GATES)),
            unscored=(),
            weights=Weights(),
            model=self.model,
            truncated=0,
            features_missing=0,
            model_ms=0.0,
        )
