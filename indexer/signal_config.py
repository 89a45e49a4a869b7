"""Which fields of a record carry the signals, and how the signals are joined: one rule for every collection.

A name is looked up under ``metadata`` first, then at the top of the record; dots go deeper. Where several names are
given for a date or for trust, the first that is present is taken; links and counts of all names are taken together.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from indexer.values import is_number
from rerank_plugin.errors import ConfigError

#: An object of counts by kind in a record, read beside the counts that stand in fields of their own.
EVENTS_FIELD = "events"
#: Settings that hold names of fields.
_NAMES = ("date", "type", "evergreen", "links", "trust", "owner")


def _default_counts() -> dict[str, float]:
    kinds = "views clicks click_rate likes votes score points comments comment_count shares downloads purchases"
    return dict.fromkeys(kinds.split(), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalConfig:
    """Settings of the signals; every one has a default that fits the collections this project was built on.

    :raises ConfigError: a value out of its range, naming the setting.
    """

    #: Publication date.
    date: tuple[str, ...] = ("date", "published_at")
    #: What kind of document it is, for ``half_lives`` and ``evergreen``.
    type: tuple[str, ...] = ("type", "content_type")
    #: Type -> its half-life in days, where it ages otherwise than the collection.
    half_lives: Mapping[str, float] = field(default_factory=dict)
    #: Types that do not age: they have no freshness, which neither helps nor harms.
    evergreen: tuple[str, ...] = ()
    #: Ids of documents that gain authority by this one.
    links: tuple[str, ...] = ("cites",)
    #: A number of trust in the source, on any scale: only its order counts.
    trust: tuple[str, ...] = ("trust", "owner_reputation", "author_reputation")
    #: Field -> its value -> trust; where given, it takes the place of ``trust``.
    trust_table: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    #: Kind of count -> its weight in popularity; other kinds (impressions, say) do not count.
    counts: Mapping[str, float] = field(default_factory=_default_counts)
    #: Part of PageRank in authority where trust is known too.
    link_share: float = 0.5
    #: Part of PageRank's readers who start at trusted documents, in proportion to their trust; the others anywhere.
    seed_share: float = 0.0
    #: Fields that name a document's owner (domain, author, publisher), whose documents have one vote together.
    owner: tuple[str, ...] = ()
    #: Probability that PageRank's reader follows a link instead of starting anew.
    damping: float = 0.85

    def __post_init__(self) -> None:
        for name, low, high in (("link_share", 0.0, 1.0), ("seed_share", 0.0, 1.0), ("damping", 0.0, 0.99)):
            value = getattr(self, name)
            if not is_number(value) or not low <= value <= high:
                raise ConfigError(f"{name} must be from {low:g} to {high:g}, got {value!r}")
        for name in _NAMES:
            if not all(isinstance(each, str) and each for each in getattr(self, name)):
                raise ConfigError(f"{name} must be a list of field names, got {getattr(self, name)!r}")
        for name, table in (("counts", self.counts), ("half_lives", self.half_lives), *self.trust_table.items()):
            if not isinstance(table, Mapping) or not all(is_number(value) for value in table.values()):
                raise ConfigError(f"{name} must be a table of numbers, got {table!r}")
        dead = [kind for kind, days in self.half_lives.items() if days <= 0]
        if dead:
            raise ConfigError(f"half_lives.{dead[0]} must be above 0 days, got {self.half_lives[dead[0]]!r}")
        negative = [kind for kind, weight in self.counts.items() if weight < 0]
        if negative:
            raise ConfigError(f"counts.{negative[0]} must be at least 0, got {self.counts[negative[0]]!r}")

    @classmethod
    def read(cls, file: Path) -> SignalConfig:
        """Settings from a TOML or JSON file; what it does not name keeps its default.

        :raises ConfigError: the file cannot be read, or a setting is unknown or wrong.
        """
        try:
            text = file.read_text(encoding="utf-8")
            stored = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the signals file {file}: {error}; it is TOML (.toml) or JSON") from error
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(stored) - set(known)) if isinstance(stored, dict) else ["(not a table)"]
        if unknown:
            raise ConfigError(f"{file}: unknown setting {unknown[0]}; known are {', '.join(known)}")
        for name in _NAMES:
            if name in stored:
                value = stored[name]
                stored[name] = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ""
                if stored[name] == "":
                    raise ConfigError(f"{file}: {name} must be a field name or a list of them, got {value!r}")
        if not isinstance(stored.get("trust_table", {}), dict):
            raise ConfigError(f"{file}: trust_table must be a table of tables, got {stored['trust_table']!r}")
        return cls(**stored)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SignalConfig:
        """The settings as stored with an index; what this release does not know is passed over.

        :raises ConfigError: a setting is wrong.
        """
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in known
        }
        return cls(**given)

    def as_json(self) -> dict[str, Any]:
        """The settings as stored with the index."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def digest(self) -> str:
        """Sixteen digits of the sha256 of the settings: equal settings, equal digest."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]


def look_up(record: Mapping[str, Any], name: str) -> Any:
    """The value under ``metadata.NAME``, else under ``NAME``; ``None`` where neither is there. Dots go deeper."""
    for start in (record.get("metadata"), record):
        value: Any = start
        for key in name.split(".") if "." in name else (name,):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None
