"""The calibrated head: which fit serves which candidate, and what a broken manifest says."""

import math

import pytest

from rerank_plugin.errors import ModelFolderError
from rerank_plugin.ranking.relevance import Fit, RelevanceHead

HEAD = RelevanceHead(
    {
        "score+text": Fit(intercept=-3.0, log_score=1.0, relative_score=4.0, cosine=4.0),
        "text": Fit(intercept=-2.0, cosine=5.0),
        "score": Fit(intercept=-1.0, log_score=0.5),
    }
)


def test_each_case_has_its_own_fit() -> None:
    half, top = math.e - 1, 2 * (math.e - 1)  # ln(1 + score) = 1, score / top = 1/2
    assert HEAD.z(half, top, cosine=0.5, interaction=None) == pytest.approx(2.0)  # -3 + 1 + 4/2 + 2
    assert HEAD.z(None, 0.0, cosine=0.5, interaction=None) == pytest.approx(0.5)  # -2 + 2.5
    assert HEAD.z(half, top, cosine=None, interaction=None) == pytest.approx(-0.5)  # -1 + .5
    assert HEAD.z(None, 0.0, cosine=None, interaction=None) == -1.0


def test_a_negative_first_stage_score_counts_as_zero() -> None:
    assert HEAD.z(-4.0, 0.0, cosine=0.0, interaction=None) == -3.0
    assert HEAD.z(0.0, 0.0, cosine=0.0, interaction=None) == -3.0  # nothing matched: no share of nothing


def test_the_joint_pass_is_needed_only_where_it_counts() -> None:
    assert not HEAD.needs_interaction
    assert RelevanceHead({**HEAD.fits, "text": Fit(intercept=0.0, interaction=1.0)}).needs_interaction


def test_the_manifest_section_round_trips() -> None:
    assert RelevanceHead.from_manifest(HEAD.to_manifest(), where="m") == HEAD


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "m has no calibration for 'score+text'"),
        ({**HEAD.to_manifest(), "text": {"intercept": "high"}}, "relevance.text.intercept must be a finite number"),
        ({**HEAD.to_manifest(), "score": {"intercept": math.nan}}, "relevance.score.intercept must be a finite number"),
    ],
)
def test_a_broken_section_is_refused_by_name(section: dict, message: str) -> None:
    with pytest.raises(ModelFolderError, match=message.replace("+", r"\+")):
        RelevanceHead.from_manifest(section, where="m")
