"""Gates of a model folder: learned from queries that say what they ask for, and put on windows as serving puts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Query
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.training.calibrate import Window


def learned_gates(queries: Iterable[Query], folder: ModelFolder) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The ``gate`` of a folder's manifest, and by factor what came of learning it.

    Where no query says what it asks for, the folder keeps the gate that it has, and the account is empty.
    """
    import numpy as np

    from rerank_plugin.models.load import open_encoder
    from rerank_plugin.models.types import encoded_query
    from rerank_plugin.training.gates import fit_gates

    asks = {query.text: query.asks for query in queries if query.asks is not None}
    if not asks:
        return folder.manifest.gate, {}
    encoder = open_encoder(folder)
    return fit_gates(list(asks), list(asks.values()), np.stack([encoded_query(encoder, text) for text in asks]))


def gated(windows: Sequence[Window], folder: ModelFolder, gate: Mapping[str, Any]) -> list[Window]:
    """The windows with the gates that serving gives their queries."""
    from rerank_plugin.models.load import open_encoder
    from rerank_plugin.models.types import encoded_query
    from rerank_plugin.ranking.gate import LearnedGates

    encoder = open_encoder(folder)
    learned = LearnedGates.from_manifest(gate, dimensions=encoder.dimensions, where=str(folder.path))
    if learned is None:
        return list(windows)
    texts = [each.request.query for each in windows]
    return [
        replace(each, gates=learned(text, encoded_query(encoder, text)))
        for each, text in zip(windows, texts, strict=True)
    ]
