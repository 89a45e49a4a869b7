"""Thirty search bodies as applications send them, and the text the model must read; half of them are traps.

Shapes from shops, libraries, support desks, code search, newsrooms and admin pages; the words are ours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from rerank_plugin.client.plan import Plan, Search, Skip, make_plan
from rerank_plugin.config import Rerank

IN_STOCK: dict[str, Any] = {"term": {"in_stock": True}}
RECENT: dict[str, Any] = {"range": {"created": {"gte": "now-30d/d"}}}
BOOSTED = ["title^4", "brand.text^2", "description"]

#: Name -> (body, the text the model reads). None: it must not guess, and says so.
BODIES: dict[str, tuple[dict[str, Any], str | None]] = {
    "shop: words, facets, stock": (
        {
            "query": {
                "bool": {
                    "must": {
                        "multi_match": {"query": "waterproof hiking boots", "fields": BOOSTED, "fuzziness": "AUTO"}
                    },
                    "filter": [IN_STOCK, {"terms": {"size": [42, 43]}}],
                }
            },
            "aggs": {"brands": {"terms": {"field": "brand"}}},
        },
        "waterproof hiking boots",
    ),
    "shop: exact phrase raised, the same words": (
        {
            "query": {
                "bool": {
                    "must": [{"match": {"title": {"query": "usb c charger", "minimum_should_match": "75%"}}}],
                    "should": [{"match_phrase": {"title": {"query": "usb c charger", "slop": 1, "boost": 3}}}],
                }
            }
        },
        "usb c charger",
    ),
    "shop: popularity by function_score": (
        {
            "query": {
                "function_score": {
                    "query": {"multi_match": {"query": "desk lamp", "type": "cross_fields", "fields": BOOSTED}},
                    "functions": [{"field_value_factor": {"field": "sales", "modifier": "log1p"}}],
                    "boost_mode": "sum",
                }
            }
        },
        "desk lamp",
    ),
    "shop: a code beside the words is no text": (
        {"query": {"bool": {"must": [{"match": {"title": "drill bits"}}, {"match": {"sku.keyword": "DB-100"}}]}}},
        "drill bits",
    ),
    "shop: brand chosen in a facet, as a match": (
        {"query": {"bool": {"must": [{"match": {"title": "drill"}}], "filter": [{"match": {"brand": "acme tools"}}]}}},
        "drill",
    ),
    "shop: nested variants": (
        {
            "query": {
                "bool": {
                    "should": [
                        {"match": {"title": "red dress"}},
                        {"nested": {"path": "variants", "query": {"match": {"variants.name": "red dress"}}}},
                    ]
                }
            }
        },
        "red dress",
    ),
    "search as you type": (
        {"query": {"multi_match": {"query": "wirel", "type": "bool_prefix", "fields": ["name", "name._2gram"]}}},
        "wirel",
    ),
    "typed and corrected side by side": (
        {
            "query": {
                "dis_max": {"queries": [{"match": {"title": "recieve parcel"}}, {"match": {"title": "receive parcel"}}]}
            }
        },
        None,
    ),
    "library: operators": (
        {"query": {"query_string": {"query": '"binary search" AND (tree OR heap) -puzzle', "default_field": "text"}}},
        "binary search tree heap",
    ),
    "library: fields and ranges in the words": (
        {
            "query": {
                "query_string": {"query": "title:(quantum computing) AND year:[2015 TO 2020] AND type.keyword:book"}
            }
        },
        "quantum computing",
    ),
    "library: simple syntax": (
        {
            "query": {
                "simple_query_string": {
                    "query": 'neural +"machine translation" -survey',
                    "fields": ["title", "abstract"],
                }
            }
        },
        "neural machine translation",
    ),
    "library: everything": ({"query": {"query_string": {"query": "*"}}}, None),
    "library: title and author at once": (
        {"query": {"bool": {"must": [{"match": {"title": "relational model"}}, {"match": {"author": "codd"}}]}}},
        None,
    ),
    "the same, the caller says which": (
        {
            "query": {"bool": {"must": [{"match": {"title": "relational model"}}, {"match": {"author": "codd"}}]}},
            "rerank": {"query_text": "relational model"},
        },
        "relational model",
    ),
    "support: combined fields": (
        {
            "query": {
                "combined_fields": {"query": "reset two factor login", "fields": ["title", "body"], "operator": "and"}
            }
        },
        "reset two factor login",
    ),
    "support: freshness decay, tenant in must": (
        {
            "query": {
                "function_score": {
                    "query": {
                        "bool": {"must": [{"match": {"body": "invoice export fails"}}, {"term": {"tenant": "t-9"}}]}
                    },
                    "gauss": {"created": {"origin": "now", "scale": "10d"}},
                }
            }
        },
        "invoice export fails",
    ),
    "support: what must not be there is not asked for": (
        {
            "query": {
                "bool": {
                    "must": [{"match": {"body": "printer offline"}}],
                    "must_not": [{"match": {"body": "windows xp"}}],
                }
            }
        },
        "printer offline",
    ),
    "support: demoted, not excluded": (
        {
            "query": {
                "boosting": {
                    "positive": {"match": {"body": "vpn drops"}},
                    "negative": {"match": {"body": "legacy client"}},
                    "negative_boost": 0.3,
                }
            }
        },
        "vpn drops",
    ),
    "code search: symbols stay": (
        {"query": {"match": {"code": "std::vector<int>& operator[]"}}},
        "std::vector<int>& operator[]",
    ),
    "code search: wildcard on a path": ({"query": {"wildcard": {"path": "*/parser/*.py"}}}, None),
    "news: latest, sorted by date": ({"query": {"match": {"body": "election"}}, "sort": [{"published": "desc"}]}, None),
    "news: sorted by score, spelled out": (
        {
            "query": {"match": {"body": "election results"}},
            "sort": [{"_score": {"order": "desc"}}],
            "track_scores": True,
        },
        "election results",
    ),
    "news: rescored by phrase": (
        {
            "query": {"match": {"body": "climate summit"}},
            "rescore": {"window_size": 50, "query": {"rescore_query": {"match_phrase": {"body": "climate summit"}}}},
        },
        "climate summit",
    ),
    "vectors beside words": (
        {
            "query": {
                "hybrid": {"queries": [{"match": {"text": "wild salmon"}}, {"knn": {"v": {"vector": [0.1], "k": 5}}}]}
            }
        },
        "wild salmon",
    ),
    "vectors alone": ({"query": {"knn": {"v": {"vector": [0.1, 0.2], "k": 5}}}}, None),
    "script around the words": (
        {
            "query": {
                "script_score": {
                    "query": {"bool": {"must": [{"match": {"title": "garden shed"}}], "filter": [RECENT]}},
                    "script": {"source": "_score * doc['rating'].value"},
                }
            }
        },
        "garden shed",
    ),
    "admin: filters only": ({"query": {"bool": {"filter": [IN_STOCK, RECENT]}}, "size": 50}, None),
    "admin: an id": ({"query": {"ids": {"values": ["4711"]}}}, None),
    "admin: words as a filter": ({"query": {"constant_score": {"filter": {"match": {"title": "refund"}}}}}, None),
    "dashboard: counts only": (
        {"size": 0, "query": {"match": {"title": "refund"}}, "aggs": {"days": {"date_histogram": {"field": "d"}}}},
        None,
    ),
    "other scripts": ({"query": {"match": {"title": "東京 観光 ガイド"}}}, "東京 観光 ガイド"),
    "spaces and line ends": ({"query": {"match": {"title": "  two\n\twords  "}}}, "two words"),
    "the same words in another case": (
        {"query": {"bool": {"should": [{"match": {"title": "Graph Search"}}, {"match": {"text": "graph search"}}]}}},
        "Graph Search",
    ),
    "a fallback spelled as a filter of ids": (
        {"query": {"bool": {"should": [{"match": {"title": "pump"}}, {"terms": {"pinned_id": ["7", "9"]}}]}}},
        "pump",
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("as_text", [False, True], ids=["mapping", "JSON"])
def test_the_model_reads_what_was_asked_for(name: str, as_text: bool) -> None:
    body, expected = BODIES[name]
    plan = make_plan(Search("index", {}, json.dumps(body) if as_text else body), Rerank())
    if expected is None:
        assert isinstance(plan, Skip)
        assert plan.reason
        return
    assert isinstance(plan, Plan), plan
    assert plan.text == expected


def test_there_are_thirty() -> None:
    assert len(BODIES) >= 30
