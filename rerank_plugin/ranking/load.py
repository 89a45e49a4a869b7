"""Opening the configured ranker: the only place of this room that touches files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_plugin.domain.factors import Weights
from rerank_plugin.ranking.gate import LearnedGates
from rerank_plugin.ranking.ranker import ModelRanker
from rerank_plugin.ranking.relevance import RelevanceHead
from rerank_plugin.ranking.types import Ranker

if TYPE_CHECKING:
    from rerank_plugin.config import Rerank


def open_ranker(settings: Rerank) -> Ranker:
    """The ranker of the settings: over a server where they name one, else over a model folder.

    :raises ConfigError: the file with the server's key cannot be read.
    :raises ModelFolderError: the folder cannot be used.
    """
    if settings.scorer is None:
        return load_ranker(settings)
    from rerank_plugin.config import api_key
    from rerank_plugin.ranking.remote import RemoteRanker

    return RemoteRanker(settings.scorer, key=api_key())


def load_ranker(settings: Rerank) -> ModelRanker:
    """The ranker of the configured model folder, else of the shipped one.

    :raises ModelFolderError: the folder is missing, broken, tampered with or not calibrated.
    """
    from rerank_plugin.models.folder import ModelFolder, default_model_folder
    from rerank_plugin.models.load import open_encoder, open_model
    from rerank_plugin.models.types import TextEncoder

    folder = ModelFolder.open(settings.model or default_model_folder())
    head = RelevanceHead.from_manifest(folder.manifest.relevance, where=str(folder.path))
    model = open_model(folder, threads=settings.threads)
    # Beside a cross-encoder the shipped trunk reads queries for the vectors, which it then must have made.
    queries = open_encoder(folder, threads=settings.threads) if settings.vectors or settings.vector_field else None
    reads = queries or (model if isinstance(model, TextEncoder) else None)
    learned, where = folder.manifest.gate, str(folder.path)
    return ModelRanker(
        model,
        head,
        Weights.of(folder.manifest.weights),
        queries=queries,
        gates=LearnedGates.from_manifest(learned, dimensions=reads.dimensions, where=where) if reads else None,
        unknown_share=model.unknown_share,
        statements=folder.manifest.statements,
    )
