"""``load`` against an engine that refuses, stalls and dies; what is lost is always said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import opensearchpy.exceptions
import pytest
import stamina
from opensearchpy.exceptions import OpenSearchException

from fakes_engine import FakeEngine
from indexer.load import LoadJob, load
from indexer.progress import Silent
from indexer.reindex.pages import PAGE_BYTES
from indexer.report import LoadReport
from indexer.writer import engine_errors
from rerank_plugin.errors import DataError, EngineError, VectorIndexError

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def write_docs(folder: Path, records: list[dict[str, Any] | str]) -> str:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    (folder / "docs.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(folder / "docs.jsonl")


def run(engine: FakeEngine, folder: Path, docs: str | None = None, **changes: Any) -> LoadReport:
    docs = docs or write_docs(folder, [{"_id": str(number), "text": "words"} for number in range(3)])
    files = {"rejects": folder / "rejects.jsonl", "state": folder / "load.json"}
    job = LoadJob(**{"index": "i", "docs": docs, "now": NOW, "run_id": "r1", **files, **changes})
    return load(job, engine.client(), None, Silent())


def many(count: int) -> list[dict[str, Any] | str]:
    return [{"_id": str(number), "text": "words"} for number in range(count)]


def listed(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def test_refused_documents_are_listed_and_the_others_written(tmp_path):
    error = {"type": "mapper_parsing_exception", "reason": "no text\nthere", "caused_by": {"reason": "deeper"}}
    engine = FakeEngine(fate=lambda doc_id, source: (400, error) if doc_id == "1" else None)  # type: ignore[arg-type]
    report = run(engine, tmp_path)
    assert (report.read, report.written, report.rejected) == (3, 2, 1)
    assert listed(tmp_path) == [
        {
            "file": "i",
            "line": None,
            "kind": "refused",
            "reason": "400 mapper_parsing_exception: no text there (deeper)",
            "record": '{"index": {"_id": "1"}}\n{"text": "words", "rerank": {"features_version": 1}}\n',
        }
    ]
    assert engine.indexes["i"]["mappings"]["_meta"]["rerank"]["documents"] == 2


@pytest.fixture(autouse=True)
def no_waits():
    with stamina.set_testing(True, attempts=5):
        yield


def test_a_busy_engine_is_asked_again(tmp_path):
    asked: list[str] = []

    def busy(doc_id: str, source: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
        asked.append(doc_id)
        return (429, {"type": "rejected", "reason": "queue full"}) if asked.count(doc_id) < 3 else None

    report = run(FakeEngine(fate=busy), tmp_path)
    assert (report.written, report.rejected, asked.count("1")) == (3, 0, 3)


def test_an_engine_that_dies_midway_stops_the_load_in_one_line(tmp_path):
    docs = write_docs(tmp_path, many(12_000))
    engine = FakeEngine(dies_after_bulks=4)
    with pytest.raises(EngineError, match=r"no engine answers .*00 of 12000 documents are done; the same") as caught:
        run(engine, tmp_path, docs, lasting=True)
    assert "\n" not in str(caught.value)
    assert engine.indexes["i"]["mappings"]["_meta"] == {"rerank_run": "r1"}, (
        "an unfinished index says nothing of itself"
    )


def test_an_engine_that_refuses_everything(tmp_path):
    engine = FakeEngine(fate=lambda doc_id, source: (403, {"type": "block", "reason": "read-only"}))
    with pytest.raises(EngineError, match=r"refused every document; the reasons stand in .*rejects\.jsonl"):
        run(engine, tmp_path)
    assert len(listed(tmp_path)) == 3


def test_a_count_that_differs_is_an_error(tmp_path):
    engine = FakeEngine()
    engine.miscounts_by = 1
    with pytest.raises(EngineError, match="i holds 4 documents, the engine acknowledged 3"):
        run(engine, tmp_path)


def test_an_index_that_exists_is_only_replaced_on_request(tmp_path):
    engine = FakeEngine()
    run(engine, tmp_path)
    with pytest.raises(EngineError, match="the index i exists; replace it with --recreate"):
        run(engine, tmp_path)
    docs = write_docs(tmp_path, [{"_id": "new", "text": "words"}])
    assert run(engine, tmp_path, docs, recreate=True).written == 1
    assert list(engine.documents["i"]) == ["new"]


def test_an_alias_is_never_replaced(tmp_path):
    engine = FakeEngine()
    run(engine, tmp_path)
    engine.aliases["live"] = "i"
    with pytest.raises(EngineError, match="live is an alias"):
        run(engine, tmp_path, index="live", recreate=True)
    assert len(engine.documents["i"]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no document to load: it is empty"),
        (["nope", '{"_id": "1"}'], r"2 records were read and all rejected, see .*rejects\.jsonl"),
    ],
)
def test_an_empty_corpus_is_an_error_and_leaves_the_old_index(tmp_path, content, message):
    engine = FakeEngine()
    run(engine, tmp_path)
    with pytest.raises(DataError, match=message):
        run(engine, tmp_path, write_docs(tmp_path, content), recreate=True)
    assert len(engine.documents["i"]) == 3


def test_requests_are_bounded_by_documents_and_bytes(tmp_path):
    records = [{"_id": str(number), "text": "x" * 100_000} for number in range(200)]
    records.append({"_id": "huge", "text": "y" * (5 * 1024 * 1024)})
    records += [{"_id": f"s{number}", "text": "z"} for number in range(1100)]
    engine = FakeEngine()
    report = run(engine, tmp_path, write_docs(tmp_path, records))  # type: ignore[arg-type]
    assert report.written == 1301
    assert max(documents for documents, _ in engine.bulks) <= 2_500
    assert sorted(size for _, size in engine.bulks)[-2] <= PAGE_BYTES, "but for the one that is larger by itself"
    assert len(engine.documents["i"]["huge"]["text"]) == 5 * 1024 * 1024


def test_outputs_never_go_over_inputs_or_foreign_folders(tmp_path):
    docs = write_docs(tmp_path, [{"_id": "1", "text": "t"}])
    with pytest.raises(DataError, match="which is read as input"):
        run(FakeEngine(), tmp_path, docs, rejects=Path(docs))
    assert Path(docs).read_text(encoding="utf-8")
    with pytest.raises(VectorIndexError, match="holds other things"):
        run(FakeEngine(), tmp_path, docs, vectors=tmp_path)


def test_the_engine_is_not_changed_before_everything_is_read(tmp_path):
    (tmp_path / "links").write_bytes(b"\x1f\x8b broken")
    engine = FakeEngine()
    with pytest.raises(DataError, match="links is cut off or broken"):
        run(engine, tmp_path, links=tmp_path / "links")
    assert {call.split()[0] for call in engine.calls} == {"HEAD"}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("PUT i", "creating the index i: the engine answered 400 bad: name"),
        ("POST _bulk", "writing to i: the engine answered 400 bad: name"),
        ("PUT _mapping", "describing the index i: the engine answered 400 bad: name"),
    ],
)
def test_a_step_that_fails_is_named(tmp_path, step, message):
    engine = FakeEngine()
    engine.refuses[step] = (400, {"error": {"type": "bad", "reason": "name"}, "status": 400})
    with pytest.raises(EngineError, match=message):
        run(engine, tmp_path)


def every_client_error() -> list[type[OpenSearchException]]:
    found = [each for each in vars(opensearchpy.exceptions).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, OpenSearchException)]


@pytest.mark.parametrize("kind", every_client_error(), ids=lambda each: each.__name__)
@pytest.mark.parametrize("arguments", [(500, "type", {"error": "a\nb"}), ("N/A", "x", OSError("refused")), ()])
def test_every_error_of_the_client_becomes_one_line_of_ours(kind, arguments):
    with pytest.raises(EngineError, match=r"^doing it: ") as caught, engine_errors("doing it"):
        raise kind(*arguments)
    assert "\n" not in str(caught.value)
