"""An application as people write them against opensearch-py, sync or async, and the corpus it searches.

It knows nothing of reranking: tests run it on the plain client and on ours, and compare what it got.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from importlib.resources import files
from typing import Any

from opensearchpy import Search, helpers
from opensearchpy._async.helpers.actions import async_bulk, async_scan
from opensearchpy._async.helpers.search import AsyncSearch
from opensearchpy.client.utils import NamespacedClient
from opensearchpy.exceptions import TransportError

WORDS = "query language for relational data"
MATCH = {"multi_match": {"query": WORDS, "fields": ["title^2", "text"]}}
MAPPINGS = {
    "properties": {
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword"}}, "store": True},
        "text": {"type": "text"},
        "year": {"type": "integer"},
        "published": {"type": "date"},
        "views": {"type": "integer"},
        "tenant": {"type": "keyword"},
        "venue": {"type": "keyword"},
        "authors": {"type": "nested", "properties": {"name": {"type": "text"}, "place": {"type": "integer"}}},
        "suggest": {"type": "completion"},
    }
}
#: As an application would configure the field map for this index.
FIELD_MAP = {"published_at": "published", "popularity": {"field": "views", "scale": "log", "pivot": 500}}


def works() -> list[tuple[str, dict[str, Any]]]:
    """The bundled corpus as an application would have it: id and source."""
    lines = (files("rerank_plugin.demo_data") / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for place, line in enumerate(lines):
        work = json.loads(line)
        told = work["metadata"]
        source = {
            "title": work["title"],
            "text": work["text"],
            "year": int(told["date"][:4]),
            "published": told["date"][:4],
            "views": told["events"]["views"],
            "tenant": "acme" if place % 2 else "globex",
            "venue": told.get("venue", "unknown"),
            "authors": [{"name": name, "place": at} for at, name in enumerate(told["authors"])],
            "suggest": work["title"],
        }
        found.append((work["_id"], source))
    return found


class Blocking:
    """An async client, each of whose calls is run to its end: one script thus drives both kinds."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if isinstance(found, NamespacedClient):
            return Blocking(found, self.loop)
        return lambda *args, **kwargs: self.run(found(*args, **kwargs))

    def run(self, answer: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine."""
        return self.loop.run_until_complete(answer)


def bulk(client: Any, actions: list[dict[str, Any]]) -> Any:
    """``helpers.bulk``, or its async form."""
    if isinstance(client, Blocking):
        return client.run(async_bulk(client.client, actions, refresh=True))
    return helpers.bulk(client, actions, refresh=True)


def scan(client: Any, **asked: Any) -> list[Any]:
    """``helpers.scan``, or its async form, to the end."""
    if not isinstance(client, Blocking):
        return list(helpers.scan(client, **asked))

    async def collected() -> list[Any]:
        return [hit async for hit in async_scan(client.client, **asked)]

    return client.run(collected())


def dsl(client: Any, index: str) -> Any:
    """The DSL's search for words, executed."""
    kind = AsyncSearch if isinstance(client, Blocking) else Search
    search = kind(using=getattr(client, "client", client) if isinstance(client, Blocking) else client, index=index)
    search = search.query("match", text=WORDS).filter("range", year={"gte": 1960}).highlight("text")[:5]
    search.aggs.bucket("venues", "terms", field="venue")
    found = search.execute()
    return (client.run(found) if isinstance(client, Blocking) else found).to_dict()


def attempted(call: Any, **asked: Any) -> Any:
    """The answer, or the error a caller sees."""
    try:
        return call(**asked)
    except TransportError as error:
        return {"error": type(error).__name__, "status": error.status_code, "info": error.info}


def run(client: Any, index: str) -> dict[str, Any]:
    """What the application got, by the name of what it did. It makes the index ``index``."""
    client.indices.create(index=index, body={"mappings": MAPPINGS, "settings": {"number_of_shards": 1}})
    actions = [{"_index": index, "_id": name, "_source": source} for name, source in works()]
    got: dict[str, Any] = {"bulk": bulk(client, actions), "count": client.count(index=index)}
    faceted = {
        "query": {"bool": {"must": [MATCH], "filter": [{"range": {"year": {"gte": 1960}}}]}},
        "aggs": {"venues": {"terms": {"field": "venue", "size": 5}}, "newest": {"max": {"field": "year"}}},
        "highlight": {"fields": {"text": {}, "title": {"number_of_fragments": 0}}},
        "track_total_hits": True,
    }
    got["faceted"] = client.search(index=index, body={**faceted, "_source": ["title", "year"]})
    for page in range(1, 31):
        got[f"page {page}"] = client.search(index=index, body={"query": MATCH, "from": (page - 1) * 5, "size": 5})
    lines: list[Any] = [
        *({"index": index}, {"query": MATCH, "size": 3}),
        *({"index": index}, {"query": {"match_all": {}}, "sort": ["year"], "size": 3}),
        *({"index": f"{index}-absent"}, {"query": MATCH}),
        *({"index": index}, {"query": MATCH, "size": 0, "aggs": {"tenants": {"terms": {"field": "tenant"}}}}),
    ]
    got["msearch"] = client.msearch(body=lines)
    got["scan"] = scan(client, index=index, query={"query": MATCH}, size=40)
    got["pit"] = _by_pit(client, index)
    got["dsl"] = dsl(client, index)
    got["by url"] = client.search(index=index, q="title:language", size=4, _source_includes="title,year")
    got["newest first"] = client.search(index=index, body={"query": MATCH, "sort": [{"year": "desc"}], "size": 4})
    got["bad query"] = attempted(client.search, index=index, body={"query": {"mtach": {"text": "x"}}})
    got["absent index"] = attempted(client.search, index=f"{index}-absent", body={"query": MATCH})
    got["too deep"] = attempted(client.search, index=index, body={"query": MATCH, "from": 9_999, "size": 5})
    got["bad aggregation"] = attempted(
        client.search, index=index, body={"query": MATCH, "aggs": {"a": {"terms": {"field": "text"}}}}
    )
    got["one document"] = client.get(index=index, id=works()[0][0])
    got["explained"] = client.explain(index=index, id=works()[0][0], body={"query": MATCH})
    return got


def _by_pit(client: Any, index: str) -> list[Any]:
    """Every match in pages over a point in time."""
    point = client.create_pit(index=index, params={"keep_alive": "1m"})["pit_id"]
    pages: list[Any] = []
    after: list[Any] | None = None
    while len(pages) < 10:
        body = {"query": MATCH, "size": 50, "pit": {"id": point}, "sort": [{"_score": "desc"}, {"_shard_doc": "asc"}]}
        page = client.search(body={**body, **({"search_after": after} if after else {})})
        if not page["hits"]["hits"]:
            break
        after = page["hits"]["hits"][-1]["sort"]
        pages.append({key: value for key, value in page.items() if key != "pit_id"})
    client.delete_pit(body={"pit_id": [point]})
    return pages
