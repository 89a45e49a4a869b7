"""What an index is, beside its documents: one JSON file, replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank_plugin.engines.embedded.mapping import Mapping
from rerank_plugin.engines.embedded.segments import Column

FILE_NAME = "index.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """One version of the file. ``generation`` names the folder whose columns are ``columns``."""

    uuid: str
    created_ms: int
    #: Flat, as ``number_of_shards`` -> ``"1"``; without the ``index.`` in front.
    settings: dict[str, str]
    mapping: Mapping
    columns: tuple[Column, ...]
    generation: int

    @property
    def folder(self) -> str:
        """Name of the generation's folder."""
        return f"generation-{self.generation}"


def read_metadata(directory: Path) -> Metadata:
    """The metadata of the index in ``directory``.

    :raises OSError: there is none, or it cannot be read.
    :raises ValueError: it is not as this release writes it.
    """
    text = (directory / FILE_NAME).read_text(encoding="utf-8")
    try:
        stored = json.loads(text)
        if stored["format"] != FORMAT:
            raise ValueError(f"{directory / FILE_NAME} has format {stored['format']}, this release reads {FORMAT}")
        return Metadata(
            uuid=stored["uuid"],
            created_ms=stored["created_ms"],
            settings=stored["settings"],
            mapping=Mapping.parse(stored["mapping"]),
            columns=tuple(Column(**each) for each in stored["columns"]),
            generation=stored["generation"],
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{directory / FILE_NAME} is damaged ({error!r}); load the index again") from error


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Puts the file in place in one step that a crash cannot split.

    :raises OSError: it cannot be written; the old file is then still there.
    """
    stored: dict[str, Any] = {
        "format": FORMAT,
        "uuid": metadata.uuid,
        "created_ms": metadata.created_ms,
        "settings": metadata.settings,
        "mapping": metadata.mapping.json,
        "columns": [{"path": each.path, "name": each.name, "kind": each.kind} for each in metadata.columns],
        "generation": metadata.generation,
    }
    replace_file(directory / FILE_NAME, json.dumps(stored))


def replace_file(path: Path, text: str) -> None:
    """Writes ``text`` beside ``path``, makes it durable, and renames it over ``path``.

    :raises OSError: nothing was changed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return  # a directory cannot be opened there
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
