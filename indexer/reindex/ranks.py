"""PageRank of every document by its id, small enough to keep beside a run: twelve bytes a document."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from indexer.signal_config import SignalConfig
from indexer.signals.authority import pagerank
from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def key_of(doc_id: str) -> int:
    """64 bits that stand for an id: among a hundred million ids two agree once in 3,700 collections."""
    return int.from_bytes(blake2b(doc_id.encode(), digest_size=8).digest(), "little")


class LinkTable:
    """Documents and the links between them, in any order: twenty-four bytes a document and sixteen a link."""

    def __init__(self) -> None:
        self._documents = array("Q")
        self._trust = array("d")
        self._owners = array("Q")
        self._sources = array("Q")
        self._targets = array("Q")

    def add(self, doc_id: str, linked: Iterable[str], *, trust: float | None = None, owner: str | None = None) -> None:
        """Takes up a document, the ids of the documents it links to, and who is behind it."""
        key = key_of(doc_id)
        self._documents.append(key)
        self._trust.append(0.0 if trust is None else trust)
        self._owners.append(0 if owner is None else key_of(owner))
        for target in linked:
            self._sources.append(key)
            self._targets.append(key_of(target))

    def add_link(self, source: str, target: str) -> None:
        """Takes up a link of a document that is added elsewhere."""
        self._sources.append(key_of(source))
        self._targets.append(key_of(target))

    def ranks(self, config: SignalConfig) -> tuple[Ranks, dict[str, Any]]:
        """PageRank of all documents, and an account of it; links from or to unknown documents are counted, not used."""
        import numpy as np

        keys, first = np.unique(np.array(self._documents, dtype=np.uint64), return_index=True)
        owner_keys, owners = np.unique(np.array(self._owners, dtype=np.uint64)[first], return_inverse=True)
        if len(owner_keys) and owner_keys[0] == 0:
            owners = owners - 1  # -1 is nobody
        ends = [np.array(each, dtype=np.uint64) for each in (self._sources, self._targets)]
        places = [np.searchsorted(keys, each).clip(0, max(len(keys) - 1, 0)) for each in ends]
        known = np.ones(len(ends[0]), dtype=bool)
        for place, end in zip(places, ends, strict=True):
            known &= keys[place] == end if len(keys) else False
        result = pagerank(
            places[0][known],
            places[1][known],
            len(keys),
            damping=config.damping,
            trust=np.array(self._trust)[first].tolist() if config.seed_share else (),
            seed_share=config.seed_share,
            voters=owners.tolist() if config.owner else (),
        )
        account = {
            "links": result.links,
            "dangling_links": int((~known).sum()),
            "pagerank": {
                "iterations": result.iterations,
                "residual": float(f"{result.residual:.3g}"),
                "converged": result.converged,
            },
        }
        scaled = np.round(result.scores * len(keys), 9) if result.links else np.empty(0)
        return Ranks(keys if result.links else keys[:0], scaled), account


@dataclass(frozen=True, slots=True)
class Ranks:
    """PageRank times documents, by id; no document has one where there are no links."""

    #: Sorted, (documents,)
    keys: NDArray[np.uint64]
    values: NDArray[np.float64]

    @classmethod
    def none(cls) -> Self:
        """No ranks: a collection without links."""
        import numpy as np

        return cls(np.empty(0, np.uint64), np.empty(0))

    def __call__(self, doc_id: str) -> float | None:
        """The rank of a document; ``None`` for one that was not there when the links were read."""
        if not len(self.keys):
            return None
        key = key_of(doc_id)
        place = int(self.keys.searchsorted(key))
        return float(self.values[place]) if place < len(self.keys) and int(self.keys[place]) == key else None

    def save(self, file: Path) -> None:
        """Writes them beside the state of a run, whole or not at all.

        :raises DataError: the file cannot be written.
        """
        import numpy as np

        scratch = file.with_name(f".{file.name}.{os.getpid()}.npz")
        try:
            np.savez(scratch, keys=self.keys, values=self.values)
            os.replace(scratch, file)
        except OSError as error:
            raise DataError(f"cannot write {file} ({error.strerror}); name another place with --state") from error

    @classmethod
    def read(cls, file: Path) -> Self:
        """The ranks as saved.

        :raises DataError: the file is missing or broken.
        """
        import numpy as np

        try:
            with np.load(file, allow_pickle=False) as stored:
                return cls(stored["keys"], stored["values"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} cannot be read ({error}); start anew without --resume") from error
