"""One application on the plain client, on ours switched off and on ours on, sync and async, on a real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch

import application
from application import Blocking
from rerank_plugin.client.opensearch import wrap

pytestmark = pytest.mark.engine
WINDOW = 60
SETTINGS = {"window": WINDOW, "text_fields": ["title", "text"], "field_map": application.FIELD_MAP}


@pytest.fixture(scope="module", params=["sync", "async"])
def plain(request: pytest.FixtureRequest, opensearch_url: str) -> Iterator[Any]:
    if request.param == "sync":
        with OpenSearch(opensearch_url) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        client = Blocking(AsyncOpenSearch(opensearch_url), runner.get_loop())
        yield client
        client.close()


def ours(plain: Any, **settings: Any) -> Any:
    if isinstance(plain, Blocking):
        return Blocking(wrap(plain.client, {**SETTINGS, **settings}), plain.loop)
    return wrap(plain, {**SETTINGS, **settings})


@pytest.fixture(scope="module")
def index(plain: Any) -> Iterator[str]:
    """One name for all runs, so that errors that tell it are equal too."""
    name = f"application-{uuid4().hex[:8]}"
    yield name
    plain.indices.delete(index=name, ignore=404)


def finished(plain: Any, client: Any, index: str) -> dict[str, Any]:
    plain.indices.delete(index=index, ignore=404)
    return application.run(client, index)


@pytest.fixture(scope="module")
def got(plain: Any, index: str) -> dict[str, Any]:
    """What the application gets from the plain client."""
    return finished(plain, plain, index)


VOLATILE = {"took", "index_uuid", "_scroll_id"}


def comparable(answer: Any) -> str:
    """An answer as text, less what no two equal requests share."""

    def cleaned(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: cleaned(value) for key, value in part.items() if key not in VOLATILE}
        return [cleaned(each) for each in part] if isinstance(part, (list, tuple)) else part

    return json.dumps(cleaned(answer), default=str)


def test_switched_off_it_is_equal_to_the_byte(plain: Any, index: str, got: dict[str, Any]) -> None:
    off = finished(plain, ours(plain, mode="off"), index)
    assert list(off) == list(got)
    for name, answer in got.items():
        assert comparable(off[name]) == comparable(answer), name


UNTOUCHED = ("bulk", "count", "scan", "bad query", "absent index", "too deep", "bad aggregation", "one document")


def test_switched_on_only_the_order_and_the_scores_differ(plain: Any, index: str, got: dict[str, Any]) -> None:
    on = finished(plain, ours(plain), index)
    assert list(on) == list(got)
    for name in (*UNTOUCHED, "explained"):
        assert comparable(on[name]) == comparable(got[name]), name
    wide = partial(plain.search, index=index)
    matching = {"query": application.MATCH, "size": 200}
    for name, answer in on.items():
        if name.startswith("page "):
            same_but_ordered(answer, got[name], wide(body=matching))
    walked = [hit["_id"] for name in on if name.startswith("page ") for hit in on[name]["hits"]["hits"]]
    assert sorted(walked) == sorted(hit["_id"] for hit in wide(body=matching)["hits"]["hits"][:150])
    assert [hit["_id"] for hit in on["page 1"]["hits"]["hits"]] != [hit["_id"] for hit in got["page 1"]["hits"]["hits"]]
    faceted = {
        "query": {"bool": {"must": [application.MATCH], "filter": [{"range": {"year": {"gte": 1960}}}]}},
        "highlight": {"fields": {"text": {}, "title": {"number_of_fragments": 0}}},
        "_source": ["title", "year"],
    }
    same_but_ordered(on["faceted"], got["faceted"], wide(body={**faceted, "size": WINDOW}))
    by_url = wide(q="title:language", size=WINDOW, _source_includes="title,year")
    same_but_ordered(on["by url"], got["by url"], by_url)
    first, second, third, fourth = on["msearch"]["responses"]
    same_but_ordered(first, got["msearch"]["responses"][0], wide(body=matching))
    left_alone = [second, fourth, *on["pit"], on["newest first"]]
    pages_of_pit = ["pit in the body", *["search_after in the body"] * (len(on["pit"]) - 1)]
    expected = ["an explicit sort", "size 0", *pages_of_pit, "an explicit sort"]
    assert [each["rerank"]["reason"] for each in left_alone] == expected
    assert comparable(third) == comparable(got["msearch"]["responses"][2])
    for ours_, plains in (
        (second, got["msearch"]["responses"][1]),
        (fourth, got["msearch"]["responses"][3]),
        *zip(on["pit"], got["pit"], strict=True),
        (on["newest first"], got["newest first"]),
    ):
        assert comparable({key: value for key, value in ours_.items() if key != "rerank"}) == comparable(plains)
    assert on["dsl"]["rerank"]["status"] == "applied"
    assert on["dsl"]["aggregations"] == got["dsl"]["aggregations"]


def same_but_ordered(answer: Any, plains: Any, wide: Any) -> None:
    """Totals, aggregations and shards are the plain client's; each hit is, field by field, the plain one of that id."""
    assert answer["rerank"]["status"] == "applied", answer["rerank"]
    apart = {"hits", "rerank", "took"}
    assert {k: v for k, v in answer.items() if k not in apart} == {k: v for k, v in plains.items() if k not in apart}
    assert answer["hits"]["total"] == plains["hits"]["total"]
    assert answer["hits"].keys() == plains["hits"].keys()
    assert len(answer["hits"]["hits"]) == len(plains["hits"]["hits"])
    by_id = {hit["_id"]: hit for hit in wide["hits"]["hits"]}
    for hit in answer["hits"]["hits"]:
        expected = by_id[hit["_id"]]
        given = {key: value for key, value in hit.items() if key not in {"_rerank", "_score"}}
        assert given == {key: value for key, value in expected.items() if key != "_score"}
        assert hit["_rerank"]["retrieval_score"] == pytest.approx(expected["_score"], rel=1e-6)
