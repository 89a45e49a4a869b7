"""Gates learned from queries that say what they ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerank_plugin.errors import DataError, ModelFolderError
from rerank_plugin.evaluation.collection import read_queries
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.load import open_encoder
from rerank_plugin.models.types import encoded_query
from rerank_plugin.ranking.gate import GATE_FLOOR, LearnedGates, query_gates
from rerank_plugin.training.gates import LEAST, fit_gates
from rerank_plugin.training.logistic import chosen_penalty, predicted, soft_logistic

SUBJECTS = (
    "compilers", "garbage collection", "solar panels", "electric cars", "vaccines", "the housing market", "tennis",
    "quantum computers", "coffee prices", "bridge design", "cancer treatment", "jazz", "sea ice", "school meals",
    "container ships", "wheat harvests",
)  # fmt: skip
#: What no word list holds, and names that hold a word of it.
FRESH = ("what happened this morning with {}", "developments in {} since last month", "{} in 2025 so far")
PLAIN = ("how do {} work", "history of {}", "{} in New York")


def asked(subjects: tuple[str, ...]) -> tuple[list[str], list[frozenset[str]]]:
    fresh = [form.format(subject) for form in FRESH for subject in subjects]
    plain = [form.format(subject) for form in PLAIN for subject in subjects]
    return [*fresh, *plain], [frozenset({"freshness"})] * len(fresh) + [frozenset()] * len(plain)


def test_a_gate_opens_for_questions_that_no_list_has_and_not_for_names() -> None:
    encoder = open_encoder(ModelFolder.open(default_model_folder()))

    def vectors(queries: list[str]) -> np.ndarray:
        return np.stack([encoded_query(encoder, query) for query in queries])

    queries, asks = asked(SUBJECTS[:10])
    section, account = fit_gates(queries, asks, vectors(queries))
    assert list(section) == ["freshness"]
    errors = account["freshness"]["squared_error"]
    assert errors["list"] == pytest.approx(40 / 60, abs=1e-4)  # none of thirty found, ten names taken for it
    assert errors["learned"] < errors["list"] / 4
    gates = LearnedGates.from_manifest(section, dimensions=encoder.dimensions, where="here")
    assert gates is not None
    held, wanted = asked(SUBJECTS[10:])  # other subjects
    found = [gates(query, vector) for query, vector in zip(held, vectors(held), strict=True)]
    assert all((each["freshness"] > 0.6) == bool(asks) for each, asks in zip(found, wanted, strict=True))
    assert all(GATE_FLOOR <= each["freshness"] <= 1.0 for each in found)
    assert all(each["novelty"] == query_gates(query)["novelty"] for each, query in zip(found, held, strict=True))


def test_the_list_is_kept_where_it_is_no_worse() -> None:
    rng = np.random.default_rng(0)
    queries = [f"latest {place}" if place % 2 else f"plain {place}" for place in range(60)]
    asks = [frozenset({"freshness"}) if place % 2 else frozenset() for place in range(60)]
    section, account = fit_gates(queries, asks, rng.normal(size=(60, 4)).astype(np.float32))
    assert section == {}
    assert account["freshness"]["kept"] == "list"
    assert account["freshness"]["squared_error"]["list"] == 0.0


def test_a_word_of_the_list_counts_as_much_as_it_is_right() -> None:
    """It is right in four of five queries: its log-odds are ln 4 either way, ln 16 between them."""
    queries = [f"latest {place}" if place % 2 else f"plain {place}" for place in range(2000)]
    asks = [
        frozenset({"freshness"}) if bool(place % 2) == bool(place % 10 < 8) else frozenset() for place in range(2000)
    ]
    section, account = fit_gates(queries, asks, np.zeros((2000, 2), np.float32))
    assert account["freshness"]["squared_error"] == {"list": 0.2, "learned": pytest.approx(0.16, abs=2e-3)}
    assert section["freshness"]["word"] == pytest.approx(np.log(16), abs=0.02)


def test_few_queries_teach_nothing() -> None:
    few = [frozenset({"authority"})] * (LEAST - 1) + [frozenset()] * 50
    assert fit_gates(["q"] * len(few), few, np.zeros((len(few), 2), np.float32)) == ({}, {})


def test_a_gate_by_hand() -> None:
    section = {"freshness": {"intercept": -1.0, "word": 2.0, "slopes": [3.0, 0.0]}}
    gates = LearnedGates.from_manifest(section, dimensions=2, where="here")
    assert gates is not None
    share = 1 / (1 + np.exp(-(-1.0 + 2.0 + 3.0 * 0.5)))
    assert gates("latest news", np.array([0.5, 9.0], np.float32))["freshness"] == pytest.approx(0.2 + 0.8 * share)
    plain = 1 / (1 + np.exp(1.0))
    assert gates("sorting", np.array([0.0, 9.0], np.float32))["freshness"] == pytest.approx(0.2 + 0.8 * plain)
    far = LearnedGates.from_manifest({"freshness": {**section["freshness"], "intercept": -1e6}}, dimensions=2, where="")
    assert far is not None
    assert far("sorting", np.zeros(2, np.float32))["freshness"] == pytest.approx(GATE_FLOOR)


@pytest.mark.parametrize(
    "section",
    [
        {"age": {"intercept": 0.0, "word": 0.0, "slopes": [0.0, 0.0]}},
        {"freshness": {"intercept": 0.0, "word": 0.0, "slopes": [0.0]}},
        {"freshness": {"intercept": 0.0, "slopes": [0.0, 0.0]}},
        {"freshness": {"intercept": float("nan"), "word": 0.0, "slopes": [0.0, 0.0]}},
        {"freshness": {"intercept": 0.0, "word": 0.0, "slopes": "ab"}},
        {"freshness": [1.0, 2.0, 3.0, 4.0]},
    ],
)
def test_a_broken_gate_is_one_line(section: dict[str, object]) -> None:
    with pytest.raises(ModelFolderError, match="needs an intercept, a word and 2 slopes") as caught:
        LearnedGates.from_manifest(section, dimensions=2, where="here")
    assert "\n" not in str(caught.value)


def test_queries_say_what_they_ask_for(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(
        '{"_id": "1", "text": "a", "metadata": {"asks": ["freshness"]}}\n'
        '{"_id": "2", "text": "b", "metadata": {"asks": []}}\n{"_id": "3", "text": "c"}\n'
    )
    assert [query.asks for query in read_queries(file)] == [frozenset({"freshness"}), frozenset(), None]
    for wrong in ('"freshness"', '["age"]', "[1]", '[["freshness"]]'):
        file.write_text(f'{{"_id": "1", "text": "a", "metadata": {{"asks": {wrong}}}}}\n')
        with pytest.raises(DataError, match=r"queries.jsonl:1: metadata.asks is a list of some of authority"):
            read_queries(file)


def test_logistic_regression_recovers_shares() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 3))
    targets = 1 / (1 + np.exp(-(vectors @ np.array([1.0, -2.0, 0.0]) + 0.5)))
    slopes, intercept = soft_logistic(vectors, targets, 0.0)
    assert [*slopes, intercept] == pytest.approx([1.0, -2.0, 0.0, 0.5], abs=1e-2)
    assert predicted(vectors, slopes, intercept) == pytest.approx(targets, abs=1e-2)
    penalty, error = chosen_penalty(vectors, targets, seed=0)
    assert (penalty, error) == (1e-5, pytest.approx(0.0, abs=1e-5))
