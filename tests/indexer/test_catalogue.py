"""Which fields carry which signal, and what is said where they do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from indexer.catalogue import Catalogue
from indexer.enrich import compute_signals
from indexer.progress import Silent
from indexer.rejects import Rejects
from indexer.signal_config import SignalConfig, look_up
from indexer.sources import parse_record
from rerank_plugin.errors import ConfigError

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def rejects(tmp_path):
    with Rejects(tmp_path / "rejects.jsonl") as opened:
        yield opened


def catalogue_of(records, rejects, config=None) -> Catalogue:
    catalogue = Catalogue(config or SignalConfig(), rejects, None)
    for number, record in enumerate(records, start=1):
        line = json.dumps({"_id": f"d{number}", "text": "words", **record}).encode()
        catalogue.add(number, line, parse_record(line))
    return catalogue


def test_names_are_looked_up_under_metadata_first_and_dots_go_deeper():
    record = {"metadata": {"date": 1, "a": {"b": 2}}, "date": 3, "views": 4}
    assert [look_up(record, name) for name in ("date", "views", "a.b", "a.c", "nothing")] == [1, 4, 2, None, None]
    assert look_up({"metadata": "text", "date": 5}, "date") == 5


def test_dates_with_a_bad_one_losing_only_its_date(rejects):
    records = [{"metadata": {"date": "1999-12"}}, {"published_at": 2001}, {"date": "soon"}, {"date": ""}, {}]
    catalogue = catalogue_of([*records, {"date": "0001-01-01T00:00:00+05:00"}], rejects)
    assert catalogue.dates[:2] == [datetime(1999, 12, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)]
    assert catalogue.dates[2:] == [None] * 4
    assert (dict(rejects.counts), rejects.lost, len(catalogue)) == ({"bad_date": 2}, 0, 6)


def test_links_of_records_and_files_with_dangling_ones_listed(rejects, tmp_path):
    catalogue = catalogue_of(
        [{"metadata": {"cites": ["d2", "d9", 3]}}, {"cites": "d1"}, {"cites": [{"no": "id"}]}], rejects
    )
    (tmp_path / "links.tsv").write_text("d3\td1\nd8\td1\nd1\td7\n", encoding="utf-8")
    catalogue.add_links(tmp_path / "links.tsv")
    assert sorted(zip(*catalogue.edges(), strict=True)) == [(0, 1), (1, 0), (2, 0)]
    assert dict(rejects.counts) == {"bad_link": 1, "dangling_link": 4}
    assert rejects.lost == 0
    rejects._opened.flush()
    entries = [json.loads(line) for line in rejects.file.read_text(encoding="utf-8").splitlines()]
    assert ("links.tsv", 2, "d8 -> d1", "no document has the id 'd8'") in [
        (each["file"], each["line"], each["record"], each["reason"]) for each in entries
    ]


def test_counts_from_events_fields_and_an_events_file(rejects, tmp_path):
    records = [
        {"metadata": {"events": {"views": 5, "impressions": 80}, "score": -2, "comments": ["text", "text"]}},
        {"views": 7, "events": "none", "points": True},
        {"metadata": {"views": 1, "events": {"views": 2}}},
    ]
    catalogue = catalogue_of(records, rejects)
    (tmp_path / "events.jsonl").write_text(
        '{"_id": "d1", "event": "view"}\n{"_id": "d2", "clicks": 3, "shown": 9}\n{"_id": "d9", "views": 1}\n',
        encoding="utf-8",
    )
    catalogue.add_events(tmp_path / "events.jsonl", now=datetime(2025, 1, 1, tzinfo=UTC))
    assert catalogue.counts == [{"views": 6.0, "score": -2.0}, {"views": 7.0, "clicks": 3.0}, {"views": 2.0}]
    assert dict(rejects.counts) == {"unknown_document": 1}


def test_trust_from_a_field_or_a_table(rejects):
    records = [{"metadata": {"owner_reputation": 40, "site": "a"}}, {"trust": "high"}, {"site": "b"}, {"site": "c"}]
    assert catalogue_of(records, rejects).trust == [40.0, None, None, None]
    config = SignalConfig(trust_table={"site": {"a": 0.2, "b": 0.9}})
    assert catalogue_of(records, rejects, config).trust == [0.2, None, 0.9, None]


class TestConfig:
    def test_a_toml_file_changes_what_it_names(self, tmp_path):
        (tmp_path / "s.toml").write_text(
            'links = ["requires", "replaces"]\ndate = "created"\nlink_share = 1\n[counts]\nstars = 2\n',
            encoding="utf-8",
        )
        config = SignalConfig.read(tmp_path / "s.toml")
        assert (config.links, config.date, config.counts) == (("requires", "replaces"), ("created",), {"stars": 2})
        assert config.trust == SignalConfig().trust
        (tmp_path / "s.json").write_text(
            '{"link_share": 1, "date": "created", "links": ["requires", "replaces"], "counts": {"stars": 2}}',
            encoding="utf-8",
        )
        assert SignalConfig.read(tmp_path / "s.json").digest == config.digest != SignalConfig().digest

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"lnks": []}', "unknown setting lnks; known are date, type"),
            ("[]", "not a table"),
            ("{", "cannot read the signals file"),
            ('{"link_share": 2}', "link_share must be from 0 to 1, got 2"),
            ('{"damping": 1.0}', "damping must be from 0 to 0.99"),
            ('{"damping": "x"}', "damping must be from 0 to 0.99, got 'x'"),
            ('{"date": 3}', "date must be a field name or a list of them, got 3"),
            ('{"date": [""]}', "date must be a list of field names"),
            ('{"counts": []}', "counts must be a table of numbers"),
            ('{"counts": {"views": -1}}', "counts.views must be at least 0"),
            ('{"trust_table": 5}', "trust_table must be a table of tables"),
            ('{"trust_table": {"site": {"a": "x"}}}', "site must be a table of numbers"),
        ],
    )
    def test_what_is_refused(self, tmp_path, content, message):
        (tmp_path / "s.json").write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=message) as caught:
            SignalConfig.read(tmp_path / "s.json")
        assert "\n" not in str(caught.value)


class TestSignals:
    def test_unknown_features_have_no_key_and_say_why(self, rejects):
        signals = compute_signals(
            catalogue_of([{}, {}], rejects), SignalConfig(), None, now=NOW, half_life_days=None, progress=Silent()
        )
        assert signals.rerank_object(0) == {"features_version": 1}
        assert {factor: account["absent"] for factor, account in signals.account.items()} == {
            "authority": "no links and no trust",
            "freshness": "no dates",
            "novelty": "no vectors: load with --vectors",
            "popularity": "no counts",
        }

    def test_a_document_with_everything(self, rejects):
        records = [
            {"date": "2023-01-01T10:00:00+02:00", "cites": ["d2"], "views": 9},
            {"date": "2019-01-02", "views": 0},
        ]
        signals = compute_signals(
            catalogue_of(records, rejects), SignalConfig(), None, now=NOW, half_life_days=365, progress=Silent()
        )
        assert signals.rerank_object(0) == {
            "features_version": 1,
            "authority": 0.25,
            "freshness": pytest.approx(0.5, abs=1e-3),
            "popularity": 0.960253,  # log 10 / log 11
            "published_at": "2023-01-01T08:00:00Z",
        }
        account = signals.account["authority"]
        assert (account["documents"], account["coverage"], account["links"], account["mean"]) == (2, 1.0, 1, 0.5)
        assert account["pagerank"]["converged"] is True
        assert signals.account["popularity"]["knots"] == {"views": 10.0}
        assert signals.account["freshness"]["half_life_from"] == "given"
        json.dumps(signals.account, allow_nan=False)
