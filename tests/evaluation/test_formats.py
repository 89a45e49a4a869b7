from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.evaluation.collection import Collection, Query
from rerank_plugin.evaluation.formats import read_any_queries, read_collection, read_judgments, unjudged_collection
from rerank_plugin.evaluation.ir_datasets_reader import catalogue_name, read_catalogue
from rerank_plugin.evaluation.writers import FORMS, Written, write_form

QUEPID_EXPORT = '''Team Name,Case Name,Query Text,Doc ID,Title,Rating
t,c,Graph search,d1,"Graphs, and more",3
t,c,Graph search,d2,x,0
t,c,"two ""words""",d1,y,1.0
t,c,graph  SEARCH,d3,z,
'''
QUERY_SET = {"name": "n", "sampling": "manual", "querySetQueries": [{"queryText": "graph search"}, {"queryText": "b"}]}
JUDGMENTS = {
    "name": "n",
    "type": "IMPORT_JUDGMENT",
    "judgmentRatings": [{"query": "graph search", "ratings": [{"docId": "d1", "rating": "3.0"}]}],
}
RANK_EVAL = {
    "requests": [
        {
            "id": "a",
            "request": {"query": {"match": {"content": "graph search"}}},
            "ratings": [{"_index": "i", "_id": "d1", "rating": 2}],
        },
        {"id": "b", "template_id": "t", "params": {"q": "other words", "size": 3}, "ratings": []},
    ]
}


@pytest.fixture
def file(tmp_path: Path) -> Callable[[object], Path]:
    """A function from text or JSON to a file of it."""
    count = iter(range(99))

    def write(content: object) -> Path:
        path = tmp_path / f"file{next(count)}"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def texts(path: Path) -> list[tuple[str, str]]:
    return [(query.query_id, query.text) for query in read_any_queries(path)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"_id": "x", "text": "one"}\n', [("x", "one")]),
        ("one thing\n\n  two   things \n", [("q1", "one thing"), ("q2", "two things")]),
        ("7\tone thing\n8\ttwo\n", [("7", "one thing"), ("8", "two")]),
        ("one\tthing\nno tab here\n", [("q1", "one thing"), ("q2", "no tab here")]),
        (QUEPID_EXPORT, [("q1", "Graph search"), ("q2", 'two "words"')]),
        ("query,count\ngraph search,7\nb,2\n", [("q1", "graph search"), ("q2", "b")]),
        (QUERY_SET, [("q1", "graph search"), ("q2", "b")]),
        ({"hits": {"hits": [{"_source": QUERY_SET}]}}, [("q1", "graph search"), ("q2", "b")]),
        (RANK_EVAL, [("a", "graph search"), ("b", "other words")]),
        (json.dumps(RANK_EVAL, indent=2), [("a", "graph search"), ("b", "other words")]),
    ],
)
def test_queries_are_read_in_every_form(file, content, expected):
    assert texts(file(content)) == expected


@pytest.mark.parametrize(
    ("content", "expected", "by_text"),
    [
        ("query-id\tcorpus-id\tscore\nx\td1\t2\n", {"x": {"d1": 2}}, False),
        ("x 0 d1 2\n", {"x": {"d1": 2}}, False),
        (QUEPID_EXPORT, {"graph search": {"d1": 3, "d2": 0}, 'two "words"': {"d1": 1}}, True),
        ("query,docid,rating\nGraph search,d1,\n", {}, True),
        (JUDGMENTS, {"graph search": {"d1": 3}}, True),
        ({"hits": {"hits": [{"_source": JUDGMENTS}]}}, {"graph search": {"d1": 3}}, True),
        (RANK_EVAL, {"a": {"d1": 2}}, False),
    ],
)
def test_judgments_are_read_in_every_form(file, content, expected, by_text):
    found = read_judgments(file(content))
    assert (found.grades, found.by_text, found.note) == (expected, by_text, "")


def test_a_gzipped_log_is_a_log(tmp_path):
    path = tmp_path / "log.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert texts(path) == [("q1", "one"), ("q2", "two")]


def test_judgments_by_text_count_for_every_query_of_that_text(file):
    asked = {"x": "GRAPH search", "y": "graph search ", "z": "c"}
    queries = file("\n".join(json.dumps({"_id": key, "text": text}) for key, text in asked.items()))
    found = read_collection("n", queries, file(JUDGMENTS))
    assert found.qrels == {"x": {"d1": 3}, "y": {"d1": 3}}
    assert ([query.query_id for query in found.queries], found.unjudged) == (["x", "y"], 1)


def test_a_judged_text_that_nobody_asks_is_kept_and_can_only_score_0(file):
    ratings = [{"query": each, "ratings": [{"docId": "d", "rating": 1}]} for each in ("a", "b")]
    found = read_collection("n", file("a\n"), file({"judgmentRatings": ratings}))
    assert found.qrels == {"q1": {"d": 1}, "b": {"d": 1}}


def test_fractions_are_cut_into_five_grades_and_it_is_said(file):
    found = read_judgments(file("query,docid,rating\na,d1,0.5\na,d2,0.05\na,d3,0.25\na,d4,-0.1\n"))
    assert found.grades == {"a": {"d1": 4, "d2": 0, "d3": 2, "d4": 0}}
    assert found.note.endswith("cut into grades 0 to 4, where 0.5 is 4")
    assert read_collection("n", file("a\n"), file("query,docid,rating\na,d1,0.5\n")).note


def test_a_log_counts_equal_texts_once_and_keeps_the_first(file):
    found = unjudged_collection("log", file("one\nTwo\nONE\ntwo \nthree\n"))
    assert [(query.query_id, query.text) for query in found.queries] == [("q1", "one"), ("q2", "Two"), ("q5", "three")]
    assert (found.qrels, found.unjudged) == ({}, 3)


@pytest.mark.parametrize(
    ("read", "content", "told"),
    [
        (read_any_queries, "", "has no queries"),
        (read_any_queries, {"querySetQueries": ["x"]}, "a list of objects was expected"),
        (read_any_queries, {"requests": [{"id": "a", "request": {"query": {"match_all": {}}}}]}, "one query text"),
        (read_any_queries, "1\tone\n1\ttwo\n", "the query id '1' occurs twice"),
        (read_any_queries, '{"_id": "x"}', "needs '_id' and 'text'"),
        (read_judgments, "query,docid,rating\na,d1,good\n", "a rating is a number, got 'good'"),
        (read_judgments, "query,docid,rating\na,,1\n", "a rating needs a document"),
        (read_judgments, "query,docid,rating\na,d1,nan\n", "a finite number"),
        (read_judgments, "query,docid,rating\na,d1,1\nA,d1,2\n", "two different ratings"),
        (read_judgments, {"judgmentRatings": [{"query": "a", "ratings": 3}]}, "a list of objects was expected"),
        (read_judgments, "what is this\n", "a grade is a whole number"),
    ],
)
def test_what_cannot_be_understood_is_one_line_with_the_files_name(file, read, content, told):
    path = file(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
WORDS = st.text(LETTERS, min_size=1, max_size=12).filter(str.strip)


@given(
    st.lists(WORDS, min_size=1, max_size=5, unique_by=lambda text: " ".join(text.split()).casefold()),
    st.data(),
)
def test_what_a_form_writes_is_read_again_the_same(tmp_path_factory, asked, data):
    queries = tuple(Query(f"id{place}", " ".join(text.split())) for place, text in enumerate(asked))
    grades = st.dictionaries(st.sampled_from(["d1", "d,2", 'd"3', "ä"]), st.integers(0, 3), max_size=3)
    qrels = {query.query_id: {"d0": 1, **data.draw(grades)} for query in queries}
    collection = Collection(name="n" * 60, queries=queries, qrels=qrels, unjudged=0, without_relevant=0)
    written = Written(collection=collection, index="i", fields=["content"])
    for form in FORMS:
        paths = write_form(form, written, tmp_path_factory.mktemp(form))
        again = read_collection("again", paths[0], paths[-1])
        by_text = {query.text: again.qrels[query.query_id] for query in again.queries}
        assert by_text == {query.text: qrels[query.query_id] for query in queries}, form


def test_the_workbench_takes_names_of_fifty_letters_and_ratings_as_text():
    query = Query("q", "x")
    collection = Collection(name="n" * 60, queries=(query,), qrels={"q": {"d": 2}}, unjudged=0, without_relevant=0)
    made = FORMS["workbench"](Written(collection=collection, index="i", fields=["c"]))
    judged = json.loads(made["judgments.json"])
    assert (len(judged["name"]), judged["type"]) == (50, "IMPORT_JUDGMENT")
    assert judged["judgmentRatings"] == [{"query": "x", "ratings": [{"docId": "d", "rating": "2.0"}]}]


class Catalogue:
    """ir_datasets as far as it is used."""

    def load(self, name):
        if name == "none":
            raise KeyError(name)
        topic = SimpleNamespace(query_id="1", title="words", default_text=lambda: "words")
        return SimpleNamespace(
            has_queries=lambda: True,
            has_qrels=lambda: name != "docs",
            queries_iter=lambda: [topic, SimpleNamespace(query_id="2", text="more")],
            qrels_iter=lambda: [SimpleNamespace(query_id="1", doc_id="d", relevance=2)],
        )


def test_a_name_of_the_catalogue_is_a_collection(monkeypatch):
    assert catalogue_name(Path("ir_datasets:beir/scifact/test")) == "beir/scifact/test"
    assert catalogue_name(Path("beir/scifact")) == catalogue_name(None) == ""
    monkeypatch.setitem(sys.modules, "ir_datasets", Catalogue())
    found = read_catalogue("beir/scifact/test")
    assert (found.queries, found.qrels, found.unjudged) == ((Query("1", "words"),), {"1": {"d": 2}}, 1)
    for name, told in (("none", "has no 'none'"), ("docs", "no queries with judgments")):
        with pytest.raises(DataError, match=told):
            read_catalogue(name)


def test_without_the_package_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(ConfigError, match="pip install ir-datasets"):
        read_catalogue("x")
