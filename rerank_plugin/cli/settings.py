"""``--settings FILE``: reranking settings from a file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError


def read_settings(path: Path | None) -> Rerank:
    """The settings of a JSON or TOML file; the defaults where there is none.

    :raises ConfigError: it is missing, neither of the two, or holds a setting that is not allowed.
    """
    if path is None:
        return Rerank()
    try:
        text = path.read_text(encoding="utf-8")
        loaded = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(f"--settings {path} does not exist; give the path of a JSON or TOML file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"--settings {path} cannot be read ({error}); give a JSON or TOML file") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"--settings {path} must hold an object of settings, got {type(loaded).__name__}")
    try:
        return Rerank.of(loaded)
    except ConfigError as error:
        raise ConfigError(f"--settings {path}: {error}") from error
