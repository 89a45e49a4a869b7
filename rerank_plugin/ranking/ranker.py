"""The ranker: model inputs, calibrated relevance, blend, order. Many windows in one batched call.

A model offers what it can: vectors of texts, a joint reading of query and text, or both. Documents whose text it cannot
read, because there is none or because its language is unknown, keep their place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_plugin.domain.candidate import Candidate, Ranking
from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.statements import stated, statement_of
from rerank_plugin.errors import RerankError
from rerank_plugin.models.types import PairScorer, TextEncoder, encoded_query
from rerank_plugin.ranking.gate import query_gates
from rerank_plugin.ranking.language import Language
from rerank_plugin.ranking.passages import each_best, passages_of
from rerank_plugin.ranking.scored import Scored, ranking_of
from rerank_plugin.ranking.vector_cache import Remembered, VectorCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.ranking.gate import LearnedGates
    from rerank_plugin.ranking.relevance import RelevanceHead
    from rerank_plugin.ranking.types import RankRequest

#: Candidates whose texts go to the model between two looks at the clock: few at first, since 32 long documents may take
#: seconds, then twice as many each time, so that the overrun is at most about what the search took so far.
FIRST_WAVE = 4
WAVE = 32
#: Document vectors kept: 384 float32 are 1.5 kB, so about 30 MB.
DOCUMENT_VECTORS = 20_000
QUERY_VECTORS = 1_000

#: How many passages of a text are read, and the text.
_Text = tuple[int, str]


class ModelRanker:
    """Ranks windows with one model: cosine of vectors (given, cached or encoded now), interaction where it counts.

    :param trunk: the two-mode trunk, an encoder, or a cross-encoder; then cosines are only those that are given.
    :param queries: encodes queries for a vector index that another model made; ``None`` takes ``trunk`` if it encodes.
    :param gates: what was learned of queries, beside the word list; it reads them with the vectors of ``encoder``.
    :param unknown_share: how much of a text is none of the model's words, in [0, 1]; ``None``: every text is readable.
    :param statements: whether query and text are read together with what is known of the document in front of the text;
        vectors are of the plain text.
    """

    def __init__(
        self,
        trunk: TextEncoder | PairScorer,
        head: RelevanceHead,
        weights: Weights,
        *,
        queries: TextEncoder | None = None,
        gates: LearnedGates | None = None,
        unknown_share: Callable[[str], float] | None = None,
        statements: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trunk = trunk
        self._encoder = trunk if isinstance(trunk, TextEncoder) else None
        self._scorer = trunk if isinstance(trunk, PairScorer) and head.needs_interaction else None
        self._query_encoder = self._encoder if queries is None else queries
        self._language = Language(trunk.name, unknown_share)
        self._head, self._gates = head, gates
        self._weights = weights
        self.reads_statements = statements
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

    @property
    def encoder(self) -> str:
        """Name of the model whose vectors queries can be compared with; empty where there is none."""
        return "" if self._query_encoder is None else self._query_encoder.name

    def encode_query(self, query: str) -> NDArray[np.float32]:
        """The query's vector, (dimensions,), L2-normalised; remembered.

        :raises RerankError: the model is a cross-encoder, and no encoder was given beside it.
        """
        found = self._queries.get(query)
        if found is None:
            if self._query_encoder is None:
                raise RerankError(f"{self.model} makes no vectors")
            found = Remembered(encoded_query(self._query_encoder, query)[None, :].copy(), truncated=False)
            self._queries.put(query, found)
        vector: NDArray[np.float32] = found.vectors[0]
        return vector

    def gates(self, query: str) -> Mapping[str, float]:
        """How much a query asks for each factor: by the word list, and by what was learned where it encodes."""
        if self._gates is None or self._query_encoder is None:
            return query_gates(query)
        return self._gates(query, self.encode_query(query))

    def refusal(self, query: str) -> str:
        """Why a query is not to be ranked, its language being unknown to the model; empty when it is."""
        return self._language.refusal(query)

    def rank(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """One ranking per request, in their order; what a deadline cut off is ``unscored``.

        :raises RerankError: the model gave a value that is no finite number.
        """
        dense = "" if self.encoder else f"no cosines: {self.model} is a cross-encoder and there are no vectors"
        return [
            ranking_of(request, scored, weights=self._weights, model=self.model, dense=dense, gates_of=self.gates)
            for request, scored in zip(requests, self.score(requests), strict=True)
        ]

    def score(self, requests: Sequence[RankRequest]) -> list[Scored]:
        """What the model says of each request's candidates.

        They are scored in waves, best first-stage rank first, until a deadline cuts the rest off.

        :raises RerankError: the model gave a value that is no finite number.
        """
        scored = [
            Scored(
                z=[None] * len(request.candidates),
                top_score=top_score(request.candidates),
                refusal=self.refusal(request.query),
            )
            for request in requests
        ]
        longest = max((len(request.candidates) for request in requests), default=0)
        # Without a deadline nobody looks at the clock, and one large batch is the quickest.
        start, wave = 0, FIRST_WAVE if any(request.deadline is not None for request in requests) else longest
        while start < longest:
            self._score_wave(requests, scored, range(start, start + wave))
            start, wave = start + wave, min(2 * wave, WAVE)
        return scored

    def _score_wave(self, requests: Sequence[RankRequest], scored: Sequence[Scored], places: range) -> None:
        """Scores the candidates at ``places`` of every request whose deadline has not passed."""
        began, start = self._clock(), places.start
        open_requests = [
            (request, result)
            for request, result in zip(requests, scored, strict=True)
            if start < len(request.candidates)
            and not result.refusal
            and (request.deadline is None or began < request.deadline)
        ]
        waves = [
            self._readable(request.candidates[start : places.stop], start, result) for request, result in open_requests
        ]
        documents = self._vectors([request.passages for request, _ in open_requests], waves)
        for (request, result), wave in zip(open_requests, waves, strict=True):
            cosines = self._cosines(request, wave, documents, start, result)
            interactions = self._interactions(request, wave, start, result)
            for place, (candidate, cosine, interaction) in enumerate(
                zip(wave, cosines, interactions, strict=True), start
            ):
                if cosine is None and interaction is None:
                    result.unread.add(place)
                z = self._head.z(candidate.retrieval_score, result.top_score, cosine=cosine, interaction=interaction)
                if not math.isfinite(z):
                    raise RerankError(f"the model gave {z} for document {candidate.doc_id!r}; wanted a finite number")
                result.z[place] = z
            result.model_seconds += self._clock() - began

    def _cosines(
        self, request: RankRequest, wave: Sequence[Candidate], documents: Mapping[_Text, Remembered], start: int,
        result: Scored,
    ) -> list[float | None]:  # fmt: skip
        """Those that are given, and those of the texts that were encoded."""
        cosines = [each.cosine for each in wave]
        read = [documents.get((request.passages, each.text)) for each in wave] if documents else []
        if any(each is not None for each in read):
            asked = self.encode_query(request.query)
            for offset, each in enumerate(read):
                if each is not None and cosines[offset] is None:
                    cosines[offset] = float((each.vectors @ asked).max())
                    if each.truncated:
                        result.truncated.add(start + offset)
        return cosines

    def _readable(self, wave: Sequence[Candidate], start: int, result: Scored) -> list[Candidate]:
        """The wave, without what models would say of texts in a language that this one does not know."""
        known = [self._language.reads(each.text) for each in wave]
        if all(known):
            return list(wave)
        result.unknown |= {place for place, reads in enumerate(known, start) if not reads}
        return [each if reads else replace(each, text="", cosine=None) for each, reads in zip(wave, known, strict=True)]

    def _vectors(self, most: Sequence[int], waves: Sequence[Sequence[Candidate]]) -> dict[_Text, Remembered]:
        """What encoding gives for each text whose cosine is not known; nothing where the model does not encode.

        :param most: passages read of a text, of each wave.
        """
        if self._encoder is None:
            return {}
        texts = {
            (passages, each.text): None
            for passages, wave in zip(most, waves, strict=True)
            for each in wave
            if each.cosine is None and each.text.strip()
        }
        return dict(zip(texts, self._encoded(self._encoder, list(texts)), strict=True))

    def _encoded(self, encoder: TextEncoder, texts: Sequence[_Text]) -> list[Remembered]:
        """What encoding each document's text gives; those not remembered go to the encoder in one batch."""
        cache = self._documents
        found = [cache.get(_key(text)) for text in texts]
        missing = [text for text, each in zip(texts, found, strict=True) if each is None]
        fresh: dict[_Text, Remembered] = {}
        if missing:
            split = [passages_of(encoder, text, most) for most, text in missing]
            encoded = encoder.encode([piece for pieces in split for piece in pieces])
            start = 0
            for text, pieces in zip(missing, split, strict=True):
                end = start + len(pieces)
                # a view would keep its whole batch alive
                fresh[text] = Remembered(encoded.vectors[start:end].copy(), bool(encoded.truncated[start:end].any()))
                cache.put(_key(text), fresh[text])
                start = end
        return [fresh[text] if each is None else each for text, each in zip(texts, found, strict=True)]

    def _interactions(
        self, request: RankRequest, wave: Sequence[Candidate], start: int, result: Scored
    ) -> list[float | None]:
        if self._scorer is None:
            return [None] * len(wave)
        with_text = [place for place, each in enumerate(wave) if each.text.strip()]
        before = [statement_of(wave[place].features) if self.reads_statements else "" for place in with_text]
        split = [
            passages_of(self._scorer, wave[place].text, request.passages, query=request.query, before=each)
            for place, each in zip(with_text, before, strict=True)
        ]
        texts = [stated(each, piece) for each, pieces in zip(before, split, strict=True) for piece in pieces]
        said = self._scorer.interact(request.query, texts)
        counts = [len(pieces) for pieces in split]
        logits: list[float | None] = [None] * len(wave)
        best = zip(
            with_text, each_best(said.logits.tolist(), counts), each_best(said.truncated.tolist(), counts), strict=True
        )
        for place, logit, truncated in best:
            logits[place] = float(logit)
            if truncated:
                result.truncated.add(start + place)
        return logits


def top_score(candidates: Sequence[Candidate]) -> float:
    """The highest first-stage score among them; 0 where none has one."""
    return max((each.retrieval_score for each in candidates if each.retrieval_score is not None), default=0.0)


def _key(text: _Text) -> str:
    return text[1] if text[0] == 1 else f"{text[0]} passages of {text[1]}"
