"""The folder of an embedded engine: its indexes, and one shared instance of it per process."""

from __future__ import annotations

import atexit
import os
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from rerank_plugin.engines.embedded.disk import disk_errors
from rerank_plugin.engines.embedded.mapping import Mapping
from rerank_plugin.engines.embedded.metadata import FILE_NAME, Metadata, write_metadata
from rerank_plugin.engines.embedded.refusal import Refusal, index_not_found
from rerank_plugin.engines.embedded.segments import Generation, columns_for
from rerank_plugin.engines.embedded.store import IndexStore
from rerank_plugin.errors import RerankError

_FORBIDDEN = frozenset('\\/*?"<>| ,#:')


class Cluster:
    """The indexes below ``path``; the folder is made when the first index is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._indexes = path / "indexes"
        self._stores: dict[str, IndexStore] = {}
        self._lock = threading.RLock()

    def names(self) -> list[str]:
        """The indexes that exist, sorted."""
        with disk_errors(self.path, "read"):
            if not self._indexes.is_dir():
                return []
            return sorted(each.name for each in self._indexes.iterdir() if (each / FILE_NAME).is_file())

    def exists(self, name: str) -> bool:
        """Whether there is an index of this name."""
        check_name(name)
        return (self._indexes / name / FILE_NAME).is_file()

    def store(self, name: str) -> IndexStore:
        """The index of this name.

        :raises Refusal: 404 when there is none, 400 when the name cannot be one.
        """
        if not self.exists(name):
            with self._lock:
                self._stores.pop(name, None)
            raise index_not_found(name)
        with self._lock:
            return self._stores.setdefault(name, IndexStore(self._indexes / name, name))

    def create(self, name: str, settings: dict[str, str], mapping: Mapping) -> None:
        """Makes an index, complete or not at all.

        :raises Refusal: 400 when it exists or the name cannot be one, 500 when the disk does not let us.
        """
        check_name(name)
        with self._lock, disk_errors(self.path, "write"):
            if self.exists(name):
                raise self._exists_already(name)
            temporary = self._indexes / f".new-{uuid.uuid4().hex}"
            temporary.mkdir(parents=True)
            try:
                metadata = Metadata(
                    uuid=uuid.uuid4().hex[:22],
                    created_ms=int(time.time() * 1000),
                    settings=settings,
                    mapping=mapping,
                    columns=tuple(columns_for(mapping)),
                    generation=1,
                )
                Generation(temporary / metadata.folder, metadata.columns, create=True)
                write_metadata(temporary, metadata)
                try:
                    temporary.rename(self._indexes / name)
                except OSError as error:
                    if self.exists(name):  # another process was quicker
                        raise self._exists_already(name) from error
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _exists_already(self, name: str) -> Refusal:
        return Refusal(
            400, "resource_already_exists_exception", f"index [{name}] already exists", details={"index": name}
        )

    def delete(self, name: str) -> None:
        """Removes an index and all its documents.

        :raises Refusal: 404 when there is none, 500 while another process writes it.
        """
        store = self.store(name)
        with self._lock, store.writing(), disk_errors(self.path, "delete from"):
            trash = self._indexes / f".deleted-{uuid.uuid4().hex}"
            store.directory.rename(trash)
            self._stores.pop(name, None)
            store.forget()
            shutil.rmtree(trash, ignore_errors=True)

    def close(self) -> None:
        """Refreshes every index that has waiting writes and lets other processes write.

        :raises Refusal: 500, the first of what went wrong; all indexes are given back nevertheless.
        """
        failed: RerankError | None = None
        with self._lock:
            for store in self._stores.values():
                try:
                    store.close()
                except RerankError as error:
                    failed = failed or error
        if failed is not None:
            raise failed


def check_name(name: str) -> None:
    """Refuses what the engines do not take for the name of an index.

    :raises Refusal: 400 that says why.
    """
    if not name:
        reason = "must not be empty"
    elif name in {".", ".."}:
        reason = "must not be '.' or '..'"
    elif name[0] in "_-+.":
        reason = "must not start with '_', '-', '+' or '.'"
    elif name != name.lower():
        reason = "must be lowercase"
    elif any(letter in _FORBIDDEN or ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        reason = 'must not contain control characters or any of [ , ", *, \\, <, |, ,, >, /, ?, #, :]'
    elif len(name.encode()) > 255:
        reason = "must not be longer than 255 bytes"
    else:
        return
    raise Refusal(400, "invalid_index_name_exception", f"Invalid index name [{name[:100]!s}], {reason}")


@dataclass(slots=True)
class Shared:
    """A process's instance for one folder; a forked child finds a new ``cluster`` in it."""

    cluster: Cluster
    users: int = 0


_shared: dict[Path, Shared] = {}
# Reentrant: a client that the garbage collector finds is released in whatever the thread is doing, this included.
_shared_lock = threading.RLock()
#: What a forked child inherited: kept, since dropping it would wait for threads that did not come along.
_inherited: list[Cluster] = []


def acquire(path: Path) -> Shared:
    """The process's instance for a folder, to give back with ``release``; read ``cluster`` anew per request."""
    key = _key(path)
    with _shared_lock:
        while True:
            shared = _shared.setdefault(key, Shared(Cluster(key)))
            shared.users += 1
            if _shared.get(key) is shared:
                return shared


def release(path: Path) -> None:
    """Gives an instance back; the last one to do so closes it.

    :raises Refusal: 500 when waiting writes cannot be written.
    """
    key = _key(path)
    with _shared_lock:
        shared = _shared.get(key)
        if shared is None:
            return
        shared.users -= 1
        if shared.users > 0:
            return
        del _shared[key]
    shared.cluster.close()


def _key(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _close_all() -> None:
    for shared in list(_shared.values()):
        try:
            shared.cluster.close()
        except RerankError:
            continue  # at exit there is nobody left to tell; a refresh would have told
    _shared.clear()


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.RLock()
    for key, shared in _shared.items():
        _inherited.append(shared.cluster)
        shared.cluster = Cluster(key)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
