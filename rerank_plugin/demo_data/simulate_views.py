"""The seeded simulator behind the view counts of the demo corpus.

Nobody counted readers of these works, so the counts are drawn: for work ``i``, in the order of ids,

    views_i = round(exp(5 + z_i) * (1 + cited_i) * (1 + age_i / 10) ** 0.5),    z_i normal(0, 1)

``cited_i`` is how many works of the corpus refer to it (attention goes where references already point) and ``age_i``
its age in years at ``UNTIL_YEAR`` (older works had longer to be read). The only input is ``Work``: an id, a year and
references. Queries and grades are not an input, so popularity cannot know the answers.

``python -m rerank_plugin.demo_data.simulate_views`` writes the counts into ``corpus.jsonl`` again; it changes nothing
when they are current.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from rerank_plugin.demo_data import DIRECTORY
from rerank_plugin.errors import DataError

SEED = 20240101
UNTIL_YEAR = 2024


@dataclass(frozen=True, slots=True)
class Work:
    """All that the simulator may know of a work."""

    work_id: str
    year: int
    cites: tuple[str, ...]


def simulate_views(works: Sequence[Work], *, seed: int = SEED, until_year: int = UNTIL_YEAR) -> dict[str, int]:
    """Views (whole number, at least 0) of every work by id; the order of ``works`` does not matter.

    Normal deviates are inverted from uniform ones: numpy keeps the uniform stream of a seed, not the normal one.
    """
    rng = np.random.default_rng(seed)
    normal = NormalDist()
    cited = Counter(target for work in works for target in work.cites)
    views: dict[str, int] = {}
    for work in sorted(works, key=lambda work: work.work_id):
        deviate = normal.inv_cdf(max(float(rng.random()), 1e-12))  # random() may be 0, where the inverse is undefined
        age_years = max(until_year - work.year, 0)
        reach = (1 + cited[work.work_id]) * math.sqrt(1 + age_years / 10)
        views[work.work_id] = round(math.exp(5.0 + deviate) * reach)
    return views


def read_works(corpus: Path) -> tuple[list[dict[str, Any]], list[Work]]:
    """The records of a ``corpus.jsonl`` and what the simulator sees of each, in the order of the file.

    :raises DataError: a line is not a record with ``_id`` and ``metadata.date``.
    """
    records: list[dict[str, Any]] = []
    works: list[Work] = []
    for number, line in enumerate(corpus.read_text(encoding="utf-8").rstrip("\n").split("\n"), start=1):
        try:
            record = json.loads(line)
            metadata = record["metadata"]
            works.append(Work(record["_id"], int(metadata["date"][:4]), tuple(metadata.get("cites", ()))))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{corpus} line {number} must be a JSON record with _id and metadata.date ({error!r}); mend that line"
            ) from error
        records.append(record)
    return records, works


def write_views(corpus: Path) -> None:
    """Store the simulated counts as ``metadata.events.views`` in ``corpus``, every other byte of a record unchanged."""
    records, works = read_works(corpus)
    views = simulate_views(works)
    for record in records:
        record["metadata"]["events"] = {"views": views[record["_id"]]}
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    corpus.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write_views(DIRECTORY / "corpus.jsonl")
