"""A load that was cut off goes on where it was, where that is possible, and says so where it is not."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stamina

from fakes_engine import FakeEngine
from indexer.load import LoadJob, load
from indexer.progress import Silent
from indexer.report import LoadReport
from indexer.saved import alone
from rerank_plugin.errors import DataError, EngineError
from rerank_plugin.models.types import Encoded

NOW = datetime(2024, 1, 1, tzinfo=UTC)
#: Two pages and a half.
DOCUMENTS = 12_000


class Encoder:
    """Gives every text one of a few vectors; stops after so many batches."""

    name = "few@1"
    dimensions = 4

    def __init__(self, batches: int | None = None) -> None:
        self.batches = batches
        self.seen = 0

    def encode(self, texts: list[str]) -> Encoded:
        if self.batches is not None and self.seen >= 256 * self.batches:
            raise KeyboardInterrupt
        self.seen += len(texts)
        rows = np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]
        return Encoded(vectors=rows, truncated=np.array([len(text) % 4 == 0 for text in texts]))


@pytest.fixture(autouse=True)
def no_waits():
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def docs(tmp_path) -> Path:
    records = [
        {"_id": f"d{number}", "text": f"words {number}", "metadata": {"date": f"20{10 + number % 10}", "cites": ["d7"]}}
        for number in range(DOCUMENTS)
    ]
    lines = [json.dumps(each) for each in records]
    lines.insert(3, "not JSON")
    (tmp_path / "docs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "docs.jsonl"


def run(engine: FakeEngine, docs: Path | str, encoder: Encoder | None = None, **changes: Any) -> LoadReport:
    folder = docs.parent if isinstance(docs, Path) else changes.pop("folder")
    files = {"rejects": folder / "rejects.jsonl", "state": folder / "i.load.json"}
    job = LoadJob(**{"index": "i", "docs": str(docs), "now": NOW, "run_id": "r1", "lasting": True, **files, **changes})
    return load(job, engine.client(), encoder, Silent())


def cut_off(engine: FakeEngine, docs: Path | str, **changes: Any) -> None:
    """A load whose engine dies after the first page; the engine is then there again, and its requests are counted."""
    engine.dies_after_bulks = 2
    with pytest.raises(EngineError, match="the same command goes on"):
        run(engine, docs, **changes)
    engine.dies_after_bulks = None
    engine.bulks.clear()


def written_again(engine: FakeEngine) -> int:
    return sum(documents for documents, _ in engine.bulks)


def refuse_some(doc_id: str, source: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
    return (400, {"type": "bad", "reason": doc_id}) if doc_id in {"d5", "d11999"} else None


def listed(folder: Path) -> list[str]:
    entries = [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    return [each["kind"] if each["kind"] != "refused" else each["reason"] for each in entries]


def test_the_same_command_writes_only_the_rest(docs, tmp_path):
    whole = FakeEngine(fate=refuse_some)
    run(whole, docs)
    expected, entries = whole.documents["i"], listed(tmp_path)
    engine = FakeEngine(fate=refuse_some)
    cut_off(engine, docs)
    done = json.loads((tmp_path / "i.load.json").read_text(encoding="utf-8"))["position"]
    assert done in {0, 5000, 10_000}
    with (tmp_path / "rejects.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "of a page that was under way')
    report = run(engine, docs, run_id="r2", now=NOW + timedelta(days=400))
    assert engine.documents["i"] == expected, "the clock of the first attempt, too"
    assert written_again(engine) == DOCUMENTS - done
    assert (report.written + report.skipped, report.rejected, report.read) == (DOCUMENTS - 2, 3, DOCUMENTS + 1)
    assert report.skipped == max(0, done - 1)
    assert sorted(listed(tmp_path)) == sorted(entries)
    assert dict(report.problems) == {"not_json": 1, "refused": 2}
    meta = engine.indexes["i"]["mappings"]["_meta"]["rerank"]
    assert (meta["documents"], meta["run_id"]) == (DOCUMENTS - 2, "r1")
    assert not list(tmp_path.glob("i.load.*"))


@pytest.mark.parametrize(
    "template",
    [{}, {"index.refresh_interval": "30s", "index.auto_expand_replicas": "0-1"}, {"index.number_of_replicas": "2"}],
)
def test_refreshes_and_replicas_are_off_while_loading_and_come_back(docs, template):
    """After a load that was cut off, too; what templates gave the index is not the engine's default."""
    engine = FakeEngine()
    engine.template = template
    cut_off(engine, docs)
    loading = {"index.refresh_interval": "-1", "index.number_of_replicas": "0"}
    assert engine.indexes["i"]["settings"] == loading
    engine.indexes["i"]["settings"]["index.refresh_interval"] = "1s"  # someone could not wait
    run(engine, docs)
    assert all(each == loading for each in engine.settings_of_bulks)
    assert engine.indexes["i"]["settings"] == {"index.number_of_replicas": "1", **template}


def test_settings_come_back_before_the_index_is_described(docs):
    """Killed in between, the same command still puts them back: it is not done before."""
    engine = FakeEngine()
    engine.refuses["PUT _settings"] = (403, {"error": {"type": "security_exception", "reason": "no"}})
    with pytest.raises(EngineError, match="setting refreshes and replicas of i aside"):
        run(engine, docs)
    engine.refuses.clear()
    engine.refuses["PUT _mapping"] = (403, {"error": {"type": "security_exception", "reason": "no"}})
    with pytest.raises(EngineError, match="describing"):
        run(engine, docs)
    assert engine.indexes["i"]["settings"] == {"index.number_of_replicas": "1"}
    engine.refuses.clear()
    assert run(engine, docs).skipped == DOCUMENTS
    assert engine.indexes["i"]["settings"] == {"index.number_of_replicas": "1"}


def test_a_page_that_was_done_is_not_written_again_and_it_says_so(docs):
    engine = FakeEngine()
    engine.fate = lambda doc_id, source: (403, {"type": "cluster_block_exception"}) if doc_id == "d11000" else None
    with pytest.raises(EngineError, match=r"cluster_block.*10000 of 12000 documents are done"):
        run(engine, docs)
    engine.fate = lambda doc_id, source: None
    engine.bulks.clear()
    report = run(engine, docs)
    assert (written_again(engine), report.written, report.skipped) == (2_000, 2_000, 10_000)
    assert report.notes == ["a load that was cut off went on: 10,000 were written"]
    assert len(engine.documents["i"]) == DOCUMENTS


def test_an_engine_that_keeps_writes_in_memory_is_asked_to_refresh_before_a_page_counts(docs, tmp_path):
    engine = FakeEngine()
    engine.fate = lambda doc_id, source: (403, {"type": "cluster_block_exception"}) if doc_id == "d11000" else None
    with pytest.raises(EngineError, match="0 of 12000 documents are done"):
        run(engine, docs, lasting=False)
    assert not any("_refresh" in call for call in engine.calls)
    engine.fate = lambda doc_id, source: None
    engine.calls.clear()
    run(engine, docs, lasting=False)
    assert sum("_refresh" in call for call in engine.calls) == 2, "once to note, once to count"


@pytest.mark.parametrize("reason", ["standard input cannot be read twice", "the engine's events go on", "has changed"])
def test_what_cannot_be_read_twice_begins_from_the_beginning_and_says_so(docs, tmp_path, monkeypatch, reason):
    engine = FakeEngine()
    changes: dict[str, Any] = {"repeatable": "events" not in reason}
    given: Path | str = docs
    if "input" in reason:
        given, changes["folder"] = "-", tmp_path

    def begin() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(docs.read_bytes()))))

    begin()
    cut_off(engine, given, **dict(changes))
    begin()
    if reason == "has changed":
        docs.write_text(docs.read_text(encoding="utf-8") + '\n{"_id": "last", "text": "new"}', encoding="utf-8")
    report = run(engine, given, **dict(changes))
    assert (written_again(engine), report.skipped) == (report.written, 0)
    assert len(report.notes) == 1
    assert "this one began from the beginning, because" in report.notes[0]
    assert reason in report.notes[0]
    assert len(engine.documents["i"]) == DOCUMENTS + (reason == "has changed")


def test_other_arguments_are_told_and_recreate_begins_anew(docs):
    engine = FakeEngine()
    cut_off(engine, docs)
    with pytest.raises(EngineError, match=r"other arguments \(--half-life-days, --analyzer\); give those again"):
        run(engine, docs, analyzer="cjk", half_life_days=3.0)
    report = run(engine, docs, analyzer="cjk", recreate=True)
    assert (report.written, report.notes) == (DOCUMENTS, [])


def test_an_index_of_somebody_else_is_never_gone_on_with(docs, tmp_path):
    engine = FakeEngine()
    cut_off(engine, docs)
    engine.indexes["i"] = {"mappings": {}}
    with pytest.raises(EngineError, match="the index i exists; replace it with --recreate"):
        run(engine, docs)
    assert run(engine, docs, recreate=True).written == DOCUMENTS


def test_an_index_that_is_gone_is_made_anew(docs, tmp_path):
    engine = FakeEngine()
    cut_off(engine, docs)
    del engine.indexes["i"]
    assert run(engine, docs).written == DOCUMENTS


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 9}'])
def test_a_state_that_is_none_is_one_line(docs, tmp_path, content):
    (tmp_path / "i.load.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"i\.load\.json cannot be read as the state of a load") as caught:
        run(FakeEngine(), docs)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_release_is_not_guessed_at(docs, tmp_path):
    engine, state = FakeEngine(), tmp_path / "i.load.json"
    cut_off(engine, docs)
    state.write_text(json.dumps({**json.loads(state.read_text(encoding="utf-8")), "format": 9}), encoding="utf-8")
    with pytest.raises(DataError, match="it has another format"):
        run(engine, docs)


def test_a_state_of_another_index_is_left_alone(docs):
    engine = FakeEngine()
    cut_off(engine, docs)
    with pytest.raises(DataError, match=r"is of a load of i, not of j; name another with --state"):
        run(engine, docs, index="j")


def test_vectors_are_made_once(docs, tmp_path):
    plain = FakeEngine()
    run(plain, docs, Encoder(), vectors=tmp_path / "vectors")
    engine, first, second, third = FakeEngine(), Encoder(batches=10), Encoder(), Encoder()
    with pytest.raises(KeyboardInterrupt):
        run(engine, docs, first, vectors=tmp_path / "vectors")
    assert not engine.indexes, "nothing was made yet"
    engine.dies_after_bulks = 2
    with pytest.raises(EngineError, match="the same command goes on"):
        run(engine, docs, second, vectors=tmp_path / "vectors")
    assert (first.seen, second.seen) == (2_560, DOCUMENTS - 2_560)
    engine.dies_after_bulks = None
    report = run(engine, docs, third, vectors=tmp_path / "vectors")
    assert third.seen == 0
    assert engine.documents["i"] == plain.documents["i"]
    assert report.vectors is not None
    assert report.vectors["truncated"] == sum(len(f"words {number}") % 4 == 0 for number in range(DOCUMENTS))
    described = [each.indexes["i"]["mappings"]["_meta"]["rerank"]["vectors"] for each in (engine, plain)]
    assert described[0] == described[1]
    assert not list(tmp_path.glob("i.load.*"))


def test_a_second_load_with_the_same_state_is_told_and_touches_nothing(docs: Path) -> None:
    engine = FakeEngine()
    with alone(docs.parent / "i.load.json"), pytest.raises(DataError, match="another run goes on with"):
        run(engine, docs)
    assert engine.calls == []
    assert run(engine, docs).written == DOCUMENTS
