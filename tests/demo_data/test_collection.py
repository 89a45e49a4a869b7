"""The demo collection is well formed, honest about time, and says of itself what is true."""

import csv
import json
import re
from collections import Counter, defaultdict

import pytest

from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.domain.features import parse_date

KINDS = {"keyword", "question", "time", "vocabulary", "title"}


def records(name: str) -> list[dict]:
    lines = (DIRECTORY / name).read_text(encoding="utf-8").rstrip("\n").split("\n")
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def works() -> list[dict]:
    return records("corpus.jsonl")


@pytest.fixture(scope="module")
def queries() -> list[dict]:
    return records("queries.jsonl")


@pytest.fixture(scope="module")
def judgments() -> list[tuple[str, str, int]]:
    with (DIRECTORY / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    assert header == ["query-id", "corpus-id", "score"]
    return [(query_id, work_id, int(score)) for query_id, work_id, score in rows]


def test_every_work_has_the_fields_of_the_readme(works):
    assert len(works) >= 190
    for work in works:
        assert set(work) == {"_id", "title", "text", "metadata"}, work["_id"]
        metadata = work["metadata"]
        assert set(metadata) - {"venue"} == {"date", "authors", "cites", "events"}, work["_id"]
        assert metadata["authors"], work["_id"]
        assert all(isinstance(name, str) and name.strip() == name != "" for name in metadata["authors"]), work["_id"]
        assert isinstance(metadata["events"]["views"], int), work["_id"]
        assert metadata["events"]["views"] >= 0, work["_id"]


def test_ids_are_unique_slugs_that_carry_the_year_of_the_date(works):
    ids = [work["_id"] for work in works]
    assert len(set(ids)) == len(ids)
    for work in works:
        slug = re.fullmatch(r"[a-z0-9-]+?-(\d{4})(-[a-z]+)?", work["_id"])
        assert slug is not None, work["_id"]
        assert slug[1] == work["metadata"]["date"][:4], work["_id"]


def test_texts_are_short_whole_and_differ_from_each_other(works):
    for field in ("text", "title"):
        assert len({work[field].casefold() for work in works}) == len(works), field
    for work in works:
        assert 150 <= len(work["text"]) <= 600, work["_id"]
        assert work["text"].endswith("."), work["_id"]
        assert "  " not in work["text"], work["_id"]


def test_dates_are_a_year_or_a_day_from_1936_to_2023_in_every_decade(works):
    decades: Counter[int] = Counter()
    for work in works:
        date = work["metadata"]["date"]
        assert re.fullmatch(r"\d{4}(-\d{2}-\d{2})?", date), work["_id"]
        year = parse_date(date).year
        assert 1936 <= year <= 2023, work["_id"]
        decades[year // 10 * 10] += 1
    assert sorted(decades) == list(range(1930, 2030, 10))
    assert max(decades.values()) < len(works) / 4, "one decade crowds out the rest"
    assert all(decades[decade] >= 20 for decade in range(1960, 2030, 10)), decades


def test_references_exist_are_listed_once_and_never_point_to_the_future(works):
    date = {work["_id"]: work["metadata"]["date"] for work in works}
    for work in works:
        cites = work["metadata"]["cites"]
        assert len(set(cites)) == len(cites), work["_id"]
        assert work["_id"] not in cites
        for earlier in cites:
            assert earlier in date, (work["_id"], earlier)
            known = min(len(date[earlier]), len(date[work["_id"]]))  # a year is compared with a day by the year
            assert date[earlier][:known] <= date[work["_id"]][:known], (work["_id"], earlier)


def test_references_form_no_circle(works):
    left = {work["_id"]: set(work["metadata"]["cites"]) for work in works}
    while free := {work_id for work_id, cites in left.items() if not cites & left.keys()}:
        left = {work_id: cites for work_id, cites in left.items() if work_id not in free}
    assert left == {}


def test_forty_different_queries_of_every_kind(queries):
    assert len(queries) == 40
    assert len({query["_id"] for query in queries}) == 40
    assert len({query["text"].casefold() for query in queries}) == 40
    kinds = Counter(query["metadata"]["kind"] for query in queries)
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= 3, kinds


def test_judgments_are_graded_unique_and_name_only_what_exists(works, queries, judgments):
    pairs = [(query_id, work_id) for query_id, work_id, _ in judgments]
    assert len(set(pairs)) == len(pairs)
    assert {query_id for query_id, _ in pairs} == {query["_id"] for query in queries}
    assert {work_id for _, work_id in pairs} <= {work["_id"] for work in works}
    assert {grade for _, _, grade in judgments} == {1, 2, 3}


def test_every_query_has_at_least_three_positives_and_a_good_one(judgments):
    grades: dict[str, list[int]] = defaultdict(list)
    for query_id, _, grade in judgments:
        grades[query_id].append(grade)
    for query_id, found in grades.items():
        assert 3 <= len(found) <= 15, query_id
        assert max(found) >= 2, query_id


def test_the_readme_states_the_true_counts(works, queries, judgments):
    readme = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    assert f"{len(works)} works, {len(queries)} queries and {len(judgments)} judgments" in readme
    assert "Illustration, not evidence" in readme
    assert "Apache-2.0" in readme
