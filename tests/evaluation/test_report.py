from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation_samples import NOW, evaluation
from rerank_plugin.evaluation.compare import read_per_query
from rerank_plugin.evaluation.report import cost, render, verdict
from rerank_plugin.evaluation.result import Evaluation, run_path, without_password, write_result
from rerank_plugin.evaluation.runs import read_trec


def test_the_result_has_the_documented_shape(tmp_path):
    result = write_result(evaluation(), tmp_path)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert {key: result[key] for key in ("dataset", "index", "gain", "queries", "unjudged", "without_relevant")} == {
        "dataset": "small & <odd>",
        "index": "i",
        "gain": "linear",
        "queries": 3,
        "unjudged": 2,
        "without_relevant": 1,
    }
    assert result["engine"] == "https://host:9200/x"
    assert "secret" not in json.dumps(result)
    arm = result["arms"]["rerank"]
    assert arm["RR@10"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert set(arm["latency_ms"]) == {"p50", "p95", "p99"}
    assert arm["factors@10"] == {
        "authority": 0.5,
        "freshness": 0.5,
        "novelty": None,
        "popularity": None,
        "age_days": 10.0,
    }
    assert (arm["fallbacks"], arm["truncated"], arm["missing"]) == (3, 0, 0)
    assert [row["measure"] for row in result["comparisons"]] == ["nDCG@10", "RR@10", "AP", "R@100", "P@10"]
    row = result["comparisons"][1]
    assert (row["baseline"], row["candidate"], row["wins"], row["ties"], row["losses"]) == ("bm25", "rerank", 2, 0, 1)
    assert row["delta"] == pytest.approx(0.5 / 3)
    assert (result["seed"], result["now"]) == (5, "2020-01-11T00:00:00Z")


def test_runs_and_values_per_query_lie_beside_the_result(tmp_path):
    found = evaluation()
    result = write_result(found, tmp_path)
    assert read_trec(Path(result["arms"]["rerank"]["run"])).ids("q1") == ("b", "a")
    assert read_per_query(tmp_path / "per_query.json") == found.per_query
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "bm25.run",
        "per_query.json",
        "rerank.run",
        "result.json",
    ]


def test_a_label_becomes_a_file_name():
    assert run_path(Path("out"), "rerank:model=../x").name == "rerank_model=.._x.run"


def test_passwords_never_stay_in_a_url():
    assert without_password("http://u:p@ss@host:9200") == "http://host:9200"
    assert without_password("embedded:a/b@c") == "embedded:a/b@c"


class Outside(HTMLParser):
    """Collects everything a page would fetch, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in {"script", "iframe", "img", "object", "embed"}:
            self.fetched.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "href"} and not value.startswith("data:,")]


def test_the_report_fetches_nothing_and_escapes_everything(tmp_path):
    found = evaluation()
    html = render(found, write_result(found, tmp_path), command="rerank evaluate '<x>'", note="An illustration.")
    page = Outside()
    page.feed(html)
    assert page.fetched == []
    assert not re.search(r"url\(|@import|https?://(?!host)", html)
    assert "<script" not in html
    assert "&lt;script&gt;alert" in html
    assert "no &lt;model&gt;" in html
    assert "small &amp; &lt;odd&gt;" in html
    assert "rerank evaluate &#39;&lt;x&gt;&#39;" in html
    assert "An illustration." in html
    assert "title &lt;of&gt; a" in html
    assert html.count("relevant (1)") == 2 * 3
    assert html.count('class="up"') == 2
    assert html.count('class="down"') == 1


def test_the_verdict_is_a_sentence_about_the_interval(tmp_path):
    found = evaluation()
    result = write_result(found, tmp_path)
    assert cost(result, ("bm25", "rerank")).startswith("It helps 2 queries, hurts 1 and leaves 0 as they are. Half of")
    assert verdict(result, ("bm25", "rerank")).endswith("a difference that chance alone could explain.")
    for ends, told in (((0.1, 0.2), "better, and more"), ((-0.2, -0.1), "worse, and more")):
        entry = {**result["comparisons"][0], "ci95": list(ends)}
        assert told in verdict({**result, "comparisons": [entry]}, ("bm25", "rerank"))


def test_one_query_and_one_arm_still_make_a_report(tmp_path):
    single = evaluation(queries=1)
    assert "a single query says nothing" in render(single, write_result(single, tmp_path), command="x")
    alone = Evaluation(
        collection=single.collection,
        index="i",
        engine="e",
        arms=single.arms[:1],
        comparisons=(),
        seed=0,
        now=NOW,
        versions={},
    )
    assert "no baseline" in render(alone, write_result(alone, tmp_path), command="x")
