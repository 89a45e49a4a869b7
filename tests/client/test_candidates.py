"""Hits as candidates: texts through arrays and objects, features from the indexer's object and from the field map."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fakes_library import books, reranking
from rerank_plugin.client.candidates import Reader, features_of, text_of, values_at
from rerank_plugin.config import Rerank
from rerank_plugin.domain.index_meta import IndexMeta

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE: dict[str, Any] = {
    "title": "T",
    "parts": [{"text": "p1", "notes": ["n1", "n2"]}, {"text": ["p2", "p3"]}, {"other": 1}],
    "user.name": "dotted",
    "meta": {"deep.er": {"key": "dug"}},
    "year": 1984,
    "flag": True,
    "empty": "  ",
    "rerank": {"authority": 0.5, "note": "never read as text"},
}


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (("title",), "T"),
        (("title", "parts.text"), "T\np1\np2\np3"),
        (("parts.text", "title"), "p1\np2\np3\nT"),
        (("parts.notes",), "n1\nn2"),
        (("user.name", "meta.deep.er.key"), "dotted\ndug"),
        (("year", "flag", "empty", "absent", "parts"), "1984"),
        (("title", "title.english"), "T"),
        (("*",), "T\np1\nn1\nn2\np2\np3\ndotted\ndug"),
        (("parts.*",), "p1\nn1\nn2\np2\np3"),
        ((), ""),
    ],
)
def test_texts(paths: tuple[str, ...], text: str) -> None:
    assert text_of(SOURCE, paths) == text


def test_values_at_a_path_that_ends_early_or_never() -> None:
    assert values_at(SOURCE, "title.raw.deeper") == ["T"]
    assert values_at(SOURCE, "nothing.here") == []
    assert values_at(None, "a") == [None]


@pytest.mark.parametrize(
    ("field_map", "source", "expected"),
    [
        ({"authority": "pagerank"}, {"pagerank": 0.25}, {"authority": 0.25}),
        ({"popularity": {"field": "s.n", "scale": "log", "pivot": 9}}, {"s": {"n": 9}}, {"popularity": 0.5}),
        ({"popularity": {"field": "n", "scale": "saturation", "pivot": 5}}, {"n": [15]}, {"popularity": 0.75}),
        ({"published_at": "created"}, {"created": "2025-01-01"}, {"freshness": 0.5, "age_days": 365.0}),
        ({"freshness": {"field": "at", "scale": "date"}}, {"at": 1767225600000}, {"freshness": 1.0, "age_days": 0.0}),
        ({"published_at": "created"}, {"created": "2030"}, {"freshness": 1.0, "age_days": 0.0}),
        ({"published_at": "created"}, {"created": "soon"}, {}),
        ({"authority": "pagerank"}, {"pagerank": "high"}, {}),
        ({"authority": "pagerank"}, {}, {}),
        (
            {"authority": "a"},
            {"a": 0.9, "rerank": {"authority": 0.1, "novelty": 0.2}},
            {"authority": 0.9, "novelty": 0.2},
        ),
        ({"authority": "a"}, {"rerank": {"authority": 0.1}}, {"authority": 0.1}),
        ({}, {"rerank": "a string of the application's own"}, {}),
        ({}, {"rerank": {"authority": float("nan"), "popularity": 7}}, {"popularity": 1.0}),
    ],
)
def test_features(field_map: dict[str, Any], source: dict[str, Any], expected: dict[str, float]) -> None:
    settings = Rerank.of({"field_map": field_map})
    features = features_of(source, settings.field_map, now=NOW, half_life_days=365.0)
    found = {name: getattr(features, name) for name in ("authority", "freshness", "novelty", "popularity", "age_days")}
    assert {name: value for name, value in found.items() if value is not None} == pytest.approx(expected)


def test_a_live_index_needs_no_reindex() -> None:
    engine = books(meta=False)
    for number, source in enumerate(engine.indices["books"].values()):
        source |= {"rerank": None, "sold": 10 * number, "created": "2025-01-01"}
    response = reranking(
        engine,
        field_map={"popularity": {"field": "sold", "scale": "log", "pivot": 100}, "published_at": "created"},
        weights={"popularity": 4.0},
    ).search(index="books", body={"query": {"match": {"title": "book"}}, "size": 2, "_source": ["title"]})
    hit = response["hits"]["hits"][0]
    assert (hit["_id"], hit["_source"]) == ("b30", {"title": "Book 30"})
    assert hit["_rerank"]["factors"]["popularity"]["origin"] == "feature"
    assert hit["_rerank"]["factors"]["freshness"]["utility"] == pytest.approx(0.5, abs=1e-3)


def meta(**changed: Any) -> IndexMeta:
    return IndexMeta(**{"reference_time": NOW, "half_life_days": 10.0, "text_fields": ("body",), **changed})


def test_text_fields_and_half_life_settings_before_index_before_query() -> None:
    hit = {
        "_id": "1",
        "_index": "i",
        "_source": {"a": "A", "body": "B", "c": "C", "rerank": {"published_at": "2025-12-22"}},
    }

    def read(settings: dict[str, Any], metas: dict[str, IndexMeta], searched: tuple[str, ...]) -> tuple[str, float]:
        reader = Reader(settings=Rerank.of(settings), metas=metas, searched=searched, now=NOW)
        [candidate] = reader.candidates([hit], [None])
        assert candidate.features.freshness is not None
        return candidate.text, round(candidate.features.freshness, 3)

    assert read({"text_fields": "a", "half_life_days": 30}, {"i": meta()}, ("c",)) == ("A", 0.75)
    assert read({}, {"i": meta()}, ("c",)) == ("B", 0.5)
    assert read({}, {"i": meta(text_fields=())}, ("c",)) == ("C", 0.5)
    assert read({}, {}, ("c",)) == ("C", 0.973)
    assert read({}, {}, ()) == ("A\nB\nC", 0.973)


def test_needed_paths_cover_all_that_is_read() -> None:
    settings = Rerank.of({"field_map": {"authority": "x.rank"}})
    needed = Reader(settings=settings, metas={"i": meta()}, searched=("title.english",), now=NOW).needed()
    assert set(needed) == {
        "title.english", "title", "body", "x.rank", "rerank.authority", "rerank.freshness", "rerank.novelty",
        "rerank.popularity", "rerank.published_at", "rerank.half_life_days",
    }  # fmt: skip
    assert "*" in Reader(settings=Rerank(), metas={}, searched=(), now=NOW).needed()


def test_a_hit_without_score_or_source_is_a_candidate_all_the_same() -> None:
    reader = Reader(settings=Rerank(), metas={}, searched=("a",), now=NOW)
    [candidate] = reader.candidates([{"_id": 7, "_score": None}], [0.5], first_rank=3)
    assert (candidate.doc_id, candidate.retrieval_score, candidate.text) == ("7", None, "")
    assert (candidate.retrieval_rank, candidate.cosine, candidate.features.missing) == (3, 0.5, 4)


def test_a_template_is_filled_from_dotted_nested_and_repeated_fields() -> None:
    settings = Rerank(text_template="{title}\nBy {authors.name: and }\n{meta.abstract}{meta.note}")
    reader = Reader(settings=settings, metas={}, searched=("body.english",), now=NOW)
    source = {
        "title": "Graphs",
        "authors": [{"name": "Ada"}, {"name": ["Bo", "Cy"]}, {}],
        "meta.abstract": "On paths.",
        "body": "unread",
    }
    hits = [{"_id": "1", "_source": source}, {"_id": "2", "_source": {"body": "unread"}}]
    first, second = reader.candidates(hits, [None, None])
    assert first.text == "Graphs\nBy Ada and Bo and Cy\nOn paths."
    assert second.text == ""
    assert reader.needed()[:4] == ("title", "authors.name", "meta.abstract", "meta.note")
    assert "body" not in reader.needed()
