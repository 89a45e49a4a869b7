"""Indexes of every kind under one contract: exact cosines, ids that stay, deletes that hold, a measured recall."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rerank_plugin.errors import VectorIndexError
from rerank_plugin.retrieval import vector_kinds
from rerank_plugin.retrieval.dense import VectorIndex
from rerank_plugin.retrieval.vector_kinds import KINDS, RECALL, build, kind_for

COUNT, DIMENSIONS = 1_500, 24


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Vectors around a few centres, as texts are, of length 1."""
    centres = np.random.default_rng(0).normal(size=(30, DIMENSIONS))
    rng = np.random.default_rng(100 + seed)
    rows = centres[rng.integers(30, size=count)] + 0.6 * rng.normal(size=(count, DIMENSIONS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(COUNT)
IDS = [f"d{number}" for number in range(COUNT)]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    VectorIndex.write(tmp_path / "v", IDS, VECTORS, name="v", model="m", kind=request.param)
    return tmp_path / "v"


def nearest(query: np.ndarray, k: int, among: list[int] | None = None) -> list[str]:
    cosines = VECTORS @ query
    order = sorted(range(COUNT) if among is None else among, key=lambda place: -cosines[place])
    return [IDS[place] for place in order[:k]]


def test_the_kind_goes_by_size():
    found = [kind_for(size) for size in (0, 50_000, 50_001, 1_000_000, 1_000_001)]
    assert found == ["flat", "flat", "hnsw", "hnsw", "ivf"]
    with pytest.raises(ValueError, match="flat, hnsw, ivf"):
        build(VECTORS, "tree")


def test_recall_is_measured_written_and_true(folder):
    index = VectorIndex.open(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["recall@100"]) == (index.kind, index.meta.recall)
    assert index.meta.recall >= RECALL
    assert (index.meta.recall == 1.0) or index.kind != "flat"
    queries = clustered(50, seed=7)
    shares = []
    for query in queries:
        found = index.search(query, 100)
        for doc_id, cosine in found[:5]:
            assert cosine == pytest.approx(float(VECTORS[int(doc_id[1:])] @ query), abs=2e-6)
        assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        shares.append(len({doc_id for doc_id, _ in found} & set(nearest(query, 100))) / 100)
    assert np.mean(shares) >= 0.95


def test_among_chosen_documents_every_kind_is_exact(folder):
    index = VectorIndex.open(folder)
    chosen = list(range(0, COUNT, 11))
    found = index.search(VECTORS[5], 20, among=[IDS[place] for place in chosen] + ["nobody"])
    assert [doc_id for doc_id, _ in found] == nearest(VECTORS[5], 20, chosen)


def test_similarities_and_rows_are_exact(folder):
    index = VectorIndex.open(folder)
    assert index.similarities(VECTORS[0], ["d0", "nobody"])[1] is None
    assert index.similarities(VECTORS[0], ["d0", "d9"]) == pytest.approx(
        [1.0, float(VECTORS[0] @ VECTORS[9])], abs=1e-5
    )


def test_added_replaced_and_deleted(folder):
    before = VectorIndex.open(folder)
    new = clustered(3, seed=9)
    meta = VectorIndex.update(folder, ["new", "d1", "newer"], new, delete=["d0", "nobody"], expected=before.meta)
    index = VectorIndex.open(folder, meta)
    assert (len(index), index.kind) == (COUNT + 1, before.kind)
    assert meta.checksum != before.meta.checksum
    assert index.search(new[0], 1)[0][0] == "new"
    assert index.similarities(new[1], ["d1", "d0"]) == [pytest.approx(1.0, abs=1e-5), None]
    assert "d0" not in [doc_id for doc_id, _ in index.search(VECTORS[0], 200)]
    assert "d0" not in [doc_id for doc_id, _ in index.search(VECTORS[0], 200, among=IDS)]
    with pytest.raises(VectorIndexError, match="does not belong"):
        VectorIndex.open(folder, before.meta)


def test_many_deletes_build_it_anew(folder):
    VectorIndex.update(folder, [], np.empty((0, DIMENSIONS), dtype=np.float32), delete=IDS[: COUNT // 2])
    index = VectorIndex.open(folder)
    ids = json.loads((folder / "ids.json").read_text())
    assert (len(index), ids) == (COUNT - COUNT // 2, IDS[COUNT // 2 :])
    assert index.search(VECTORS[-1], 1) == [(IDS[-1], 1.0)]


def test_growth_changes_the_kind(folder, monkeypatch):
    monkeypatch.setattr(vector_kinds, "MOST_FLAT", COUNT)
    monkeypatch.setattr(vector_kinds, "MOST_HNSW", COUNT)
    VectorIndex.update(folder, ["one more"], clustered(1, seed=3))
    assert VectorIndex.open(folder).kind == "ivf"


def test_other_dimensions_are_refused(folder):
    with pytest.raises(VectorIndexError, match="24 dimensions, got 3"):
        VectorIndex.update(folder, ["x"], np.ones((1, 3), dtype=np.float32))


def test_an_index_can_be_emptied_and_filled_again(folder):
    VectorIndex.update(folder, [], np.empty((0, DIMENSIONS), dtype=np.float32), delete=IDS)
    assert VectorIndex.open(folder).search(VECTORS[0], 5) == []
    VectorIndex.update(folder, IDS[:2], VECTORS[:2])
    assert [doc_id for doc_id, _ in VectorIndex.open(folder).search(VECTORS[0], 5)] == nearest(VECTORS[0], 2, [0, 1])
