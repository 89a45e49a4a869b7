"""The word list that opens a factor's gate."""

import pytest

from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.ranking.gate import GATE_FLOOR, query_gates


@pytest.mark.parametrize(
    ("query", "opened"),
    [
        ("compilers", set()),
        ("Latest work on compilers", {"freshness"}),
        ("the newest trending laptops", {"freshness", "popularity"}),
        ("OFFICIAL documentation", {"authority"}),
        ("new york restaurants", {"freshness", "novelty"}),  # a word list has no notion of names: a known limit
        ("renewable energy", set()),  # "new" inside a word
        ("topology of networks", set()),  # "top" inside a word
        ("best-first search", set()),  # hyphenated: another word
        ("this week in programming", {"freshness"}),
        ("最新的论文", {"freshness"}),
        ("", set()),
    ],
)
def test_gates_open_for_the_words_of_the_query(query: str, opened: set[str]) -> None:
    gates = query_gates(query)
    assert {factor for factor in PRIORS if gates[factor] == 1.0} == opened
    assert all(gates[factor] == GATE_FLOOR for factor in set(PRIORS) - opened)
