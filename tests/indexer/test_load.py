"""``load`` end to end: the same documents into every engine, read back through it."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.load import LoadJob, load
from indexer.progress import Silent
from indexer.report import LoadReport
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.engines.connect import connect
from rerank_plugin.models.types import Encoded
from rerank_plugin.retrieval.dense import VectorIndex

NOW = datetime(2024, 1, 1, tzinfo=UTC)
RECORDS: list[dict[str, Any]] = [
    {
        "_id": "old",
        "title": "Sorting networks",
        "text": "Comparators in parallel.",
        "metadata": {"date": "2022-01-01", "events": {"views": 99}, "co_cited": {str(n): n for n in range(2000)}},
        "language": "en",
    },
    {
        "_id": "copy",
        "title": "Sorting networks",
        "text": "Comparators in parallel.",
        "metadata": {"date": "2023-01-01"},
    },
    {"_id": "new", "title": "", "text": "Engines index words.", "metadata": {"date": "2024-01-01", "cites": ["old"]}},
    {"_id": "undated", "title": "Only a title", "metadata": {"date": "in spring", "cites": ["nobody", "new"]}},
]
BAD = ["{", '{"_id": "x"}', '{"text": "no id"}', '{"_id": "new", "text": "again"}']


class WordEncoder:
    """Counts three words: equal texts have equal vectors, and all cosines can be worked out by hand."""

    name = "words@1"
    dimensions = 3

    def encode(self, texts: Sequence[str]) -> Encoded:
        rows = [[text.lower().count(word) for word in ("sorting", "index", "title")] for text in texts]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, 3)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(
            vectors=vectors / np.where(lengths > 0, lengths, 1),
            truncated=np.array([len(text) > 1000 for text in texts], dtype=np.bool_),
        )


@pytest.fixture(params=["embedded", "opensearch"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "embedded":
        opened = connect(f"embedded:{tmp_path / 'engine'}")
    else:
        opened = connect(request.getfixturevalue("opensearch_url"))
    yield opened
    opened.close()


@pytest.fixture
def index(client: Any) -> Iterator[str]:
    name = f"load-{uuid.uuid4().hex[:8]}"
    yield name
    client.indices.delete(index=name, ignore=[404])


def run(client: Any, folder: Path, index: str, records: Sequence[dict[str, Any] | str], **changes: Any) -> LoadReport:
    (folder / "beir").mkdir(exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    (folder / "beir" / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    job = LoadJob(
        **{
            "index": index,
            "docs": str(folder / "beir"),
            "now": NOW,
            "half_life_days": 365.0,
            "rejects": folder / "rejects.jsonl",
            "state": folder / "load.json",
            "run_id": "run-1",
            **changes,
        }
    )
    return load(job, client, WordEncoder(), Silent())


def test_everything_is_stored_enriched_and_described(client, index, tmp_path):
    report = run(client, tmp_path, index, [*RECORDS, *BAD], vectors=tmp_path / "vectors")
    assert report.as_json() | {"seconds": 0, "docs_per_second": 0, "signals": {}} == {
        "read": 8,
        "written": 4,
        "updated": 0,
        "skipped": 0,
        "rejected": 4,
        "problems": {"not_json": 1, "no_text": 1, "no_id": 1, "duplicate_id": 1, "bad_date": 1, "dangling_link": 1},
        "rejects_file": str(tmp_path / "rejects.jsonl"),
        "seconds": 0,
        "docs_per_second": 0,
        "index": index,
        "alias": None,
        "signals": {},
        "vectors": {
            "folder": str(tmp_path / "vectors"),
            "model": "words@1",
            "dimensions": 3,
            "truncated": 0,
            "kind": "flat",
            "recall@100": 1.0,
        },
        "notes": [],
    }
    stored = {hit["_id"]: hit["_source"] for hit in client.search(index=index, body={"size": 10})["hits"]["hits"]}
    assert {doc_id: {k: v for k, v in source.items() if k != "rerank"} for doc_id, source in stored.items()} == {
        each["_id"]: {k: v for k, v in each.items() if k != "_id"} for each in RECORDS
    }
    # PageRank: undated -> new -> old; nobody links to copy and undated. Novelty: copy repeats old.
    assert {doc_id: source["rerank"] for doc_id, source in stored.items()} == {
        "old": {
            "features_version": 1,
            "authority": 0.875,
            "freshness": 0.333333,
            "novelty": 1.0,
            "popularity": 1.0,
            "published_at": "2022-01-01T00:00:00Z",
        },
        "copy": {
            "features_version": 1,
            "authority": 0.25,
            "freshness": 0.5,
            "novelty": 0.0,
            "published_at": "2023-01-01T00:00:00Z",
        },
        "new": {
            "features_version": 1,
            "authority": 0.625,
            "freshness": 1.0,
            "novelty": 1.0,
            "published_at": "2024-01-01T00:00:00Z",
        },
        "undated": {"features_version": 1, "authority": 0.25},
    }


def test_the_index_says_how_it_was_made(client, index, tmp_path):
    run(client, tmp_path, index, RECORDS, vectors=tmp_path / "vectors")
    meta = IndexMeta.from_json(client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["rerank"])
    assert (meta.reference_time, meta.half_life_days, meta.text_fields) == (NOW, 365.0, ("title", "text"))
    assert (meta.run_id, meta.documents) == ("run-1", 4)
    assert meta.signals["popularity"]["knots"] == {"views": 99.0}
    assert meta.signals["config"]["links"] == ["cites"]
    assert len(meta.signals["config_hash"]) == 16
    vectors = VectorIndex.open(tmp_path / "vectors", meta.vectors)
    assert (len(vectors), vectors.model) == (4, "words@1")
    assert vectors.search(np.array([1, 0, 0]), 2) == [("old", 1.0), ("copy", 1.0)]


def test_words_are_found_in_title_and_text_and_features_can_be_searched(client, index, tmp_path):
    run(client, tmp_path, index, RECORDS)

    def found(query: dict[str, Any]) -> set[str]:
        return {hit["_id"] for hit in client.search(index=index, body={"query": query})["hits"]["hits"]}

    assert found({"match": {"content": "network"}}) == {"old", "copy"}, "English analysis"
    assert found({"match": {"content": "engine"}}) == {"new"}
    assert found({"match": {"title": "title"}}) == {"undated"}
    assert found({"range": {"rerank.freshness": {"gte": 0.4}}}) == {"copy", "new"}
    assert found({"exists": {"field": "rerank.popularity"}}) == {"old"}


def test_without_vectors_there_is_no_novelty_and_it_says_so(client, index, tmp_path):
    report = run(client, tmp_path, index, RECORDS)
    assert report.vectors is None
    assert report.signals["novelty"] == {
        "documents": 0,
        "coverage": 0.0,
        "absent": "no vectors: load with --vectors",
    }
    assert "novelty" not in client.get(index=index, id="old")["_source"]["rerank"]


def test_one_document_works(client, index, tmp_path):
    report = run(client, tmp_path, index, RECORDS[:1], vectors=tmp_path / "vectors")
    assert report.written == 1
    assert report.rejects_file is None
    assert not (tmp_path / "rejects.jsonl").exists()
    assert client.get(index=index, id="old")["_source"]["rerank"]["novelty"] == 1.0


def test_chinese_is_found_with_the_cjk_analyzer(client, index, tmp_path):
    run(client, tmp_path, index, [{"_id": "zh", "text": "搜索引擎的排序"}], analyzer="cjk")
    found = client.search(index=index, body={"query": {"match": {"content": "引擎"}}})["hits"]["hits"]
    assert [hit["_id"] for hit in found] == ["zh"]


def test_text_of_every_kind_comes_back_as_it_went_in(client, index, tmp_path):
    records = [
        {"_id": "a/b c?#%", "text": "emoji 😀, right to left שלום, NUL \0 and \u2028 a line separator"},
        {"_id": "big", "text": "words " * (5 * 1024 * 1024 // 6)},
        {"_id": "ü", "title": "t" * 40_000, "text": 7, "metadata": "a string"},
    ]
    report = run(client, tmp_path, index, records, vectors=tmp_path / "vectors")
    assert (report.written, report.rejected) == (3, 0)
    for record in records:
        source = client.get(index=index, id=record["_id"])["_source"]
        assert {key: value for key, value in source.items() if key != "rerank"} == {
            key: value for key, value in record.items() if key != "_id"
        }


def test_what_the_engine_refuses_is_listed_and_the_rest_is_written(client, index, tmp_path):
    # An object cannot be the value of a text field.
    report = run(client, tmp_path, index, [*RECORDS, {"_id": "odd", "text": "t", "content": {"a": 1}}])
    assert (report.written, report.rejected, report.problems["refused"]) == (4, 1, 1)
    listed = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each["reason"][:4] for each in listed if each["kind"] == "refused"] == ["400 "]
    assert client.count(index=index)["count"] == 4


def test_the_embedded_engine_keeps_the_order_of_the_documents(tmp_path: Path) -> None:
    """Equal scores stand in the order of indexing, so that two loads of the same documents find the same."""
    count, filling = 6000, "word " * 300
    records = [{"_id": f"d{place}", "text": f"{filling}{place}"} for place in range(count)]  # three pages of requests
    with connect(f"embedded:{tmp_path / 'engine'}") as client:
        run(client, tmp_path, "ordered", records)
        found = client.search(index="ordered", body={"query": {"match": {"content": "word"}}, "size": 3000})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == [f"d{place}" for place in range(3000)]
