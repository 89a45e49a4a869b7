"""reindex with vectors: in a folder, with novelty, or in the engine's own field; on a real OpenSearch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.progress import Silent
from indexer.refresh.job import RefreshJob, refresh_index
from indexer.reindex.job import ReindexJob, reindex
from indexer.reindex.vectors import VECTOR_FIELD, text_of
from indexer.reindex.wire import Wire
from reindexing.library import contents
from rerank_plugin.domain.index_meta import IndexMeta
from rerank_plugin.errors import DataError
from rerank_plugin.retrieval.dense import VectorIndex

TEXTS = {"a": "red", "b": "blue", "c": "red", "d": "green green", "none": ""}


class ColourEncoder:
    """One axis per colour, so that every cosine is known."""

    name, dimensions = "colours", 3

    def encode(self, texts: list[str]) -> Any:
        colours = ("red", "green", "blue")
        vectors = np.array([[text.count(colour) for colour in colours] for text in texts], dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return SimpleNamespace(vectors=vectors / np.maximum(lengths, 1e-9), truncated=np.zeros(len(texts), bool))


@pytest.fixture
def wire(opensearch_url):
    wire = Wire.open(opensearch_url)
    yield wire
    wire.close()


def make(client, name: str) -> None:
    client.indices.create(index=name, body={"mappings": {"properties": {"body": {"type": "text"}}}})
    for number, (doc_id, text) in enumerate(TEXTS.items()):
        client.index(index=name, id=doc_id, body={"body": text, "date": f"202{number}-01-01"}, refresh=True)


def job(name: str, folder: Path, **more: Any) -> ReindexJob:
    return ReindexJob(
        source=f"{name}-1",
        dest=f"{name}-2",
        state=folder / "state.json",
        rejects=folder / "rejects.jsonl",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        run_id="r",
        **more,
    )


def test_a_folder_of_vectors_and_novelty(client, name, wire, tmp_path):
    make(client, f"{name}-1")
    reindex(job(name, tmp_path, vectors=tmp_path / "vectors"), wire, Silent(), ColourEncoder())
    found = {each: client.get(index=f"{name}-2", id=each)["_source"]["rerank"].get("novelty") for each in TEXTS}
    # c repeats a; nothing is known of a document without text.
    assert found == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0, "none": None}
    meta = client.indices.get_mapping(index=f"{name}-2")[f"{name}-2"]["mappings"]["_meta"]["rerank"]
    index = VectorIndex.open(tmp_path / "vectors", IndexMeta.from_json(meta).vectors)
    assert (len(index), index.model) == (4, "colours")
    assert index.search(np.array([0, 1, 0], dtype=np.float32), 1) == [("d", 1.0)]
    assert {each.name for each in tmp_path.iterdir()} == {"vectors"}


def test_a_refresh_brings_the_folder_up_to_date(client, name, wire, tmp_path):
    make(client, f"{name}-1")
    index, folder = f"{name}-2", tmp_path / "vectors"
    reindex(job(name, tmp_path, vectors=folder), wire, Silent(), ColourEncoder())

    def refresh() -> tuple[int, int]:
        rejects = tmp_path / "rejects.jsonl"
        now = datetime(2026, 1, 1, tzinfo=UTC)
        asked = RefreshJob(index=index, vectors=folder, now=now, rejects=rejects, run_id="f")
        done = refresh_index(asked, wire, Silent(), ColourEncoder()).vectors
        return (0, 0) if done is None else (done.added, done.deleted)

    assert refresh() == (0, 0)
    client.delete(index=index, id="b")
    client.index(index=index, id="a", body={"body": "blue"})  # another text now
    client.index(index=index, id="new", body={"body": "green"}, routing="r")
    assert refresh() == (2, 1)
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["rerank"]
    found = VectorIndex.open(folder, IndexMeta.from_json(meta).vectors)
    assert [found.search(np.eye(3, dtype=np.float32)[axis], 9)[0][0] for axis in (0, 2)] == ["c", "a"]
    assert {doc_id for doc_id, _ in found.search(np.ones(3, dtype=np.float32), 9)} == {"a", "c", "d", "new"}
    assert refresh() == (0, 0)


def test_the_engines_own_field(client, name, wire, tmp_path, knn_client):
    make(client, f"{name}-1")
    reindex(job(name, tmp_path, engine_vectors=True, verify_all=True), wire, Silent(), ColourEncoder())
    near = {"knn": {VECTOR_FIELD: {"vector": [0.0, 1.0, 0.0], "k": 1}}}
    hits = client.search(index=f"{name}-2", body={"size": 1, "query": near})["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == ["d"]
    copied = {key: {**value} for key, value in contents(client, f"{name}-2").items()}
    assert copied["none", None].pop(VECTOR_FIELD) is None
    vectors = {doc_id: copied[doc_id, None].pop(VECTOR_FIELD) for doc_id in "abcd"}
    assert vectors == {"a": [1, 0, 0], "b": [0, 0, 1], "c": [1, 0, 0], "d": [0, 1, 0]}
    assert copied == contents(client, f"{name}-1")
    meta = client.indices.get_mapping(index=f"{name}-2")[f"{name}-2"]["mappings"]["_meta"]["rerank"]
    assert meta["vector_field"] == {"name": VECTOR_FIELD, "model": "colours", "dimensions": 3}


def test_a_source_without_text_is_said(client, name, wire, tmp_path):
    make(client, f"{name}-1")
    with pytest.raises(DataError, match="has text in nothing"):
        reindex(
            job(name, tmp_path, vectors=tmp_path / "vectors", text_fields=("nothing",)), wire, Silent(), ColourEncoder()
        )
    assert not client.indices.exists(index=f"{name}-2")
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))["dest_uuid"] == ""


def test_the_text_of_a_document_by_hand():
    document = {"title": "T", "tags": ["x", "y", None], "deep": {"er": 3}, "metadata": {"abstract": "A"}}
    assert text_of(document, ("title", "tags", "deep.er", "abstract", "none")) == "T\nx\ny\n3\nA"
