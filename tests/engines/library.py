"""The small index of the contract tests, and how they search it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

ENGLISH = {"type": "text", "analyzer": "english"}
MAPPING: dict[str, Any] = {
    "_meta": {"made_by": "contract"},
    "properties": {
        "title": {**ENGLISH, "copy_to": "content"},
        "text": {**ENGLISH, "copy_to": ["content"]},
        "content": ENGLISH,
        "chinese": {"type": "text", "analyzer": "cjk"},
        "year": {"type": "integer"},
        "price": {"type": "float"},
        "seen": {"type": "boolean"},
        "published": {"type": "date"},
        "tag": {"type": "keyword", "ignore_above": 8},
        "place": {"properties": {"city": {"type": "keyword"}, "floor": {"type": "long"}}},
        "wide": {"type": "keyword"},
    },
}
DOCUMENTS: list[dict[str, Any]] = [
    {"title": "Search engines", "text": "A search engine finds documents", "chinese": "东京塔很高", "year": 1990,
     "price": 1.5, "seen": True, "published": "2020-01-01", "tag": ["a", "b"], "place": {"city": "Oslo", "floor": 3}},
    {"title": "Ranking", "text": "Ranking documents by relevance, ranking again", "chinese": "搜索引擎 engine",
     "year": 2000, "price": 2.5, "seen": False, "published": "2020-06-15T12:30:00Z", "tag": "b"},
    {"title": "The engine of ranking", "text": "Engine engine engine", "chinese": "gi", "year": 2010, "price": 0.1,
     "seen": True, "published": 1600000000000, "tag": "muchtoolong", "place": {"city": "Bergen", "floor": [1, 7]}},
    {"title": "Search", "text": "Nothing else", "chinese": "东京", "year": 2020, "price": -3, "seen": False,
     "published": "2021", "tag": []},
    {"title": "Search engines", "text": "A search engine finds documents", "chinese": "高塔", "year": 1985, "price": 7,
     "seen": True, "published": "1999-12-31", "tag": "c"},
]  # fmt: skip


def hits(client: OpenSearch, index: str, query: Any, **body: Any) -> list[str]:
    """Ids of what a query finds, in order."""
    response = client.search(index=index, body={"query": query, **body})
    return [hit["_id"] for hit in response["hits"]["hits"]]


def refused(client: OpenSearch, index: str, **body: Any) -> TransportError:
    """The error a search gets."""
    with pytest.raises(TransportError) as caught:
        client.search(index=index, body=body)
    return caught.value


def shown(value: Any) -> str | None:
    """A readable name for a parameter that is a query."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else None
