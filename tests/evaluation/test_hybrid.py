from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rerank_plugin.errors import ConfigError
from rerank_plugin.evaluation.arms import FeatureReader, Target
from rerank_plugin.evaluation.collection import Query
from rerank_plugin.evaluation.hybrid import HybridArm, VectorField, hybrid_body, vector_field

NESTED = {
    "properties": {
        "title": {"type": "text"},
        "doc": {"properties": {"vec": {"type": "knn_vector", "dimension": 3}}},
        "other": {"type": "dense_vector", "dims": 4},
    }
}


def test_the_first_field_with_vectors_of_that_length_is_taken_or_the_named_one():
    assert vector_field([{}, NESTED], "", 3) == VectorField("doc.vec", "knn_vector", 3)
    assert vector_field([NESTED], "", 4) == VectorField("other", "dense_vector", 4)
    assert vector_field([NESTED], "other", 4).path == "other"


@pytest.mark.parametrize(
    ("mapping", "wanted", "told"),
    [
        ({"properties": {"title": {"type": "text"}}}, "", "the index has no vector field "),
        (NESTED, "title", "no vector field 'title'"),
        (NESTED, "other", "other has 4 dimensions, the model's vectors have 3"),
    ],
)
def test_without_a_fitting_field_there_is_one_clear_line(mapping, wanted, told):
    with pytest.raises(ConfigError) as caught:
        vector_field([mapping], wanted, 3)
    assert told in str(caught.value)


def test_each_engine_is_asked_in_its_own_words():
    words = {"match": {"content": "x"}}
    opensearch = hybrid_body(words, VectorField("v", "knn_vector", 2), [0.5, 1.0])
    assert opensearch["query"]["hybrid"]["queries"] == [words, {"knn": {"v": {"vector": [0.5, 1.0], "k": 100}}}]
    assert "normalization-processor" in opensearch["search_pipeline"]["phase_results_processors"][0]
    elasticsearch = hybrid_body(words, VectorField("v", "dense_vector", 2), [0.5, 1.0])
    assert elasticsearch["query"] == words
    assert elasticsearch["knn"] == {"field": "v", "query_vector": [0.5, 1.0], "k": 100, "num_candidates": 1000}


def test_the_hits_come_in_the_engines_order_without_dropped_documents():
    class Client:
        def search(self, *, body, index):
            self.body = body
            return {"hits": {"hits": [{"_id": each, "_score": 1.0, "_source": {}} for each in ("own", "b", "a")]}}

    client = Client()
    reader = FeatureReader(now=datetime(2020, 1, 1, tzinfo=UTC), half_life_days=1)
    target = Target(client=client, index="i", fields=("content",), reader=reader)
    arm = HybridArm(target=target, field=VectorField("v", "dense_vector", 2), encode=lambda text: [1.0, 0.0])
    assert [each.doc_id for each in arm.answer(Query("q", "x", frozenset({"own"}))).found] == ["b", "a"]
    assert client.body["size"] == 101
