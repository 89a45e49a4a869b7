"""The one place that joins the rooms for the commands: clients, vectors, models, arms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.config import Rerank
from rerank_plugin.errors import DataError, VectorIndexError

if TYPE_CHECKING:
    from rerank_plugin.domain.factors import Weights
    from rerank_plugin.domain.index_meta import IndexMeta
    from rerank_plugin.evaluation.collection import Collection
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.ranking.types import RankRequest
    from rerank_plugin.training.calibrate import Window

#: Makes a progress bar: (label, steps) -> a context with a function to call after each step.
Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]

#: Half-life of freshness for an index that says nothing of its own.
DEFAULT_HALF_LIFE_DAYS = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Which index is asked, with what, at which time."""

    engine: str
    index: str
    #: The clock of freshness and age.
    now: datetime
    #: What a word search looks in.
    fields: tuple[str, ...] = ("content",)
    #: Folder of the vector index; ``None`` leaves out everything dense.
    vectors: Path | None = None
    #: Settings of the reranking client that the rest builds on.
    base: Rerank = field(default_factory=Rerank)

    def settings(
        self, *, weights: Weights | None = None, window: int | None = None, model: Path | None = None
    ) -> Rerank:
        """The reranking settings: the vector index adds candidates where there is one.

        :raises ConfigError: the window is out of range.
        """
        settings = replace(
            self.base,
            now=self.now,
            weights=self.base.weights if weights is None else weights,
            model=self.base.model if model is None else model,
            vectors=self.vectors,
            dense=self.base.dense if self.vectors is None or self.base.dense == "off" else "extend",
        )
        return settings if window is None else replace(settings, window=window)


def open_engine(engine: str) -> Any:
    """opensearch-py's own client for an engine URL, without reranking.

    :raises RerankError: the URL is of no known form, or the embedded engine cannot be opened.
    """
    from rerank_plugin.engines.connect import connect

    return connect(engine)


def open_reranking(engine: str, settings: Rerank) -> Any:
    """The drop-in client for an engine URL: what applications use.

    :raises RerankError: as :func:`open_engine`; a setting is wrong.
    """
    from rerank_plugin.client.opensearch import wrap

    return wrap(open_engine(engine), rerank=settings)


def model_folder(settings: Rerank) -> ModelFolder:
    """The configured model folder, else the shipped one.

    :raises ModelFolderError: there is none, or it is broken.
    """
    from rerank_plugin.models.folder import ModelFolder, default_model_folder

    return ModelFolder.open(settings.with_environment().model or default_model_folder())


def index_meta(client: Any, index: str) -> IndexMeta | None:
    """What the index says of itself; ``None`` for one that was never enriched, or whose mapping may not be read.

    Other errors of the engine's client pass through: a missing index is known before any work is done.
    """
    from rerank_plugin.client.meta import parse_mapping

    return next(iter(parse_mapping(read_mapping(client, index)).metas.values()), None)


def read_mapping(client: Any, index: str) -> dict[str, Any]:
    """Mapping of each concrete index; empty where it may not be read."""
    from opensearchpy.exceptions import AuthorizationException

    try:
        found: dict[str, Any] = client.indices.get_mapping(index=index)
    except AuthorizationException:
        return {}
    return found


def search(setup: Setup, settings: Rerank, text: str, *, size: int) -> dict[str, Any]:
    """The engine's response to a word search, reranked, with the additions of DESIGN 6.

    :raises DataError: nothing was found because the index has none of the fields; errors of the client pass through.
    """
    from rerank_plugin.evaluation.arms import query_body

    require_vectors(setup)
    client = open_reranking(setup.engine, settings)
    response: dict[str, Any] = client.search(
        index=setup.index, body={"query": query_body(text, setup.fields), "size": size}
    )
    if not response["hits"]["hits"]:
        require_fields(client, setup)
    return response


def require_vectors(setup: Setup) -> None:
    """Nothing, where the vector folder exists or none is wanted: the client would go on without, and say so.

    :raises VectorIndexError: it does not exist.
    """
    if setup.vectors is not None and not setup.vectors.is_dir():
        raise VectorIndexError(
            f"there is no folder {setup.vectors}; give the one that rerank-index load --vectors wrote"
        )


def require_fields(client: Any, setup: Setup) -> None:
    """Nothing, where the index has one of the fields: engines find nothing, silently, in one that does not exist.

    :raises DataError: it has none of them; the message names those it has.
    """
    known: set[str] = set()
    for mapping in read_mapping(client, setup.index).values():
        known |= set(mapping["mappings"].get("properties", {}))
    wanted = {field.partition("^")[0].partition(".")[0] for field in setup.fields}
    if known and not wanted & known and not any("*" in field for field in wanted):
        raise DataError(
            f"the index {setup.index} has no field {', '.join(sorted(wanted))}; "
            f"it has {', '.join(sorted(known - {'rerank'}))}: choose with --fields"
        )


def engine_version(client: Any) -> str:
    """Distribution and version of the engine, as it tells; ``unknown`` where it does not tell.

    It is told in ``GET /``, which a user may not be allowed and a proxy may not pass on: no reason not to judge.
    """
    from opensearchpy.exceptions import TransportError

    try:
        version = client.info().get("version", {})
    except TransportError as error:
        if not isinstance(error.status_code, int):
            raise  # the engine was not reached
        return f"unknown ({error.status_code})"
    return f"{version.get('distribution', 'elasticsearch')} {version.get('number', 'unknown')}"


def calibration_windows(setup: Setup, collection: Collection, model: Path, *, progress: Progress) -> list[Window]:
    """The windows that the read path hands to the ranker for every query of a judged collection.

    :raises RerankError: the engine, the vectors or the model cannot be used, or a search was not reranked.
    """
    from rerank_plugin.client.opensearch import wrap
    from rerank_plugin.client.pipeline import Pipeline
    from rerank_plugin.domain.statements import texts_of
    from rerank_plugin.evaluation.arms import query_body
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.models.load import open_encoder, open_model
    from rerank_plugin.models.types import PairScorer
    from rerank_plugin.training.calibrate import Window
    from rerank_plugin.training.windows import RecordingRanker

    folder = ModelFolder.open(model)
    reader = open_model(folder)
    closed = bool(folder.manifest.interaction.get("closed"))
    recorder = RecordingRanker(open_encoder(folder))
    client = wrap(open_engine(setup.engine), pipeline=Pipeline(setup.settings(), ranker=recorder))
    windows: list[Window] = []
    requests: dict[tuple[str, frozenset[str]], RankRequest] = {}
    with progress(collection.name, len(collection.queries)) as step:
        for query in collection.queries:
            body = {"query": query_body(query.text, setup.fields, drop=query.drop), "size": 1, "_source": False}
            said = client.search(index=setup.index, body=body)["rerank"]
            if said["status"] != "applied":
                raise DataError(f"query {query.query_id} of {collection.name} was not reranked: {said['reason']}")
            asked = (query.text, query.drop)
            if recorder.requests:  # else the client still keeps the order of an equal query
                requests[asked] = recorder.requests.pop()
            request = requests[asked]
            interactions = None
            if isinstance(reader, PairScorer) and not closed:
                texts = texts_of(request.candidates, statements=folder.manifest.statements)
                said_by_pair = reader.interact(query.text, texts)
                interactions = said_by_pair.logits.astype("float64")
            judgments = {key: grade for key, grade in collection.qrels[query.query_id].items() if key not in query.drop}
            window = Window(request, interactions, judgments, open=query.drop, collection=collection.name)
            windows.append(window)
            step()
    return windows
