"""Where the development collections are; they are not part of the project and many machines lack them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def data_root() -> Path:
    """``RERANK_DATA``, else the folder ``shared/data`` beside the checkout; it need not exist."""
    named = os.environ.get("RERANK_DATA")
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def collection(name: str) -> Path:
    """The BEIR folder of one collection (``cacm``, ``scifact``, ...); skips the test where it is absent."""
    folder = data_root() / "beir" / name
    if not (folder / "corpus.jsonl").is_file() and not (folder / "corpus.jsonl.gz").is_file():
        pytest.skip(f"needs the collection {name}: set RERANK_DATA to a folder with beir/{name}")
    return folder
