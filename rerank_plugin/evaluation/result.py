"""An evaluation as one value: the JSON object of DESIGN 8, and the files of an output folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rerank_plugin.evaluation.collection import Collection
from rerank_plugin.evaluation.compare import Comparison, PerQuery, per_query
from rerank_plugin.evaluation.experiment import DIVERSITY, FACTOR_AUC, FACTOR_MEANS, ArmResult, percentile
from rerank_plugin.evaluation.metrics import Gain
from rerank_plugin.evaluation.runs import write_trec
from rerank_plugin.evaluation.shown import SideBySide

#: Packages whose version can change a figure.
_PACKAGES = (
    *("rerank-plugin", "opensearch-py", "numpy", "scipy", "ir-measures", "onnxruntime", "faiss-cpu", "lightgbm"),
    "tantivy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Arms over one collection with their comparisons, and all that is needed to repeat it."""

    collection: Collection
    index: str
    #: The engine's URL; a password in it never reaches a report.
    engine: str
    arms: Sequence[ArmResult]
    comparisons: Sequence[Comparison]
    #: (baseline, candidate) of the comparison a reader came for; ``None`` where nothing is compared.
    lead: tuple[str, str] | None = None
    gain: Gain = "linear"
    #: Queries of that comparison side by side.
    shown: Sequence[SideBySide] = ()
    #: Kind -> what its values gave.
    sweeps: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    now: datetime
    #: What was used, name -> version: packages, the engine, the model.
    versions: Mapping[str, str]
    #: What was read, name -> SHA-256 or the checksum that is stored with it.
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def per_query(self) -> PerQuery:
        """The arms' values by measure, arm and query."""
        return per_query(self.arms)

    def to_json(self, out: Path) -> dict[str, Any]:
        """The object of DESIGN 8; ``run`` paths are those that :func:`write_result` uses under ``out``."""
        return {
            "dataset": self.collection.name,
            "index": self.index,
            "engine": without_password(self.engine),
            "gain": self.gain,
            "queries": len(self.collection.qrels),
            "unjudged": self.collection.unjudged,
            "without_relevant": self.collection.without_relevant,
            "note": self.collection.note,
            "arms": {arm.label: arm_json(arm, run_path(out, arm.label)) for arm in self.arms},
            "comparisons": [_comparison_json(each) for each in self.comparisons],
            "sweeps": dict(self.sweeps),
            "seed": self.seed,
            "now": moment(self.now),
            "versions": dict(self.versions),
            "checksums": dict(self.checksums),
        }


def arm_json(arm: ArmResult, run: Path) -> dict[str, Any]:
    """One arm's part of a result."""
    return {
        "kind": arm.kind,
        **{measure: arm.judged.mean(measure) for measure in arm.judged.per_query},
        "latency_ms": {f"p{share}": _latency(arm, share) for share in (50, 95, 99)},
        FACTOR_MEANS: dict(arm.factors),
        FACTOR_AUC: dict(arm.factor_auc),
        DIVERSITY: arm.diversity,
        "fallbacks": arm.fallbacks,
        "truncated": arm.truncated,
        "missing": arm.judged.missing,
        "statuses": dict(arm.statuses),
        "reasons": dict(arm.reasons),
        "note": arm.note,
        "run": str(run),
    }


def _latency(arm: ArmResult, share: int) -> float | None:
    return round(percentile(arm.latencies_ms, share / 100), 3) if arm.latencies_ms else None


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    found = comparison.paired
    return {
        "baseline": comparison.baseline,
        "candidate": comparison.candidate,
        "measure": comparison.measure,
        "delta": found.delta,
        "ci95": None if found.ci95 is None else list(found.ci95),
        "ci95_bootstrap": None if found.ci95_bootstrap is None else list(found.ci95_bootstrap),
        "p_ttest": found.p_ttest,
        "p_ttest_holm": comparison.p_ttest_holm,
        "p_permutation": found.p_permutation,
        "p_permutation_holm": comparison.p_permutation_holm,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
    }


def moment(now: datetime) -> str:
    """The clock as ``--now`` takes it."""
    return now.astimezone(UTC).isoformat().replace("+00:00", "Z")


def run_path(out: Path, label: str) -> Path:
    """Where an arm's run goes; letters of a label that a file name may not have become ``_``."""
    return out / "runs" / f"{re.sub(r'[^A-Za-z0-9_.=+,-]', '_', label)}.run"


def write_result(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Writes ``runs/*.run``, ``per_query.json`` and ``result.json`` under ``out``; the content of the last comes back.

    :raises DataError: a run has scores that are not finite; ``OSError`` where the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for arm in evaluation.arms:
        write_trec(arm.run, run_path(out, arm.label))
    result = evaluation.to_json(out)
    write_text(out / "per_query.json", json.dumps(evaluation.per_query, ensure_ascii=False) + "\n")
    write_text(out / "result.json", json.dumps(result, ensure_ascii=False, indent=2) + "\n")
    return result


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def without_password(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def file_checksums(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """SHA-256 of each file that is given, by name; one that exists only as ``.gz`` counts as that."""
    found: dict[str, str] = {}
    for name, path in paths.items():
        for each in () if path is None else (path, path.with_name(f"{path.name}.gz")):
            if each.is_file():
                found[name] = hashlib.sha256(each.read_bytes()).hexdigest()
                break
    return found


def package_versions() -> dict[str, str]:
    """Python and those of our packages that are installed, name -> version."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
