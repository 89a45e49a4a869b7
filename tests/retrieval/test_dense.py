"""The vector index on vectors whose cosines can be worked out by hand."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_plugin.domain.index_meta import VectorsMeta
from rerank_plugin.errors import MissingExtraError, VectorIndexError
from rerank_plugin.retrieval.dense import VectorIndex
from rerank_plugin.retrieval.vector_folder import check_replaceable

#: east, north (longer), north-east, east again, west
IDS = ["east", "north", "north-east", "east-too", "west"]
VECTORS = np.array([[1, 0], [0, 2], [1, 1], [1, 0], [-1, 0]], dtype=np.float32)
EAST = np.array([1.0, 0.0], dtype=np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    VectorIndex.write(tmp_path / "vectors", IDS, VECTORS, name="vectors", model="tiny@1")
    return tmp_path / "vectors"


def test_cosines_best_first_and_ties_in_insertion_order(folder):
    found = VectorIndex.open(folder).search(EAST, 5)
    assert found == [("east", 1.0), ("east-too", 1.0), ("north-east", 0.707107), ("north", 0.0), ("west", -1.0)]


def test_k_larger_than_the_corpus_and_below_one(folder):
    index = VectorIndex.open(folder)
    assert len(index.search(EAST, 1000)) == 5
    assert index.search(EAST, 0) == []
    assert index.search(EAST, -1) == []


def test_a_tie_across_the_cut_goes_to_what_was_inserted_first(tmp_path):
    # 40 equal vectors: which of them a heap keeps is chance, insertion order is not.
    ids = [f"d{number:02d}" for number in range(41)]
    vectors = np.vstack([[[0.0, 1.0]], np.tile([[3.0, 4.0]], (40, 1))]).astype(np.float32)
    VectorIndex.write(tmp_path / "v", ids, vectors, name="v", model="m")
    found = VectorIndex.open(tmp_path / "v").search(np.array([3.0, 4.0], dtype=np.float32), 3)
    assert found == [("d01", 1.0), ("d02", 1.0), ("d03", 1.0)]
    among = VectorIndex.open(tmp_path / "v").search(np.array([3.0, 4.0], dtype=np.float32), 2, among=ids[:0:-1])
    assert among == [("d01", 1.0), ("d02", 1.0)]


def test_a_tie_in_six_digits_across_the_cut_is_a_tie(tmp_path):
    # The second is nearer to north by 1.4e-7, less than six digits show: the first inserted wins.
    vectors = np.array([[3.0, 4.0], [3.0, 4.000002], [1.0, 0.0]], dtype=np.float32)
    VectorIndex.write(tmp_path / "v", ["first", "second", "far"], vectors, name="v", model="m")
    found = VectorIndex.open(tmp_path / "v").search(np.array([0.0, 1.0], dtype=np.float32), 1)
    assert found == [("first", 0.8)]


def test_among_looks_at_nothing_else_and_passes_over_unknown_ids(folder):
    index = VectorIndex.open(folder)
    assert index.search(EAST, 3, among=["west", "nobody", "north", "west"]) == [("north", 0.0), ("west", -1.0)]
    assert index.search(EAST, 3, among=[]) == []
    assert index.search(EAST, 3, among={"nobody"}) == []


def test_similarities_in_the_order_asked_with_none_for_unknown_ids(folder):
    index = VectorIndex.open(folder)
    assert index.similarities(EAST * 7, ["west", "nobody", "north-east", "west"]) == [-1.0, None, 0.707107, -1.0]
    assert index.similarities(EAST, []) == []
    assert index.similarities(EAST, ["nobody"]) == [None]


def test_what_it_says_of_itself(folder):
    index = VectorIndex.open(folder)
    assert (len(index), index.dimensions, index.model, index.meta.name) == (5, 2, "tiny@1", "vectors")
    assert len(index.meta.checksum) == 64
    assert sorted(each.name for each in folder.iterdir()) == ["ids.json", "manifest.json", "vectors.faiss"]


def test_an_empty_index_finds_nothing(tmp_path):
    VectorIndex.write(tmp_path / "v", [], np.zeros((0, 3), dtype=np.float32), name="v", model="m")
    index = VectorIndex.open(tmp_path / "v")
    assert (len(index), index.dimensions) == (0, 3)
    assert index.search(np.ones(3, dtype=np.float32), 5) == []
    assert index.similarities(np.ones(3, dtype=np.float32), ["a"]) == [None]


def test_a_zero_vector_is_like_nothing(folder):
    assert {cosine for _, cosine in VectorIndex.open(folder).search(np.zeros(2, dtype=np.float32), 5)} == {0.0}


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=12),
    query=st.lists(st.integers(-3, 3), min_size=3, max_size=3),
    k=st.integers(1, 15),
)
def test_search_equals_sorting_all_cosines(tmp_path_factory, rows, query, k):
    folder = tmp_path_factory.mktemp("vectors") / "v"
    ids = [f"d{number}" for number in range(len(rows))]
    VectorIndex.write(folder, ids, np.array(rows, dtype=np.float32), name="v", model="m")
    index = VectorIndex.open(folder)
    vector = np.array(query, dtype=np.float32)

    def cosine(row: list[int]) -> float:
        lengths = float(np.linalg.norm(row) * np.linalg.norm(query))
        return float(np.dot(row, query)) / lengths if lengths else 0.0

    found = index.search(vector, k)
    expected = sorted((-cosine(row), position) for position, row in enumerate(rows))[:k]
    assert [cosine for _, cosine in found] == pytest.approx([-value for value, _ in expected], abs=2e-6)
    assert index.similarities(vector, [doc_id for doc_id, _ in found]) == pytest.approx(
        [cosine for _, cosine in found], abs=2e-6
    )


def test_writing_again_replaces_the_folder_whole(folder):
    before = VectorIndex.open(folder).meta
    after = VectorIndex.write(folder, ["only"], np.array([[0.0, 1.0, 0.0]], dtype=np.float32), name="v", model="new@2")
    assert before.checksum != after.checksum
    assert VectorIndex.open(folder, after).search(np.array([0.0, 1.0, 0.0]), 9) == [("only", 1.0)]
    assert [each.name for each in folder.parent.iterdir()] == ["vectors"], "no scratch folder is left behind"


def test_equal_vectors_give_equal_checksums(folder, tmp_path):
    again = VectorIndex.write(tmp_path / "again", IDS, VECTORS, name="again", model="tiny@1")
    assert again.checksum == VectorIndex.open(folder).meta.checksum
    other = VectorIndex.write(tmp_path / "other", [f"{each}'" for each in IDS], VECTORS, name="again", model="tiny@1")
    assert other.checksum != again.checksum, "the same vectors of other documents are another index"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checksum": "0" * 64}, "its checksum is"),
        ({"model": "other@9"}, "its model is tiny@1, the index was loaded with other@9"),
        ({"dimensions": 384}, "its dimensions is 2, the index was loaded with 384"),
    ],
)
def test_a_folder_of_another_index_is_refused(folder, change, message):
    meta = VectorIndex.open(folder).meta
    assert VectorIndex.open(folder, replace(meta, name="moved elsewhere")).meta == meta
    with pytest.raises(VectorIndexError, match=message) as caught:
        VectorIndex.open(folder, replace(meta, **change))
    assert "run rerank-index load --vectors again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["vectors.faiss", "ids.json"])
def test_a_changed_file_is_refused(folder, file):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-3] + b"x" + content[-2:])
    with pytest.raises(VectorIndexError, match=f"{file} is not the file its manifest describes"):
        VectorIndex.open(folder)


@pytest.mark.parametrize("file", ["vectors.faiss", "ids.json", "manifest.json"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(VectorIndexError, match=file) as caught:
        VectorIndex.open(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_a_broken_manifest_is_one_line(folder, manifest):
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(VectorIndexError, match="load --vectors again"):
        VectorIndex.open(folder)


def test_counts_that_contradict_each_other_are_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "documents": 4}), encoding="utf-8")
    with pytest.raises(VectorIndexError, match="holds 5 vectors of 2 dimensions for 5 ids, its manifest says 4"):
        VectorIndex.open(folder)


@pytest.mark.parametrize(
    ("vector", "message"),
    [([1.0, 0.0, 0.0], "the query's vector has 3"), ([1.0, float("nan")], "must be finite")],
)
def test_a_vector_that_does_not_fit_is_refused(folder, vector, message):
    index = VectorIndex.open(folder)
    for ask in (lambda: index.search(np.array(vector), 1), lambda: index.similarities(np.array(vector), ["east"])):
        with pytest.raises(VectorIndexError, match=message):
            ask()


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], [[1.0, 0.0]], "one row per document"),
        (["a", "a"], [[1.0, 0.0], [0.0, 1.0]], "distinct"),
        (["a"], [[float("inf"), 0.0]], "finite"),
    ],
)
def test_vectors_that_cannot_be_an_index_are_refused_and_leave_the_old_one(folder, ids, vectors, message):
    with pytest.raises(VectorIndexError, match=message):
        VectorIndex.write(folder, ids, np.array(vectors, dtype=np.float32), name="v", model="m")
    assert len(VectorIndex.open(folder)) == 5


def test_a_folder_with_other_things_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(VectorIndexError, match=r"holds other things than a vector index \(thesis.tex\)"):
        VectorIndex.write(tmp_path, IDS, VECTORS, name="v", model="m")
    with pytest.raises(VectorIndexError, match="is a file"):
        VectorIndex.write(tmp_path / "thesis.tex", IDS, VECTORS, name="v", model="m")
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(VectorIndexError, match="cannot write the vector index") as caught:
        VectorIndex.write(tmp_path / "file" / "v", IDS, VECTORS, name="v", model="m")
    assert "\n" not in str(caught.value)
    with pytest.raises(VectorIndexError, match="cannot write the vector index"):
        check_replaceable(tmp_path / "file" / "v")


def test_asking_for_a_place_leaves_nothing_but_its_parents(tmp_path):
    check_replaceable(tmp_path / "new" / "v")
    assert [each.name for each in (tmp_path / "new").iterdir()] == []


def test_no_space_left_is_one_line_and_leaves_the_old_index(folder):
    many = np.ones((64, 64), dtype=np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(VectorIndexError, match=r"cannot write the vector index .* free some space") as caught:
            VectorIndex.write(folder, [str(each) for each in range(64)], many, name="v", model="m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert len(VectorIndex.open(folder)) == 5
    assert [each.name for each in folder.parent.iterdir()] == ["vectors"]


def test_without_faiss_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'dense': pip install 'rerank-plugin\[dense\]'"):
        VectorIndex.open(tmp_path)


def test_meta_is_the_domain_s_own(folder):
    assert isinstance(VectorIndex.open(folder).meta, VectorsMeta)


FORKING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from rerank_plugin.retrieval.dense import VectorIndex
vectors = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
folder = Path(sys.argv[1]) / "vectors"
VectorIndex.write(folder, [str(number) for number in range(len(vectors))], vectors, name="vectors", model="tiny@1")
index = VectorIndex.open(folder)
before = index.search(vectors[7], 10)
index._index.search(vectors[:64], 10)  # in parallel: the pool of threads exists now
child = os.fork()
if child == 0:
    signal.alarm(60)
    found = [each.search(vectors[7], 10) for each in (index, VectorIndex.open(folder))]
    os._exit(0 if all([i for i, _ in each] == [i for i, _ in before] for each in found) else 3)
status = os.waitpid(child, 0)[1]
assert status == 0, f"the child ended with {status}"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_worker_searches(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
