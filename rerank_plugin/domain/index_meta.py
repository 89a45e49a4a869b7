"""What an enriched index says of itself: the object ``_meta.rerank`` of its mapping (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rerank_plugin.domain.features import parse_date
from rerank_plugin.errors import DataError

#: The version of the ``rerank`` object in documents that this release writes and reads.
FEATURES_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorsMeta:
    """Which vector index belongs to an index."""

    #: Folder name of the vector index.
    name: str
    #: sha256 over its vectors and their document ids.
    checksum: str
    #: Name and checksum of the model that made the vectors; vectors of another model cannot be compared.
    model: str
    dimensions: int
    #: ``flat``, ``hnsw`` or ``ivf``.
    kind: str = "flat"
    #: Measured share of the true nearest hundred that a search finds; 1 where the search is exact.
    recall: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMeta:
    """``_meta.rerank`` in types; unknown keys of newer releases are kept in ``signals``' siblings and ignored here."""

    #: The clock of the stored ``freshness``.
    reference_time: datetime
    half_life_days: float
    #: Dotted paths whose text the model reads, in order.
    text_fields: tuple[str, ...]
    features_version: int = FEATURES_VERSION
    run_id: str = ""
    documents: int = 0
    #: The signals' configuration, scaling knots and hash, as the indexer wrote them.
    signals: Mapping[str, Any] = field(default_factory=dict)
    vectors: VectorsMeta | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object to store under ``_meta.rerank``."""
        stored: dict[str, Any] = {
            "reference_time": self.reference_time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "half_life_days": self.half_life_days,
            "text_fields": list(self.text_fields),
            "features_version": self.features_version,
            "run_id": self.run_id,
            "documents": self.documents,
            "signals": dict(self.signals),
        }
        if self.vectors is not None:
            stored["vectors"] = {
                "name": self.vectors.name,
                "checksum": self.vectors.checksum,
                "model": self.vectors.model,
                "dimensions": self.vectors.dimensions,
                "kind": self.vectors.kind,
                "recall@100": self.vectors.recall,
            }
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> IndexMeta:
        """The object as stored.

        :raises DataError: a key that this release needs is absent or of the wrong type; the message names it.
        """
        try:
            half_life_days = float(stored["half_life_days"])
            if not half_life_days > 0:
                raise ValueError("half_life_days must be above 0")
            vectors = stored.get("vectors")
            return cls(
                reference_time=parse_date(stored["reference_time"]),
                half_life_days=half_life_days,
                text_fields=tuple(str(path) for path in stored.get("text_fields", ())),
                features_version=int(stored.get("features_version", FEATURES_VERSION)),
                run_id=str(stored.get("run_id", "")),
                documents=int(stored.get("documents", 0)),
                signals=dict(stored.get("signals", {})),
                vectors=None
                if vectors is None
                else VectorsMeta(
                    name=str(vectors["name"]),
                    checksum=str(vectors["checksum"]),
                    model=str(vectors["model"]),
                    dimensions=int(vectors["dimensions"]),
                    kind=str(vectors.get("kind", "flat")),
                    recall=float(vectors.get("recall@100", 1.0)),
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"_meta.rerank is not as the indexer writes it ({error}); run rerank-index load again"
            ) from error
