"""What docs/signals.md shows is what is read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from harness.data import CHECKOUT
from indexer.events.summary import summarise
from indexer.signal_config import SignalConfig

TEXT = (CHECKOUT / "docs" / "signals.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    [found] = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    return found


def test_the_settings_shown_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "signals.toml"
    file.write_text(block("toml"), encoding="utf-8")
    config = SignalConfig.read(file)
    assert (config.owner, config.seed_share, config.half_lives) == (("domain",), 0.5, {"news": 7})
    assert (config.evergreen, config.counts["click_rate"]) == (("manual",), 2.0)


def test_the_event_shown_is_an_event(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(block("json"), encoding="utf-8")
    assert json.loads(block("json"))["_id"] == "a"
    assert summarise(file, now=datetime(2025, 6, 1, tzinfo=UTC)).counts == {"a": {"clicks": 1.0}}
