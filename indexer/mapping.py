"""The mapping of an enriched index, the same for all engines."""

from __future__ import annotations

from typing import Any, Literal, get_args

from rerank_plugin.domain.factors import PRIORS

Analyzer = Literal["english", "standard", "cjk"]
ANALYZERS: tuple[str, ...] = get_args(Analyzer)
#: Where the model reads (``_meta.rerank.text_fields``).
TEXT_FIELDS = ("title", "text")
#: Title and text in one field: what BM25 queries match, so that a word counts once wherever it stands.
CONTENT_FIELD = "content"


def index_body(analyzer: str) -> dict[str, Any]:
    """The body of the index's creation.

    Fields that are not listed are stored and returned as they came, but not indexed: records may hold thousands of
    different keys, each of which would otherwise become a field of the mapping.
    """
    words = {"type": "text", "analyzer": analyzer}
    return {
        "mappings": {
            "dynamic": False,
            "properties": {
                **{field: {**words, "copy_to": CONTENT_FIELD} for field in TEXT_FIELDS},
                CONTENT_FIELD: words,
                "rerank": rerank_mapping(),
            },
        }
    }


def rerank_mapping() -> dict[str, Any]:
    """The mapping of the object ``rerank`` of a document (DESIGN 4)."""
    properties: dict[str, Any] = {factor: {"type": "float"} for factor in PRIORS}
    properties |= {
        "published_at": {"type": "date"},
        "half_life_days": {"type": "float"},
        "features_version": {"type": "integer"},
    }
    return {"type": "object", "dynamic": False, "properties": properties}
