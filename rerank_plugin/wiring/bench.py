"""What the arms of a comparison need, opened once: client, vectors, encoder; and the arms themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rerank_plugin import wiring
from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError, VectorIndexError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.domain.index_meta import IndexMeta
    from rerank_plugin.evaluation.arms import Arm, DenseSearch, Target
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.evaluation.rivals import Candidates, Lesson, Teaching
    from rerank_plugin.evaluation.runs import Run
    from rerank_plugin.evaluation.specs import ArmSpec
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.models.types import TextEncoder
    from rerank_plugin.retrieval.dense import VectorIndex
    from rerank_plugin.wiring import Progress, Setup


class Bench:
    """One index with everything that arms ask it with; opened lazily, each thing once."""

    def __init__(self, setup: Setup) -> None:
        """Connects; the index, its fields and the vector folder are known to exist then.

        :raises RerankError: one of them does not; errors of the engine's client pass through.
        """
        wiring.require_vectors(setup)
        self.setup = setup
        self.client: Any = wiring.open_engine(setup.engine)
        wiring.require_fields(self.client, setup)
        self.meta: IndexMeta | None = wiring.index_meta(self.client, setup.index)

    @cached_property
    def target(self) -> Target:
        """The index, asked with the plain client."""
        return self.target_of(self.client)

    def target_of(self, client: Any) -> Target:
        """The index, asked with another client."""
        from rerank_plugin.evaluation.arms import FeatureReader, Target

        base = self.setup.settings()
        stored = wiring.DEFAULT_HALF_LIFE_DAYS if self.meta is None else self.meta.half_life_days
        reader = FeatureReader(
            now=self.setup.now, half_life_days=base.half_life_days or stored, field_map=base.field_map
        )
        return Target(client=client, index=self.setup.index, fields=self.setup.fields, reader=reader)

    @cached_property
    def folder(self) -> ModelFolder:
        """The model folder."""
        return wiring.model_folder(self.setup.settings())

    @cached_property
    def encoder(self) -> TextEncoder:
        """What encodes queries: the model, or the shipped trunk beside a cross-encoder."""
        from rerank_plugin.models.load import open_encoder

        return open_encoder(self.folder)

    @cached_property
    def vectors(self) -> VectorIndex | None:
        """The vector folder, where one is given.

        :raises VectorIndexError: it is broken, or belongs to another index or load.
        """
        from rerank_plugin.retrieval.dense import VectorIndex

        if self.setup.vectors is None:
            return None
        return VectorIndex.open(self.setup.vectors, None if self.meta is None else self.meta.vectors)

    @cached_property
    def dense(self) -> DenseSearch | None:
        """Search by meaning: query text and how many -> ids with cosines; ``None`` without vectors.

        :raises VectorIndexError: another model made them.
        """
        vectors = self.vectors
        if vectors is None:
            return None
        if vectors.model != self.encoder.name:
            raise VectorIndexError(
                f"{self.setup.vectors} was made by the model {vectors.model}, the one here is {self.encoder.name}: "
                "vectors of two models cannot be compared; load again, or use the other model"
            )
        return lambda text, k: vectors.search(self.encode(text), k)

    def encode(self, text: str) -> NDArray[np.float32]:
        """A query's vector."""
        from rerank_plugin.models.types import encoded_query

        return encoded_query(self.encoder, text)

    def titles(self, ids: Sequence[str]) -> dict[str, str]:
        """One line for each document that the engine has: its title, else the beginning of its text."""
        from rerank_plugin.client.candidates import text_of

        fields = self.meta.text_fields if self.meta is not None and self.meta.text_fields else self.setup.fields
        paths = ["title", *(field.partition("^")[0] for field in fields)]
        sources = self.target.sources(ids, paths)
        return {
            document: " ".join(text.split())
            for document, source in sources.items()
            if (text := text_of(source, ["title"]) or text_of(source, paths))
        }

    def arm(self, spec: ArmSpec, first_stage: Run | None) -> Arm:
        """The arm of a specification; ``sum`` and ``lightgbm`` are :class:`Rivals`' business.

        :param first_stage: what reranking arms rerank in place of their own search.
        :raises RerankError: it needs vectors and there are none, or its settings do not go together.
        """
        from rerank_plugin.evaluation.arms import DEPTH, FUSION_DEPTH, DenseArm, FusedArm, RunArm, SearchArm
        from rerank_plugin.evaluation.runs import read_trec

        if spec.kind == "bm25":
            return SearchArm(target=self.target)
        if spec.kind == "run":
            return RunArm(target=self.target, run=read_trec(spec.options["file"]))
        if spec.kind == "hybrid":
            return self._hybrid(str(spec.options.get("field", "")))
        if spec.kind == "rerank":
            settings = self._rerank_settings(spec, given=first_stage is not None)
            target = self.target_of(wiring.open_reranking(self.setup.engine, settings))
            return self._diverse(
                spec, SearchArm(target=target, first_stage=first_stage, most=max(DEPTH, settings.window))
            )
        if self.dense is None:
            raise ConfigError(f"the arm {spec.kind} needs --vectors, the folder that rerank-index load wrote")
        if spec.kind == "dense":
            return DenseArm(target=self.target, dense=self.dense)
        return FusedArm(target=self.target, dense=self.dense, depth=spec.options.get("depth", FUSION_DEPTH))

    def _rerank_settings(self, spec: ArmSpec, *, given: bool) -> Rerank:
        from dataclasses import replace

        settings = spec.rerank(self.setup.settings())
        if not given:
            return settings
        # A run's candidates are fixed, so vectors may not add to them; and no words are searched that would say what
        # the model is to read.
        fields = settings.text_fields or (() if self.meta is not None and self.meta.text_fields else self.setup.fields)
        plain = tuple(field.partition("^")[0] for field in fields)
        return replace(settings, dense="off" if settings.dense == "off" else "reorder", text_fields=plain)

    def _diverse(self, spec: ArmSpec, arm: Arm) -> Arm:
        """The arm, with the last step that its specification asks for."""
        from rerank_plugin.evaluation.diverse import TRADE, DiverseArm

        method = spec.options.get("diversify")
        if method is None:
            return arm
        if self.vectors is None:
            raise ConfigError(f"the arm {spec.label} needs --vectors: diversity is measured between vectors")
        trade = spec.options.get("trade", TRADE)
        return DiverseArm(arm=arm, method=method, trade=trade, vectors=self.vectors.rows)

    def _hybrid(self, wanted: str) -> Arm:
        from rerank_plugin.evaluation.hybrid import HybridArm, vector_field

        mappings = [each["mappings"] for each in wiring.read_mapping(self.client, self.setup.index).values()]
        field = vector_field(mappings, wanted, self.encoder.dimensions)
        return HybridArm(target=self.target, field=field, encode=lambda text: self.encode(text).tolist())


@dataclass
class Rivals:
    """Makes the arms that learn; the lessons are fetched once for all of them."""

    bench: Bench
    collection: Collection
    teaching: Teaching | None
    seed: int
    progress: Progress

    @cached_property
    def candidates(self) -> Candidates:
        """What finds their candidates."""
        from rerank_plugin.evaluation.rivals import Candidates

        return Candidates(target=self.bench.target, dense=self.bench.dense)

    @cached_property
    def lessons(self) -> list[Lesson]:
        """Of the teaching's queries, else of the collection's own."""
        from rerank_plugin.evaluation.rivals import lessons_of

        source = self.collection if self.teaching is None else self.teaching.collection
        with self.progress("lessons", len(source.queries)) as step:
            return lessons_of(self.candidates, source.queries, source.qrels, step)

    def arm(self, spec: ArmSpec) -> Arm:
        """The arm of a specification.

        :raises RerankError: there is nothing to learn from, or a package is absent.
        """
        from functools import partial

        from rerank_plugin.evaluation.rivals import Learner, learn_lightgbm, learn_sum, learned_arm

        learner: Learner = learn_sum if spec.kind == "sum" else partial(learn_lightgbm, seed=self.seed)
        teaching = "" if self.teaching is None else self.teaching.name
        return learned_arm(self.candidates, self.lessons, learner, self.collection, teaching, self.seed)


def open_arms(
    bench: Bench, specs: Sequence[ArmSpec], rivals: Rivals, first_stage: Run | None
) -> list[Callable[[], Arm]]:
    """One opener per specification. What can be opened at once is: its errors come before the first query is asked.

    :raises RerankError: an arm needs what is not there.
    """
    from rerank_plugin.evaluation.rivals import require_learning

    openers: list[Callable[[], Arm]] = []
    for spec in specs:
        if spec.kind in {"sum", "lightgbm"}:
            require_learning(spec.kind, rivals.collection, rivals.teaching)
            openers.append(lambda spec=spec: rivals.arm(spec))  # type: ignore[misc]
        else:
            arm = bench.arm(spec, first_stage)
            openers.append(lambda arm=arm: arm)  # type: ignore[misc]
    return openers
