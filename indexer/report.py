"""What a load did: for machines as JSON, for people as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


#: Freshness whose middle 90 % lie closer together than this hardly tells documents apart.
ALIKE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """The account of one ``rerank-index`` command."""

    index: str
    read: int
    written: int
    #: Records that are not in the index.
    rejected: int
    #: Kind -> count of everything in the rejects file; bad dates and dangling links lose no record.
    problems: Mapping[str, int]
    #: ``None`` where there was nothing to list.
    rejects_file: str | None
    seconds: float
    #: Factor -> coverage, spread and how it was made.
    signals: Mapping[str, Mapping[str, Any]]
    #: Folder, model, dimensions and number of truncated texts; ``None`` without ``--vectors``.
    vectors: Mapping[str, Any] | None = None
    #: Documents that were there and got other features.
    updated: int = 0
    #: Documents that were left as they were.
    skipped: int = 0
    #: The alias that stands for the index.
    alias: str | None = None
    #: What the user may not expect, a line each.
    notes: Sequence[str] = ()
    #: What one command alone tells, by its names in the JSON.
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints (DESIGN 8)."""
        return {
            "read": self.read,
            "written": self.written,
            "updated": self.updated,
            "skipped": self.skipped,
            "rejected": self.rejected,
            "problems": dict(self.problems),
            "rejects_file": self.rejects_file,
            "seconds": round(self.seconds, 3),
            "docs_per_second": round(self.written / max(self.seconds, 1e-9), 1),
            "index": self.index,
            "alias": self.alias,
            "signals": {factor: dict(account) for factor, account in self.signals.items()},
            "vectors": None if self.vectors is None else dict(self.vectors),
            "notes": list(self.notes),
            **self.more,
        }

    def show(self, console: Console) -> None:
        """Prints the summary."""
        from rich.table import Table

        rate = self.written / max(self.seconds, 1e-9)
        line = (
            f"{self.index}: {self.written:,} of {self.read:,} records written in {self.seconds:.1f} s ({rate:,.0f}/s)"
        )
        if self.updated or (self.skipped and not self.written):
            line = f"{self.index}: {self.updated:,} of {self.read:,} documents updated in {self.seconds:.1f} s"
        console.print(line, highlight=False, markup=False)
        table = Table("signal", "documents", "mean", "5-95 %", "how", box=None, pad_edge=False)
        for factor, account in self.signals.items():
            covered = f"{account['documents']:,} ({account['coverage']:.0%})"
            mean = f"{account['mean']:.2f}" if "mean" in account else "-"
            spread = f"{account['p05']:.2f}-{account['p95']:.2f}" if "mean" in account else "-"
            table.add_row(factor, covered, mean, spread, account.get("absent") or _how(factor, account))
        console.print(table)
        if self.vectors is not None:
            found = f"{self.vectors['kind']}, recall@100 {self.vectors['recall@100']:.3f}"
            line = "vectors: {folder}, {dimensions} dimensions, {model}; {truncated:,} texts cut; ".format(
                **self.vectors
            )
            line += found
            console.print(line, highlight=False, markup=False)
        for note in self.notes:
            console.print(note, highlight=False, markup=False)
        if self.problems:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.problems.items()))
            console.print(
                f"rejected {self.rejected:,}; {kinds}: see {self.rejects_file}", highlight=False, markup=False
            )


def _how(factor: str, account: Mapping[str, Any]) -> str:
    if factor == "authority":
        rank = account.get("pagerank")
        state = "" if rank is None else ("converged" if rank["converged"] else "NOT converged")
        links = "" if rank is None else f"{account['links']:,} links, PageRank {state} in {rank['iterations']} steps"
        return "; ".join(filter(None, (links, f"{account['trusted']:,} with trust" if account["trusted"] else "")))
    if factor == "freshness":
        alike = account["documents"] > 1 and account["p95"] - account["p05"] < ALIKE
        hint = "; ages are much alike at this clock, --now sets another" if alike else ""
        return f"half-life {account['half_life_days']:,.0f} days at {account['reference_time']}{hint}"
    if factor == "popularity":
        return ", ".join(f"{kind} (1 at {top:,.0f})" for kind, top in account["knots"].items())
    return "1 - highest cosine to anything earlier"
