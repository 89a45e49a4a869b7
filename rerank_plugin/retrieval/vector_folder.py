"""The folder of a vector index: what is in it, how it is replaced whole, and how it is checked.

FOLDER/vectors.faiss    one L2-normalised float32 vector per document
FOLDER/ids.json         the document ids, in the order of the vectors; null where a vector was deleted
FOLDER/manifest.json    format, name, model, dimensions, documents, kind, recall@100, sha256 of both files
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rerank_plugin.domain.index_meta import VectorsMeta
from rerank_plugin.errors import MissingExtraError, VectorIndexError

FORMAT = 1
VECTORS_FILE, IDS_FILE, MANIFEST_FILE = "vectors.faiss", "ids.json", "manifest.json"
LOAD_AGAIN = "run rerank-index load --vectors again"


def load_faiss() -> Any:
    """The faiss module.

    :raises MissingExtraError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("searching vectors", "dense") from error
    _prepare_forks()
    return faiss


@cache
def _prepare_forks() -> None:
    """Keeps searches of forked children from hanging.

    The thread that forks takes OpenMP's pool along, whose threads are gone in the child: its next parallel search would
    wait for them for ever. With one thread it needs no pool; threads that the child starts make pools of their own.
    """
    import faiss

    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a folder holds: a faiss index, and the id of each of its vectors, ``None`` for a deleted one."""

    index: Any
    doc_ids: list[str | None]
    meta: VectorsMeta


def write_folder(
    folder: Path, index: Any, doc_ids: Sequence[str | None], *, name: str, model: str, kind: str, recall: float
) -> VectorsMeta:
    """What the folder now holds: this faiss index. On any error the folder is as it was.

    :raises VectorIndexError: the folder holds something else or cannot be written.
    """
    faiss = load_faiss()
    check_replaceable(folder)
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        faiss.write_index(index, str(scratch / VECTORS_FILE))
        (scratch / IDS_FILE).write_text(json.dumps(list(doc_ids)), encoding="utf-8")
        digests = {file: _sha256(scratch / file) for file in (VECTORS_FILE, IDS_FILE)}
        checksum = _checksum(digests)
        meta = VectorsMeta(name=name, checksum=checksum, model=model, dimensions=int(index.d), kind=kind, recall=recall)
        manifest = {
            "format": FORMAT,
            "name": name,
            "model": model,
            "dimensions": meta.dimensions,
            "documents": sum(each is not None for each in doc_ids),
            "kind": kind,
            "recall@100": recall,
            "sha256": digests,
        }
        (scratch / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        scratch.chmod(0o755)  # mkdtemp keeps others out; readers of the index may be other users
        _replace(scratch, folder)
    except (OSError, RuntimeError) as error:  # faiss reports failed writes as RuntimeError
        raise _unwritable(folder, error) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return meta


def read_folder(folder: Path, expected: VectorsMeta | None = None) -> Stored:
    """The faiss index, its document ids and what the manifest says, all checked against each other.

    :raises VectorIndexError: a file is missing or broken, or the folder does not fit ``expected``.
    """
    faiss = load_faiss()
    manifest = _manifest(folder)
    meta = VectorsMeta(
        name=manifest["name"],
        checksum=_checksum(manifest["sha256"]),
        model=manifest["model"],
        dimensions=manifest["dimensions"],
        kind=manifest["kind"],
        recall=manifest["recall@100"],
    )
    if expected is not None:
        _check_belongs(folder, meta, expected)
    try:
        for file in (VECTORS_FILE, IDS_FILE):
            if _sha256(folder / file) != manifest["sha256"][file]:
                raise VectorIndexError(f"{folder / file} is not the file its manifest describes; {LOAD_AGAIN}")
        doc_ids = json.loads((folder / IDS_FILE).read_text(encoding="utf-8"))
        index = faiss.read_index(str(folder / VECTORS_FILE))
    except (OSError, RuntimeError, ValueError) as error:
        raise VectorIndexError(f"cannot read the vector index {folder}: {_first_line(error)}; {LOAD_AGAIN}") from error
    living = sum(each is not None for each in doc_ids)
    if not (index.ntotal == len(doc_ids) and living == manifest["documents"] and index.d == meta.dimensions):
        raise VectorIndexError(
            f"{folder} holds {index.ntotal} vectors of {index.d} dimensions for {living} ids, its manifest "
            f"says {manifest['documents']} of {meta.dimensions}; {LOAD_AGAIN}"
        )
    return Stored(index, doc_ids, meta)


def check_replaceable(folder: Path) -> None:
    """Nothing, where :func:`write_folder` may put an index: a new or empty folder, or an older vector index.

    Parents that do not exist are made: asked before the long work of encoding, this finds out that it would be in vain.

    :raises VectorIndexError: the path is a file, a folder with other things in it, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise VectorIndexError(f"the vector index needs a folder, {folder} is a file; name another path")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)).rmdir()
        inside = {each.name for each in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise _unwritable(folder, error) from error
    others = sorted(inside - {VECTORS_FILE, IDS_FILE, MANIFEST_FILE})
    if others:
        raise VectorIndexError(f"{folder} holds other things than a vector index ({others[0]}); name a new folder")


def _unwritable(folder: Path, error: Exception) -> VectorIndexError:
    return VectorIndexError(
        f"cannot write the vector index {folder}: {_first_line(error)}; free some space or name another folder"
    )


def _checksum(digests: Mapping[str, str]) -> str:
    """One checksum of vectors and ids: the same vectors under other ids belong to another index."""
    return hashlib.sha256("".join(digests[file] for file in (VECTORS_FILE, IDS_FILE)).encode("ascii")).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _replace(new: Path, folder: Path) -> None:
    """Puts ``new`` in the place of ``folder``; the old one is moved aside first and removed last."""
    if not folder.exists():
        new.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(aside / "index")
    try:
        new.rename(folder)
    except OSError:
        os.rename(aside / "index", folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest with every key this release reads, in the types it reads them in."""
    try:
        stored = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise VectorIndexError(
                f"{folder} has format {stored['format']!r}, this release reads {FORMAT}; {LOAD_AGAIN}"
            )
        return {
            "name": str(stored["name"]),
            "model": str(stored["model"]),
            "dimensions": int(stored["dimensions"]),
            "documents": int(stored["documents"]),
            "kind": str(stored.get("kind", "flat")),
            "recall@100": float(stored.get("recall@100", 1.0)),
            "sha256": {file: str(stored["sha256"][file]) for file in (VECTORS_FILE, IDS_FILE)},
        }
    except FileNotFoundError as error:
        raise VectorIndexError(f"{folder} is no vector index (no {MANIFEST_FILE}); {LOAD_AGAIN}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorIndexError(
            f"{folder / MANIFEST_FILE} cannot be read ({_first_line(error)}); {LOAD_AGAIN}"
        ) from error


def _check_belongs(folder: Path, found: VectorsMeta, expected: VectorsMeta) -> None:
    # The name is a label: the folder may have been copied elsewhere under another one.
    for what in ("model", "dimensions", "checksum"):
        have, want = getattr(found, what), getattr(expected, what)
        if have != want:
            have, want = (each[:12] if what == "checksum" else each for each in (have, want))
            raise VectorIndexError(
                f"the vector index {folder} does not belong to this index: its {what} is {have}, the index was loaded "
                f"with {want}; {LOAD_AGAIN}, or name the right folder"
            )
