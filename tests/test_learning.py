"""Splits for training: by query, and no text on two sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import same_text
from rerank_plugin.training.settings import Settings
from rerank_plugin.wiring.splits import read_splits


def directory(folder: Path, texts: dict[str, str], **splits: list[str]) -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines = [f'{{"_id": "{key}", "text": "{text}"}}\n' for key, text in texts.items()]
    (folder / "queries.jsonl").write_text("".join(lines))
    for split, ids in splits.items():
        rows = "".join(f"{key}\td\t1\n" for key in ids)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def test_no_text_is_on_two_sides(tmp_path: Path) -> None:
    texts = {str(number): f"Query  {number % 20}" if number % 2 else f"query {number % 20}" for number in range(40)}
    folder = directory(tmp_path / "c", texts, train=[str(n) for n in range(30)], test=[str(n) for n in range(30, 40)])
    found = read_splits(folder, Settings(validate_share=0.3, validate_queries=3, test_queries=4))
    sides = [{same_text(query.text) for query in part.queries} for part in (found.train, found.dev)]
    tested = {same_text(f"query {number % 20}") for number in range(30, 40)}
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & tested
    assert found.test is not None
    assert (len(sides[1]), len(found.test.queries)) == (3, 4)
    assert set(found.train.qrels) == {query.query_id for query in found.train.queries}


def test_a_split_that_is_there_is_used(tmp_path: Path) -> None:
    texts = {str(number): f"query {number}" for number in range(9)}
    folder = directory(tmp_path / "c", texts, train=["0", "1", "2", "3"], dev=["3", "4"])
    found = read_splits(folder, Settings())
    assert [query.query_id for query in found.train.queries] == ["0", "1", "2"]
    assert [query.query_id for query in found.dev.queries] == ["3", "4"]
    assert found.test is None


def test_nothing_left_to_learn_from_is_one_line(tmp_path: Path) -> None:
    folder = directory(tmp_path / "c", {"0": "a", "1": "A"}, train=["0", "1"])
    with pytest.raises(DataError, match="has 1 judged query; training needs at least 2, one to validate"):
        read_splits(folder, Settings())
    folder = directory(tmp_path / "d", {"0": "a", "1": "A"}, train=["0"], dev=["1"], test=["1"])
    with pytest.raises(DataError, match="has no query left for train: each is in another split too"):
        read_splits(folder, Settings())
