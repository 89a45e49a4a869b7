"""Scores and order of the embedded engine: BM25 computed again in plain Python, ties through merges and cuts."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import nDCG
from opensearchpy import OpenSearch, helpers

from rerank_plugin.engines.connect import connect

WORDS = ["red", "blue", "hat", "shoe", "sock"]
documents = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=1, max_size=25)
queries = st.lists(st.sampled_from([*WORDS, "absent"]), min_size=1, max_size=6)


def expected_scores(texts: list[list[str]], query: list[str]) -> dict[int, float]:
    """BM25 of every document that has a word of the query; lengths up to 40 are exact in the index."""
    average = sum(map(len, texts)) / len(texts)
    having = Counter(word for text in texts for word in set(text))
    scores: dict[int, float] = {}
    for at, text in enumerate(texts):
        for word in query:
            tf = text.count(word)
            if tf:
                idf = math.log(1 + (len(texts) - having[word] + 0.5) / (having[word] + 0.5))
                part = idf * tf / (tf + 1.2 * (0.25 + 0.75 * len(text) / average))
                scores[at] = scores.get(at, 0.0) + part
    return scores


def fill(client: OpenSearch, texts: list[str], batch: int) -> None:
    """Indexes ``texts`` under their numbers, one commit per ``batch`` documents."""
    client.indices.create(index="i", body={"mappings": {"properties": {"t": {"type": "text"}}}})
    for start in range(0, len(texts), batch):
        actions = [
            {"_index": "i", "_id": str(at), "t": texts[at]} for at in range(start, min(start + batch, len(texts)))
        ]
        helpers.bulk(client, actions, refresh=True)


@settings(max_examples=25)
@given(documents, queries, st.integers(1, 30), st.integers(1, 8))
def test_scores_and_order_are_those_of_the_formula(texts, query, size, batch):
    expected = expected_scores(texts, query)
    with TemporaryDirectory() as folder:
        client = connect(f"embedded:{folder}")
        fill(client, [" ".join(text) for text in texts], batch)
        body = {"query": {"match": {"t": " ".join(query)}}, "size": size}
        response = client.search(index="i", body=body)["hits"]
        client.close()
    assert response["total"]["value"] == len(expected)
    found = [(int(hit["_id"]), hit["_score"]) for hit in response["hits"]]
    assert len(found) == min(size, len(expected))
    for at, score in found:
        assert score == pytest.approx(expected[at], rel=1e-5)
    # Order by (-score, order of indexing); the formula's own rounding is far below 1e-9.
    order = sorted(expected, key=lambda at: (-round(expected[at], 7), at))
    assert [at for at, _ in found] == order[:size]


def test_ties_keep_the_order_of_indexing_through_merges_and_cuts(embedded):
    # Twenty commits of twelve: tantivy merges some of them, and merged segments are not in the order of indexing.
    same = "three different words"
    fill(embedded, [same] * 240, batch=12)
    embedded.index(index="i", id="5", body={"t": same}, refresh=True)  # written again: now the last
    expected = [str(at) for at in range(240) if at != 5] + ["5"]
    for query in (
        {"match": {"t": "words different three"}},
        {"match_all": {}},
        {"bool": {"filter": {"match": {"t": "words"}}}},
    ):
        for size in (1, 7, 100, 240, 500):
            hits = embedded.search(index="i", body={"query": query, "size": size})["hits"]["hits"]
            assert [hit["_id"] for hit in hits] == expected[:size]
            assert len({hit["_score"] for hit in hits}) == 1
    pages = [
        embedded.search(index="i", body={"query": {"match": {"t": same}}, "from": at, "size": 50})
        for at in range(0, 240, 50)
    ]
    assert [hit["_id"] for page in pages for hit in page["hits"]["hits"]] == expected


def test_a_tie_at_the_cut_lets_the_earliest_in(embedded):
    texts = ["rare common"] * 3 + ["common filler"] * 200
    fill(embedded, texts[::-1], batch=50)
    hits = embedded.search(index="i", body={"query": {"match": {"t": "rare common"}}, "size": 10})["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == ["200", "201", "202", *map(str, range(7))]


def test_sorting_survives_merges(embedded):
    actions = [{"_index": "i", "_id": str(at), "n": at % 7, "k": f"k{at % 5}"} for at in range(150)]
    for start in range(0, 150, 10):
        helpers.bulk(embedded, actions[start : start + 10], refresh=True)
    body = {"sort": [{"n": "desc"}, {"k.keyword": "asc"}], "size": 150}
    found = [int(hit["_id"]) for hit in embedded.search(index="i", body=body)["hits"]["hits"]]
    assert found == sorted(range(150), key=lambda at: (-(at % 7), at % 5, at))


def lines(path: Path) -> list[dict]:
    """Objects of a JSONL file, or of the same with .gz."""
    if not path.exists():
        path = path.with_name(f"{path.name}.gz")
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.data
@pytest.mark.parametrize(("name", "expected"), [("cacm", 0.494), ("nfcorpus", 0.332), ("scifact", 0.683)])
def test_bm25_on_real_collections(collection, embedded, name, expected):
    """nDCG@10, linear gain, title and text in one field; OpenSearch 3.5 gives the same on cacm and scifact."""
    folder = collection(name)
    analyzed = {"type": "text", "analyzer": "english"}
    properties = {
        "title": {**analyzed, "copy_to": "content"},
        "text": {**analyzed, "copy_to": "content"},
        "content": analyzed,
    }
    embedded.indices.create(index="i", body={"mappings": {"properties": properties}})
    corpus = lines(folder / "corpus.jsonl")
    actions = ({"_index": "i", "_id": each["_id"], "title": each["title"], "text": each["text"]} for each in corpus)
    assert helpers.bulk(embedded, actions, chunk_size=2000, refresh=True) == (len(corpus), [])
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    qrels = [ir_measures.Qrel(query, doc, int(float(grade))) for query, doc, grade in rows]
    judged = {each.query_id for each in qrels if each.relevance > 0}
    run = [
        ir_measures.ScoredDoc(query["_id"], hit["_id"], -rank)
        for query in lines(folder / "queries.jsonl")
        if query["_id"] in judged
        for rank, hit in enumerate(
            embedded.search(
                index="i", body={"query": {"match": {"content": query["text"]}}, "size": 100, "_source": False}
            )["hits"]["hits"]
        )
    ]
    measured = ir_measures.calc_aggregate([nDCG @ 10], [each for each in qrels if each.query_id in judged], run)
    assert measured[nDCG @ 10] == pytest.approx(expected, abs=0.002)
