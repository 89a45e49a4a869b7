"""Weights: what a caller may ask for."""

import math

import pytest

from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError


def test_weights_are_parsed_from_the_command_lines_form() -> None:
    assert Weights.parse(" authority=0.5, freshness=1 ") == Weights(authority=0.5, freshness=1.0)
    assert Weights.parse("") == Weights()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("authority", "weights are written factor=number"),
        ("authority=much", "weights are written factor=number"),
        ("relevance=1", "unknown factor 'relevance'"),
        ("authority=-1", "finite number of at least 0"),
        ("authority=nan", "finite number of at least 0"),
        ("authority=2,freshness=2.1", "sum to at most 4"),
    ],
)
def test_what_is_no_weight_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Weights.parse(text)


def test_exactly_four_is_allowed_and_true_is_no_number() -> None:
    assert sum(Weights(authority=2, popularity=2).as_dict().values()) == 4.0
    with pytest.raises(ConfigError, match="finite number"):
        Weights(authority=True)
    with pytest.raises(ConfigError, match="finite number"):
        Weights(authority=math.inf)
