"""Queries and judgments of the ``ir_datasets`` catalogue, where that package is installed: it downloads them itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from rerank_plugin.errors import ConfigError, DataError
from rerank_plugin.evaluation.collection import Collection, Judgments, Query, joined

#: What a ``--dataset`` of that catalogue begins with.
PREFIX = "ir_datasets:"


def catalogue_name(dataset: Path | None) -> str:
    """The name in the catalogue; empty for a folder, or nothing."""
    text = "" if dataset is None else dataset.as_posix()
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else ""


def read_catalogue(name: str) -> Collection:
    """Queries and judgments by their name, ``beir/scifact/test``.

    :raises ConfigError: the package is not installed.
    :raises DataError: the catalogue has no such name, or it has no queries or judgments.
    """
    try:
        catalogue = import_module("ir_datasets")
    except ImportError as error:
        raise ConfigError(f"{PREFIX}{name} needs the package ir-datasets: pip install ir-datasets") from error
    try:
        dataset = catalogue.load(name)
    except KeyError as error:
        raise DataError(f"ir_datasets has no {name!r}; ir_datasets list shows what it has") from error
    if not (dataset.has_queries() and dataset.has_qrels()):
        raise DataError(f"{PREFIX}{name} has no queries with judgments; give the name of a subset that has")
    asked = [Query(str(each.query_id), _text(each)) for each in dataset.queries_iter()]
    grades: dict[str, dict[str, int]] = {}
    for each in dataset.qrels_iter():
        grades.setdefault(str(each.query_id), {})[str(each.doc_id)] = int(each.relevance)
    where = f"{PREFIX}{name}"
    return joined(name, asked, Judgments(grades=grades), (where, where))


def _text(query: object) -> str:
    """A TREC topic has several texts; the catalogue knows which one is asked."""
    default = getattr(query, "default_text", None)
    return str(default() if callable(default) else getattr(query, "text", ""))
