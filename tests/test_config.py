"""Settings: loose forms are converted once, wrong ones are refused by name."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rerank_plugin.config import FieldSource, Rerank, together
from rerank_plugin.domain.factors import Weights
from rerank_plugin.errors import ConfigError


def test_what_a_caller_may_write_after_rerank() -> None:
    assert Rerank.of(None) == Rerank.of(True) == Rerank()
    assert Rerank.of(False).mode == "off"
    settings = Rerank.of(
        {
            "window": 50,
            "weights": "authority=1",
            "text_fields": "body",
            "model": "m",
            "now": "2020-01-01",
            "field_map": {"published_at": "created", "popularity": {"field": "sales", "scale": "log"}},
        }
    )
    assert settings.weights == Weights(authority=1)
    assert settings.text_fields == ("body",)
    assert settings.model == Path("m")
    assert settings.now == datetime(2020, 1, 1, tzinfo=UTC)
    assert settings.field_map["published_at"] == FieldSource(field="created", scale="date")
    assert settings.field_map["popularity"] == FieldSource(field="sales", scale="log")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "rerank must be settings"),
        ({"windw": 1}, "unknown setting rerank.windw"),
        ({"mode": "maybe"}, "mode must be one of on, off"),
        ({"window": 0}, "window must be a whole number from 1 to 1000, got 0"),
        ({"window": 10.5}, "window must be a whole number"),
        ({"deadline_ms": 0}, "deadline_ms must be above 0"),
        ({"dense": "extend"}, "dense='extend' needs vectors"),
        ({"field_map": {"rank": "x"}}, "field_map names 'rank'"),
        ({"field_map": {"authority": {"scale": "log"}}}, "field is missing"),
        ({"field_map": {"authority": {"field": "x", "scle": 1}}}, "unknown key 'scle'"),
        ({"field_map": {"authority": {"field": "x", "scale": "cubic"}}}, "scale must be one of"),
        ({"now": datetime(2020, 1, 1)}, "now needs a time zone"),
        ({"now": 3}, "now must be a date, got 3"),
        ({"now": "x"}, "now: a date is written"),
        ({"now": "0001-01-01T00:00:00+14:00"}, "now: a date is written"),
        ({"deadline_ms": True}, "deadline_ms must be above 0"),
        ({"deadline_ms": 10**400}, "deadline_ms must be above 0"),
        ({"weights": 3}, "weights must be"),
        ({"weights": {"authority": 10**400}}, "the weight of authority must be a finite number"),
        ({"weights": {1: 2, "rank": 3}}, "unknown factor 1"),
        ({1: 2, "windw": 3}, "unknown setting rerank.1"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"threads": "two"}, "threads must be a whole number"),
        ({"text_fields": 3}, "text_fields must be names"),
        ({"text_fields": ["title", None]}, "text_fields must be names"),
        ({"field_map": 3}, "field_map must be an object"),
        ({"field_map": {"authority": {"field": 3}}}, "needs the name of a field, got 3"),
        ({"field_map": {"authority": {"field": "x", "pivot": "y"}}}, "pivot must be above 0"),
        (
            {"field_map": {"authority": {"field": "x", "scale": "date"}}},
            "field_map.authority cannot have the scale 'date'",
        ),
        ({"field_map": {"published_at": {"field": "x", "scale": "log"}}}, "cannot have the scale 'log'"),
    ],
)
def test_wrong_settings_are_refused(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rerank.of(value)  # type: ignore[arg-type]


def test_scales_by_hand() -> None:
    assert FieldSource(field="x", scale="log", pivot=9).to_unit(9) == 0.5
    assert FieldSource(field="x", scale="log", pivot=9).to_unit(99) == pytest.approx(2 / 3)  # ln 100 / (ln 100 + ln 10)
    assert FieldSource(field="x", scale="saturation", pivot=3).to_unit(1) == 0.25
    assert FieldSource(field="x").to_unit(7) == 1.0
    assert FieldSource(field="x").to_unit([0.5, 9]) == 0.5
    for absent in (None, [], "3", True, float("nan")):
        assert FieldSource(field="x", scale="log").to_unit(absent) is None
    assert FieldSource(field="x", scale="log").to_unit(-1) is None


def test_the_environment_is_the_kill_switch() -> None:
    assert Rerank().with_environment({"RERANK_MODE": "off"}).mode == "off"
    assert Rerank().with_environment({}).mode == "on"
    assert Rerank().with_environment({"RERANK_MODEL": "there"}).model == Path("there")
    assert Rerank(model=Path("here")).with_environment({"RERANK_MODEL": "there"}).model == Path("here")
    with pytest.raises(ConfigError, match="RERANK_MODE must be one of"):
        Rerank().with_environment({"RERANK_MODE": "of"})


def test_a_number_too_large_for_a_float_is_unknown() -> None:
    assert [FieldSource(field="x", scale=scale).to_unit(10**400) for scale in ("unit", "log")] == [None, None]


def test_who_trains_together() -> None:
    assert together({}) == (0, 1)
    assert together({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}) == (1, 2)


@pytest.mark.parametrize(
    "environ", [{"RANK": "first"}, {"RANK": "1"}, {"RANK": "-1", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "0"}]
)
def test_an_environment_that_names_no_process_is_one_line(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"RANK=.* and WORLD_SIZE=.* name no process of several; unset them"):
        together(environ)
