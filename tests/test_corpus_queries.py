"""What a corpus asks itself: a copy of it with the queries cut out, nothing of what is tested among them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.evaluation.collection import same_text
from rerank_plugin.training.settings import Settings
from rerank_plugin.wiring.corpus import Held, ask_itself, corpus_splits, documents_of
from rerank_plugin.wiring.splits import read_splits

NONE = Held(frozenset(), frozenset())


def record(number: int) -> dict[str, object]:
    return {
        "_id": f"d{number}",
        "title": f"Notes on bird {number}",
        "text": f"Bird {number} lives by the lake. It eats fish and frogs all day long there.",
        "metadata": {"date": f"20{number:02}"},
    }


def corpus(folder: Path, records: list[dict[str, object]]) -> Path:
    folder.mkdir(parents=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in records)
    return folder


def titles(count: int, **more: object) -> Settings:
    return Settings(corpus_queries=count, corpus_kinds="title", **more)  # type: ignore[arg-type]


def written(into: Path) -> dict[str, dict[str, object]]:
    lines = (into / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    return {each["_id"]: each for each in map(json.loads, lines)}


def test_what_asks_is_cut_out_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "birds", [record(number) for number in range(12)])
    asked = ask_itself(folder, tmp_path / "into", NONE, titles(5))
    assert (asked.name, len(asked.queries)) == ("birds/corpus", 5)
    sources = {next(iter(asked.qrels[query.query_id])): query.text for query in asked.queries}
    for doc_id, found in written(tmp_path / "into").items():
        expected = record(int(doc_id[1:]))
        if doc_id in sources:
            assert sources[doc_id] == expected["title"]
            expected["title"] = ""
        assert found == expected
    assert all(grades == {document: 1} for grades in asked.qrels.values() for document in grades)


def test_the_seed_alone_decides_who_asks(tmp_path: Path) -> None:
    records = [record(number) for number in range(12)]
    one = ask_itself(corpus(tmp_path / "a" / "c", records), tmp_path / "1", NONE, titles(5))
    two = ask_itself(corpus(tmp_path / "b" / "c", records[::-1]), tmp_path / "2", NONE, titles(5))
    assert one == two
    assert one != ask_itself(tmp_path / "a" / "c", tmp_path / "3", NONE, titles(5, seed=1))
    more = ask_itself(tmp_path / "a" / "c", tmp_path / "4", NONE, titles(8))
    assert more.queries[:5] == one.queries


def test_of_equal_queries_one_asks(tmp_path: Path) -> None:
    records = [{**record(number), "title": ["The same words", "the  SAME words"][number % 2]} for number in range(6)]
    asked = ask_itself(corpus(tmp_path / "c", records), tmp_path / "into", NONE, titles(6))
    assert len(asked.queries) == 1


def test_bad_records_are_passed_over(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [{"_id": "a"}, {"text": "x"}, {"_id": "b", "title": 3, "text": "y"}, record(1)]
    folder = corpus(tmp_path / "c", records)
    assert [query.text for query in ask_itself(folder, tmp_path / "into", NONE, titles(6)).queries] == [
        "Notes on bird 1"
    ]


def test_nothing_to_ask_is_one_line(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", [{"_id": "a", "title": "A", "text": "short"}])
    with pytest.raises(DataError, match="has no document long enough to make a query of; leave out corpus_queries"):
        ask_itself(folder, tmp_path / "into", NONE, titles(6))


def judged(folder: Path, texts: dict[str, str], selves: dict[str, str], **splits: list[str]) -> Path:
    (folder / "qrels").mkdir()
    lines = [{"_id": key, "text": text, "metadata": {"self": selves.get(key)}} for key, text in texts.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    for split, ids in splits.items():
        rows = "".join(f"{key}\td0\t1\n" for key in ids)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def test_what_validates_or_is_tested_is_not_asked(tmp_path: Path) -> None:
    """By the query's text, by a document with that text, and by the document a query was made of."""
    records = [record(number) for number in range(8)]
    records[3]["text"] = "What one might want to know of the birds at the lake in summer"
    folder = corpus(tmp_path / "birds", records)
    texts = {"v": "notes on  BIRD 1", "t": "Notes on bird 2", "u": str(records[3]["text"]), "s": "something else"}
    judged(folder, texts, {"s": "d4"}, dev=["v"], test=["t", "u", "s"])
    settings = titles(99, test_queries=1)  # what the table leaves out stays held back
    splits = read_splits(folder, settings)
    assert splits.train is None
    asked = corpus_splits(folder, tmp_path / "into", splits, settings)
    assert asked.train is not None
    found = sorted(document for grades in asked.train.qrels.values() for document in grades)
    assert found == ["d0", "d5", "d6", "d7"]


def test_a_sentence_that_is_tested_is_not_asked(tmp_path: Path) -> None:
    text = f"{record(1)['text']} {record(2)['text']}"
    folder = corpus(tmp_path / "birds", [{**record(1), "text": text}])
    asking = Settings(corpus_queries=9, corpus_kinds="sentence")
    (query,) = ask_itself(folder, tmp_path / "into", NONE, asking).queries
    assert query.text in text
    with pytest.raises(DataError, match="no document long enough"):
        ask_itself(folder, tmp_path / "into", Held(frozenset({same_text(query.text)}), frozenset()), asking)


def test_queries_drawn_to_validate_are_not_asked(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "birds", [record(number) for number in range(8)])
    judged(folder, {str(n): f"Notes on bird {n}" for n in range(8)}, {}, train=[str(n) for n in range(8)])
    settings = titles(99, validate_share=0.5)
    splits = read_splits(folder, settings)
    assert splits.dev is not None
    assert len(splits.dev.queries) == 4
    asked = corpus_splits(folder, tmp_path / "into", splits, settings).train
    assert asked is not None
    assert not {query.text for query in asked.queries} & {query.text for query in splits.dev.queries}
    assert len(asked.queries) == 4


def test_without_judgments_to_learn_from_the_corpus_must_ask(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "birds", [record(1)])
    judged(folder, {"v": "bird"}, {}, dev=["v"])
    with pytest.raises(DataError, match=r"no qrels/train.tsv; .* or qrels/dev.tsv and the setting corpus_queries"):
        read_splits(folder, Settings())


def test_documents_to_pre_train_on_hold_no_query_that_validates_or_is_tested(tmp_path: Path) -> None:
    """By the query's text, by a document with that text, and by the document a query was made of."""
    records = [record(number) for number in range(8)]
    records[3]["text"] = "What one might want to know of the birds at the lake in summer"
    folder = corpus(tmp_path / "birds", [*records, {"_id": "bad"}, {**record(8), "title": ""}])
    texts = {"v": "notes on  BIRD 1", "t": "Notes on bird 2", "u": str(records[3]["text"]), "s": "something else"}
    judged(folder, texts, {"s": "d4"}, dev=["v"], test=["t", "u", "s"])
    splits = read_splits(folder, titles(1, test_queries=1))
    read = documents_of({"birds": folder}, [splits], Settings(), 99)
    assert sorted(read) == [
        str(record(8)["text"]), *(f"Notes on bird {number}\n{record(number)['text']}" for number in (0, 5, 6, 7))
    ]  # fmt: skip
    assert documents_of({"birds": folder}, [splits], Settings(), 3) == read[:3]  # drawn by the seed, not by the file
    assert documents_of({"birds": folder}, [splits], Settings(seed=1), 99) != read
