"""From a model folder to what runs it, by the kind that its manifest names."""

from __future__ import annotations

from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.plain import OnnxCrossEncoder, OnnxEncoder
from rerank_plugin.models.trunk import OnnxTrunk

Model = OnnxTrunk | OnnxCrossEncoder | OnnxEncoder


def open_model(folder: ModelFolder, *, threads: int | None = None) -> Model:
    """The model of a folder. Nothing is loaded before the first text.

    :param threads: batches that run at the same time; ``None`` is one per core this process may use.
    :raises ConfigError: fewer than one thread.
    """
    runs: dict[str, type[Model]] = {
        "two-mode": OnnxTrunk,
        "cross-encoder": OnnxCrossEncoder,
        "encoder": OnnxEncoder,
    }
    return runs[folder.manifest.kind](folder, threads=threads)


def open_encoder(folder: ModelFolder, *, threads: int | None = None) -> OnnxTrunk | OnnxEncoder:
    """What makes the vectors beside a folder's scores: its own model, or the shipped trunk beside a cross-encoder.

    :raises ConfigError: fewer than one thread.
    :raises ModelFolderError: the shipped folder is broken.
    """
    found = open_model(folder, threads=threads)
    if isinstance(found, OnnxCrossEncoder):
        return OnnxTrunk(ModelFolder.open(default_model_folder()), threads=threads)
    return found
