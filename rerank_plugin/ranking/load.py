"""Opening the configured ranker: the only place of this room that touches files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_plugin.domain.factors import Weights
from rerank_plugin.ranking.ranker import ModelRanker
from rerank_plugin.ranking.relevance import RelevanceHead

if TYPE_CHECKING:
    from rerank_plugin.config import Rerank


def load_ranker(settings: Rerank) -> ModelRanker:
    """The ranker of the configured model folder, else of the shipped one.

    :raises ModelFolderError: the folder is missing, broken, tampered with or not calibrated.
    """
    from rerank_plugin.models.folder import ModelFolder, default_model_folder
    from rerank_plugin.models.load import open_encoder, open_model

    folder = ModelFolder.open(settings.model or default_model_folder())
    head = RelevanceHead.from_manifest(folder.manifest.relevance, where=str(folder.path))
    model = open_model(folder, threads=settings.threads)
    return ModelRanker(
        model,
        head,
        Weights.of(folder.manifest.weights),
        # Beside a cross-encoder the shipped trunk reads queries for the vectors, which it then must have made.
        queries=open_encoder(folder, threads=settings.threads) if settings.vectors or settings.vector_field else None,
        unknown_share=model.unknown_share,
    )
