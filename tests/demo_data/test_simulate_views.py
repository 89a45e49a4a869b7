"""View counts are reproducible, follow the written formula, and cannot know the grades."""

import ast
import inspect
import json
import math
import shutil
from dataclasses import fields
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.demo_data import DIRECTORY, simulate_views
from rerank_plugin.demo_data.simulate_views import Work, read_works, write_views
from rerank_plugin.errors import DataError

simulate = simulate_views.simulate_views

PAIR = (Work("a-2004", 2004, ()), Work("b-2014", 2014, ("a-2004",)))


def test_the_stored_counts_are_what_the_simulator_draws():
    stored, works = read_works(DIRECTORY / "corpus.jsonl")
    assert {record["_id"]: record["metadata"]["events"]["views"] for record in stored} == simulate(works)


def test_counts_follow_the_formula():
    uniform = np.random.default_rng(7).random(2)
    first, second = (NormalDist().inv_cdf(float(value)) for value in uniform)
    assert simulate(PAIR, seed=7, until_year=2024) == {
        "a-2004": round(math.exp(5 + first) * 2 * math.sqrt(3)),  # cited once, twenty years old
        "b-2014": round(math.exp(5 + second) * 1 * math.sqrt(2)),  # not cited, ten years old
    }


@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_order_of_the_works_does_not_matter(order, seed):
    works = [Work(f"w{number}", 1990 + number, ("w0",) if number else ()) for number in range(6)]
    assert simulate([works[number] for number in order], seed=seed) == simulate(works, seed=seed)


def test_future_works_count_as_new_and_no_works_are_no_counts():
    assert simulate([Work("a", 2030, ())], until_year=2024) == simulate([Work("a", 2024, ())], until_year=2024)
    assert simulate([]) == {}


def test_the_simulator_is_given_neither_queries_nor_grades():
    assert [field.name for field in fields(Work)] == ["work_id", "year", "cites"]
    assert list(inspect.signature(simulate).parameters) == ["works", "seed", "until_year"]
    assert list(inspect.signature(write_views).parameters) == ["corpus"]


def test_its_source_opens_no_other_file_than_the_corpus():
    tree = ast.parse(inspect.getsource(simulate_views))
    docstrings = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
    }
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words = " ".join((strings - docstrings) | names).casefold()
    for forbidden in ("qrel", "quer", "grade", "judg", "score", ".tsv"):
        assert forbidden not in words


def test_it_writes_the_same_file_where_no_queries_and_grades_exist(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    stripped = []
    for line in (DIRECTORY / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        del record["metadata"]["events"]
        stripped.append(json.dumps(record, ensure_ascii=False))
    corpus.write_text("\n".join(stripped) + "\n", encoding="utf-8")
    write_views(corpus)
    assert corpus.read_bytes() == (DIRECTORY / "corpus.jsonl").read_bytes()


@pytest.mark.parametrize("line", ["not json", '{"_id": "x"}', '{"_id": "x", "metadata": {"date": null}}', "[]"])
def test_a_broken_corpus_is_refused_with_its_line_and_left_alone(tmp_path, line):
    corpus = tmp_path / "corpus.jsonl"
    shutil.copy(DIRECTORY / "corpus.jsonl", corpus)
    with corpus.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    before = corpus.read_bytes()
    count = before.count(b"\n")
    with pytest.raises(DataError, match=rf"line {count} must be a JSON record with _id and metadata.date"):
        write_views(corpus)
    assert corpus.read_bytes() == before
