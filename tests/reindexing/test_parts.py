"""The parts of reindex by themselves: splicing, back-pressure, curves, ranks, pace."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy.exceptions import AuthorizationException, ConnectionError, SSLError, TransportError

from indexer.knots import Curve, Evidence, Knots, fit, rerank_object
from indexer.reindex import copying
from indexer.reindex.bulk import LEAST_BYTES, MOST_BYTES, START_BYTES, BulkWriter, Operation, action, spliced
from indexer.reindex.pages import MOST_PER_PAGE, PageSize
from indexer.reindex.ranks import LinkTable, Ranks
from indexer.reindex.state import RunState
from indexer.reindex.wire import Wire, is_transient
from indexer.rejects import Rejects
from indexer.signal_config import SignalConfig
from indexer.signals.scaling import mid_quantile
from rerank_plugin.domain.features import parse_date
from rerank_plugin.errors import ConfigError, DataError, EngineError

NOW = parse_date("2026-01-01")


class FakeTransport:
    """Answers ``_bulk`` with the status that a script gives each document, attempt by attempt."""

    def __init__(self, *script: dict[str, int] | Exception) -> None:
        self.script = list(script)
        self.requests: list[list[str]] = []

    def perform_request(self, method: str, url: str, params: Any, body: bytes) -> str:
        ids = [json.loads(line)["index"]["_id"] for line in body.splitlines()[::2]]
        self.requests.append(ids)
        answer = self.script.pop(0) if self.script else {}
        if isinstance(answer, Exception):
            raise answer
        items = [{"index": {"status": answer.get(each, 201), "error": {"type": "e", "reason": "r"}}} for each in ids]
        return json.dumps({"items": items})


class FakeClient:
    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport


def operations(*ids: str, size: int = 10) -> list[Operation]:
    return [Operation(each, action("index", each, routing=None) + b"x" * size + b"\n") for each in ids]


def writer(tmp_path, *script: dict[str, int] | Exception) -> tuple[BulkWriter, FakeTransport, Rejects]:
    transport = FakeTransport(*script)
    client = FakeClient(transport)
    rejects = Rejects(tmp_path / "rejects.jsonl")
    return BulkWriter(Wire(client, client), "i", rejects), transport, rejects


@pytest.fixture(autouse=True)
def no_waits():
    with stamina.set_testing(True, attempts=5):
        yield


def test_only_the_busy_items_go_again_and_the_refused_are_listed(tmp_path):
    bulk, transport, rejects = writer(tmp_path, {"b": 429, "c": 400, "d": 409}, {"b": 503})
    with rejects:
        outcome = bulk.write(operations("a", "b", "c", "d"))
    assert transport.requests == [["a", "b", "c", "d"], ["b"], ["b"]]
    assert (outcome.done, outcome.conflicts, outcome.refused) == (2, 1, 1)
    assert dict(rejects.counts) == {"refused": 1}


def test_the_size_halves_under_pressure_and_grows_slowly(tmp_path):
    bulk, _, rejects = writer(tmp_path, TransportError(429, "busy", {}))
    with rejects:
        bulk.write(operations("a"))
        # Halved once, then one success.
        assert bulk.limit == int(START_BYTES // 2 * 1.2)
        for _ in range(60):
            bulk.write(operations("a"))
        assert bulk.limit == MOST_BYTES
        bulk.limit = LEAST_BYTES
        pieces = operations("a", "b", "c", size=LEAST_BYTES // 2)
        outcome = bulk.write(pieces)
    assert outcome.done == 3


def test_a_request_that_is_too_large_is_cut_in_two(tmp_path):
    bulk, transport, rejects = writer(tmp_path, TransportError(413, "too large", {}))
    with rejects:
        assert bulk.write(operations("a", "b", "c")).done == 3
    assert transport.requests == [["a", "b", "c"], ["a"], ["b", "c"]]


@pytest.mark.parametrize(
    "script", [[AuthorizationException(403, "security_exception", {})], [TransportError(503, "down", {})] * 5]
)
def test_an_engine_that_stays_away_or_forbids_ends_the_run_in_one_line(tmp_path, script):
    bulk, _, rejects = writer(tmp_path, *script)
    with rejects, pytest.raises(EngineError, match=r"^writing to i: the engine answered"):
        bulk.write(operations("a"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("N/A", "x", OSError()), True),
        (SSLError("N/A", "x", OSError()), False),
        (TransportError(429, "x", {}), True),
        (TransportError(400, "x", {}), False),
        (ValueError(), False),
    ],
)
def test_what_is_worth_another_try(error, expected):
    assert is_transient(error) is expected


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5),
        max_size=5,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_a_spliced_document_is_the_document_and_one_key(fields, indent, escaped):
    raw = json.dumps(fields, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    spliced_document = spliced(raw, b'{"authority":0.5}')
    assert b"\n" not in spliced_document
    assert json.loads(spliced_document) == {**fields, "rerank": {"authority": 0.5}}


def test_splicing_keeps_every_digit_and_replaces_what_was_there():
    assert spliced(b'{"a":1.10,"b":1e400}', b"{}") == b'{"a":1.10,"b":1e400,"rerank":{}}'
    assert spliced(b' {"rerank": {"x": 1}, "a": 1.10} ', b"{}") == b'{"a":1.10,"rerank":{}}'
    with pytest.raises(ValueError, match="no JSON object"):
        spliced(b"", b"{}")


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_a_curve_over_few_values_is_the_mid_quantile(values):
    array = np.array(values, dtype=np.float64)
    curve = Curve.fit(array)
    assert [curve(value) for value in array] == pytest.approx(mid_quantile(array).tolist())


def test_a_curve_over_many_values_is_close_and_monotone():
    values = np.random.default_rng(3).pareto(1.0, 30_000)
    curve = Curve.fit(values)
    assert len(curve.values) <= 1000
    exact = mid_quantile(values)
    read = np.array([curve(value) for value in values[:500]])
    assert np.abs(read - exact[:500]).max() < 0.002
    assert (curve(-1.0), curve(math.inf)) == (curve.quantiles[0], curve.quantiles[-1])
    assert Curve()(7.0) == 0.5


def test_knots_survive_json_and_refuse_what_is_none():
    knots = fit(
        SignalConfig(),
        dates=[NOW, None],
        trust=[3.0, None],
        counts=[{"views": 40.0}, {"views": 100.0}],
        now=NOW,
        half_life_days=30.0,
        ranks=np.array([0.5, 1.5]),
    )
    assert Knots.from_json(json.loads(json.dumps(knots.as_json()))) == knots
    with pytest.raises(DataError, match="--refit"):
        Knots.from_json({"reference_time": "2026-01-01"})


def test_one_record_by_hand():
    config = SignalConfig()
    knots = Knots(
        reference_time=NOW,
        half_life_days=100.0,
        popularity={"views": 99.0},
        trust=Curve((0.0, 10.0), (0.25, 0.75)),
        ranks=Curve((0.5, 1.5), (0.2, 0.8)),
    )
    evidence = Evidence.of(config, {"date": "2025-09-23", "views": 9, "trust": 5, "likes": True}, {"views": 0.0})
    # 100 days at a half-life of 100; log 10 / log 100; (.5 + .5) / 2 of trust and rank.
    assert rerank_object(evidence, knots, config, rank=1.0, novelty=0.25) == {
        "features_version": 1,
        "authority": 0.5,
        "freshness": 0.5,
        "novelty": 0.25,
        "popularity": 0.5,
        "published_at": "2025-09-23T00:00:00Z",
    }
    assert rerank_object(Evidence.of(config, {}), knots, config) == {"features_version": 1}
    assert rerank_object(Evidence.of(config, {}), knots, config, rank=9.0)["authority"] == 0.8


def test_ranks_by_id(tmp_path):
    table = LinkTable()
    for doc_id, linked in {"a": ["c", "c", "gone"], "b": ["c"], "c": ["c"]}.items():
        table.add(doc_id, linked)
    table.add_link("nobody", "a")
    ranks, account = table.ranks(SignalConfig())
    assert (account["links"], account["dangling_links"]) == (2, 2)
    ranks.save(tmp_path / "ranks.npz")
    read = Ranks.read(tmp_path / "ranks.npz")
    assert [read(each) for each in "abcd"] == [ranks(each) for each in "abcd"]
    assert read("d") is None
    # c hangs: x = (.15 + .85 c) / 3 for a and b, c = x + 1.7 x, a + b + c = 1; times three documents.
    assert read("a") == read("b") == pytest.approx(3 / 4.7)
    assert read("c") == pytest.approx(3 * 2.7 / 4.7)
    assert Ranks.none()("a") is None
    (tmp_path / "ranks.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="start anew"):
        Ranks.read(tmp_path / "ranks.npz")


def test_an_owner_has_one_vote_and_trust_is_where_readers_start():
    def rank_of_target(config: SignalConfig) -> float:
        table = LinkTable()
        for number in range(5):
            table.add(f"farm {number}", ["target"], owner="one")
        table.add("honest", ["other"], trust=9.0)
        for doc_id in ("target", "other"):
            table.add(doc_id, [])
        found = table.ranks(config)[0]("target")
        assert found is not None
        return found

    plain = rank_of_target(SignalConfig())
    assert rank_of_target(SignalConfig(owner=("site",))) < plain / 1.5
    assert rank_of_target(SignalConfig(seed_share=1.0)) == 0.0


def test_pages_aim_at_bytes():
    class Hit:
        def __init__(self, size: int) -> None:
            self.source = b"x" * size

    size = PageSize()
    size.learn([Hit(1000)] * 500)
    assert size.documents == 1000, "at most doubled at once"
    for _ in range(5):
        size.learn([Hit(10)] * 500)
    assert size.documents == MOST_PER_PAGE
    size.learn([Hit(3_000_000)] * 10)
    assert size.documents == 10


def test_a_history_in_stretches_is_done_when_all_of_them_are(tmp_path):
    def note(state: RunState, stretch: list[int], upto: int) -> None:
        state.advance(stretch, upto, read=upto - stretch[1], written=0, rejected=0)

    upto = {0: 9_999, 1: 500}
    state = RunState(file=tmp_path / "s.json", run_id="r", source="a", source_uuid="u", dest="b")
    first, second, small = state.plan(upto, 2)
    assert (first, second, small) == ([0, -1, 4_999], [0, 4_999, 9_999], [1, -1, 500])
    assert state.behind(upto) == 10_501
    note(state, second, 9_999)
    note(state, small, 500)
    note(state, first, 3_000)
    assert (state.cursors, state.behind({0: 12_000, 1: 500})) == ({1: 500}, 1_999 + 2_001)
    # Killed here: the run that goes on finishes what was begun before it plans anew.
    state = RunState.read_file(state.file)
    unfinished, finished = state.plan({0: 12_000, 1: 500}, 2)
    assert (unfinished, finished) == ([0, 3_000, 4_999], [0, 9_999, 9_999])
    note(state, unfinished, 4_999)
    assert (state.cursors, state.stretches, state.read) == ({0: 9_999, 1: 500}, [], 10_501)
    assert state.plan({0: 11_000, 1: 500}, 2) == [[0, 9_999, 11_000]]


def test_the_throttle_spreads_documents_evenly(monkeypatch):
    waited: list[float] = []
    clock = iter([100.0, 100.0, 100.5])
    monkeypatch.setattr(copying.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(copying.time, "sleep", waited.append)
    throttle = copying.Throttle(10.0)
    for documents in (10, 5, 5):
        throttle.wait(documents)
    # The second waits for the second that the first has used, the third for that and half another.
    assert waited == [0.0, 1.0, 1.0]


def test_the_embedded_engine_is_refused():
    with pytest.raises(ConfigError, match="needs a server"):
        Wire.open("embedded:x")
