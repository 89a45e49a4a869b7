"""Model folders: what a trunk is made of, with the checksums that are verified before anything of it is loaded.

``manifest.json`` (format 1) names the files and carries the numbers learned with them: the interaction head's state,
the calibration of relevance, the factors' weights, the gate, and the figures that were measured. Nothing in a folder is
executed or unpickled: the network is an ONNX graph, the tokenizer and the manifest are JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rerank_plugin.domain.factors import Weights
from rerank_plugin.domain.statements import FORM
from rerank_plugin.errors import ConfigError, ModelFolderError

FORMAT = 1
MANIFEST = "manifest.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
#: Bytes a manifest may have, and each other file: what is larger is refused before it is read.
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
#: Keys of ``files``: what every folder has.
ROLES = ("model", "tokenizer")
#: Kinds of models: the trunk that is encoder and cross-encoder, one of a hub's cross-encoders, an encoder alone.
KINDS = ("two-mode", "cross-encoder", "encoder")
POOLINGS = ("cls", "mean")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECTIONS = ("interaction", "relevance", "weights", "gate", "metrics")
_AGAIN = "reinstall the package or export the model again with `rerank model export`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How texts are laid out for models of the kinds ``cross-encoder`` and ``encoder``; the trunk's layout is fixed."""

    #: The token that pads.
    pad_id: int = 0
    #: For encoders: ``cls`` takes the first token's vector, ``mean`` the mean over tokens.
    pooling: str = "mean"
    #: Put before a query, before a text.
    query_prefix: str = ""
    text_prefix: str = ""
    #: For encoders: a text must not share a batch, because the graph rounds activations per batch.
    alone: bool = False

    @classmethod
    def of(cls, raw: Mapping[str, Any], where: Path) -> Layout:
        """A layout from parsed JSON.

        :raises ModelFolderError: an unknown key, or a value of the wrong kind.
        """
        kinds = {"pad_id": int, "pooling": str, "query_prefix": str, "text_prefix": str, "alone": bool}
        for key, value in raw.items():
            if type(value) is not kinds.get(key):
                raise ModelFolderError(f"{where}: layout.{key} cannot be {value!r}; {_AGAIN}")
        found = cls(**raw)
        if found.pooling not in POOLINGS or found.pad_id < 0:
            raise ModelFolderError(
                f"{where}: layout needs a pooling of {', '.join(POOLINGS)} and a pad_id of at least 0, "
                f"found {found.pooling!r} and {found.pad_id}; {_AGAIN}"
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` says, checked."""

    name: str
    #: Where the weights came from.
    backbone: str
    licence: str
    #: One of ``KINDS``.
    kind: str
    #: Length of a vector; 0 for a cross-encoder, which makes none.
    dimensions: int
    #: Tokens read at a time, special tokens included: per segment, in a cross-encoder per pair.
    max_tokens: int
    #: ``fp32`` or ``int8``.
    precision: str
    #: Role -> file name.
    files: Mapping[str, str]
    #: File name -> sha256.
    checksums: Mapping[str, str]
    layout: Layout
    #: State of the segment biases and of the head: ``closed`` is true while it equals the cosine. ``statements``, where
    #: it is there, is the form of those in front of texts.
    interaction: Mapping[str, Any]
    #: Calibration to log-odds: ``intercept``, ``bm25``, ``cosine``, ``interaction``; empty before calibration.
    relevance: Mapping[str, Any]
    #: Factor -> log-odds; empty before calibration.
    weights: Mapping[str, float]
    gate: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, raw: object, where: Path) -> Manifest:
        """A manifest from parsed JSON.

        :raises ModelFolderError: another format, a field missing or of the wrong kind, a file name with a path in it.
        """
        if not isinstance(raw, dict):
            raise ModelFolderError(f"{where} must hold a JSON object, found {type(raw).__name__}; {_AGAIN}")
        if raw.get("format") != FORMAT:
            raise ModelFolderError(
                f"{where} has format {raw.get('format')!r}, this version reads format {FORMAT}; {_AGAIN}"
            )
        for key in ("name", "backbone", "licence", "precision"):
            if not isinstance(raw.get(key), str) or not raw[key]:
                raise ModelFolderError(f"{where} needs the text {key!r}, found {raw.get(key)!r}; {_AGAIN}")
        kind = raw.get("kind", KINDS[0])  # folders of before there were kinds are two-mode
        if kind not in KINDS:
            raise ModelFolderError(f"{where}: kind must be one of {', '.join(KINDS)}, found {kind!r}; {_AGAIN}")
        for key in ("dimensions", "max_tokens"):
            least = 0 if key == "dimensions" and kind == "cross-encoder" else 3
            if type(raw.get(key)) is not int or not least <= raw[key] <= 1 << 16:
                raise ModelFolderError(f"{where} needs the whole number {key!r}, found {raw.get(key)!r}; {_AGAIN}")
        sections = {key: raw.get(key, {}) for key in (*_SECTIONS, "files", "checksums", "layout")}
        for key, value in sections.items():
            if not isinstance(value, dict):
                raise ModelFolderError(f"{where}: {key!r} must be an object, found {type(value).__name__}; {_AGAIN}")
        if (form := sections["interaction"].get("statements", FORM)) != FORM or type(form) is not int:
            raise ModelFolderError(
                f"{where} reads statements of form {form!r}, this version makes form {FORM}; train it again"
            )
        _check_files(sections["files"], sections["checksums"], where)
        try:
            Weights.of(sections["weights"])
        except ConfigError as error:
            raise ModelFolderError(f"{where}: {error}") from error
        layout = Layout.of(sections.pop("layout"), where)
        return cls(
            name=raw["name"],
            backbone=raw["backbone"],
            licence=raw["licence"],
            kind=kind,
            layout=layout,
            dimensions=raw["dimensions"],
            max_tokens=raw["max_tokens"],
            precision=raw["precision"],
            **sections,
        )

    @property
    def statements(self) -> bool:
        """Whether query and text are read together with statements in front of the text (domain/statements.py)."""
        return "statements" in self.interaction

    def to_json(self) -> dict[str, Any]:
        """The object that ``manifest.json`` holds."""
        return {
            "format": FORMAT,
            "name": self.name,
            "backbone": self.backbone,
            "licence": self.licence,
            "kind": self.kind,
            "dimensions": self.dimensions,
            "max_tokens": self.max_tokens,
            "precision": self.precision,
            "files": dict(self.files),
            "checksums": dict(self.checksums),
            "layout": asdict(self.layout) if self.kind != KINDS[0] else {},
            "interaction": dict(self.interaction),
            "relevance": dict(self.relevance),
            "weights": dict(self.weights),
            "gate": dict(self.gate),
            "metrics": dict(self.metrics),
        }


def _check_files(files: dict[str, Any], checksums: dict[str, Any], where: Path) -> None:
    missing = [role for role in ROLES if role not in files]
    if missing:
        raise ModelFolderError(f"{where} names no {missing[0]} file; {_AGAIN}")
    for name in files.values():
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or name == MANIFEST:
            raise ModelFolderError(f"{where} names the file {name!r}; plain names inside the folder are allowed only")
        digest = checksums.get(name)
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ModelFolderError(f"{where} has no sha256 for {name}, found {digest!r}; {_AGAIN}")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder whose files are those its manifest promises."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path | str) -> ModelFolder:
        """The folder, every checksum verified.

        :raises ModelFolderError: missing, unreadable, another format, too large, or a file that was changed.
        """
        path = Path(path)
        if not path.is_dir():
            raise ModelFolderError(f"no model folder at {path}; give a folder with {MANIFEST}, or {_AGAIN}")
        raw = _read(path / MANIFEST, MAX_MANIFEST_BYTES)
        try:
            parsed = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ModelFolderError(f"{path / MANIFEST} is not JSON ({error}); {_AGAIN}") from error
        folder = cls(path, Manifest.of(parsed, path / MANIFEST))
        for role in folder.manifest.files:
            folder._verify(role, _digest(folder.file(role)))
        return folder

    @property
    def name(self) -> str:
        """``NAME@first twelve digits of the weights' sha256``."""
        return f"{self.manifest.name}@{self.manifest.checksums[self.manifest.files['model']][:12]}"

    @property
    def interaction(self) -> Mapping[str, Any]:
        """State of the interaction head: ``closed`` is true while its logit equals the cosine."""
        return self.manifest.interaction

    @property
    def relevance(self) -> Mapping[str, Any]:
        """Calibration of relevance; empty before calibration."""
        return self.manifest.relevance

    @property
    def weights(self) -> Mapping[str, float]:
        """Learned log-odds per factor, checked; empty before calibration."""
        return self.manifest.weights

    def file(self, role: str) -> Path:
        """Where the file of a role lies; its content may have changed since ``open``."""
        return self.path / self.manifest.files[role]

    def read(self, role: str) -> bytes:
        """The content of a role's file, verified once more: what is returned is what the manifest promises.

        :raises ModelFolderError: it is gone or was changed since ``open``.
        """
        content = _read(self.file(role), MAX_FILE_BYTES)
        self._verify(role, hashlib.sha256(content).hexdigest())
        return content

    def _verify(self, role: str, found: str) -> None:
        name = self.manifest.files[role]
        expected = self.manifest.checksums[name]
        if found != expected:
            raise ModelFolderError(
                f"{self.path / name} is not the file its manifest promises: expected sha256 {expected[:12]}..., "
                f"found {found[:12]}...; {_AGAIN}"
            )


def default_model_folder() -> Path:
    """Where the shipped model lies."""
    return Path(__file__).parent / "default"


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> ModelFolder:
    """The folder after its manifest was written, whole or not at all, with the checksums of its files as they are now.

    :param manifest: what ``Manifest.to_json`` gives; ``format`` and ``checksums`` are filled in here.
    :raises ModelFolderError: a file is missing, a field is wrong, or the folder cannot be written.
    """
    names = [str(name) for name in cast(Mapping[str, Any], manifest.get("files", {})).values()]
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            raise ModelFolderError(f"a model folder holds plain file names, got {name!r}")
    raw = {**manifest, "format": FORMAT, "checksums": {name: _digest(path / name) for name in names}}
    checked = Manifest.of(raw, path / MANIFEST)
    text = json.dumps(checked.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path / MANIFEST, text.encode("utf-8"))
    return ModelFolder(path, checked)


def update_manifest(path: Path, **sections: Any) -> ModelFolder:
    """The folder with some fields of its manifest replaced, say ``relevance={...}, metrics={...}``.

    The files are verified first: a folder that was tampered with stays refused.

    :raises ModelFolderError: see ``ModelFolder.open`` and ``write_manifest``; a field that manifests do not have.
    """
    current = ModelFolder.open(path).manifest.to_json()
    unknown = sorted(set(sections) - (set(current) - {"format", "checksums"}))
    if unknown:
        raise ModelFolderError(f"a manifest has no field {unknown[0]!r} to set; it has {', '.join(current)}")
    return write_manifest(path, {**current, **sections})


def _read(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise ModelFolderError(f"{path} has {size} bytes, at most {limit} are read; {_AGAIN}")
        return path.read_bytes()
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error


def _digest(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelFolderError(f"{path} has {size} bytes, at most {MAX_FILE_BYTES} are read; {_AGAIN}")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file such that a reader finds the old content or the new one, never a part.

    :raises ModelFolderError: it cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be written ({error.strerror}); give a folder with space") from error
