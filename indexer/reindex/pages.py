"""The documents of one shard in the order of their last change (``_seq_no``), page by page.

A position in that order stays good for ever: it needs no point in time that dies with a node, another copy of the shard
has the same, and a document that changes meanwhile moves behind the reader, who meets it again. Read only up to the
global checkpoint: below it nothing is still on its way, and nothing is rolled back when a primary is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from indexer.reindex.wire import Wire, load_msgspec
from rerank_plugin.errors import EngineError

#: Documents of the first page; later ones aim at PAGE_BYTES.
FIRST_PAGE = 500
PAGE_BYTES = 3 * 1024 * 1024
MOST_PER_PAGE = 5_000
#: Windows of ``_seq_no`` grow up to this where most of it is history that no longer exists.
WIDEST = 10_000_000
BEFORE_ALL = -1


@cache
def _answer_decoder() -> Any:
    """Decoder of a search's answer; each document's ``_source`` stays the bytes that came."""
    msgspec = load_msgspec()
    hit = msgspec.defstruct(
        "Hit",
        [
            ("id", str, msgspec.field(name="_id")),
            ("seq_no", int, msgspec.field(name="_seq_no")),
            ("primary_term", int, msgspec.field(name="_primary_term")),
            ("version", int, msgspec.field(name="_version", default=0)),
            ("routing", str | None, msgspec.field(name="_routing", default=None)),
            ("source", msgspec.Raw, msgspec.field(name="_source", default=msgspec.Raw())),
        ],
        gc=False,
    )
    hits = msgspec.defstruct("Hits", [("hits", list[hit])])  # type: ignore[valid-type]
    answer = msgspec.defstruct("Answer", [("hits", hits), ("timed_out", bool, False)])
    return msgspec.json.Decoder(answer)


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents of a shard, with ``id``, ``seq_no``, ``version``, ``routing`` and ``source`` (bytes-like)."""

    hits: list[Any]
    #: Everything up to this position has been read.
    upto: int


@dataclass(slots=True)
class PageSize:
    """How many documents a page holds so that it is of about ``PAGE_BYTES``; learned from the pages that came."""

    documents: int = FIRST_PAGE
    most: int = MOST_PER_PAGE

    def learn(self, hits: list[Any]) -> None:
        """Takes the mean size of these documents as that of the next."""
        size = sum(len(memoryview(hit.source)) for hit in hits)
        if hits:
            self.documents = max(10, min(self.most, 2 * self.documents, PAGE_BYTES * len(hits) // max(size, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How an index is read."""

    wire: Wire
    index: str
    #: What of ``_source`` comes: everything, nothing, or the named fields.
    source: bool | list[str] = True
    version: bool = False
    #: Condition on the documents; ``None`` reads all.
    where: dict[str, Any] | None = None
    size: PageSize = field(default_factory=PageSize)

    def pages(self, shard: int, after: int, upto: int) -> Iterator[Page]:
        """Every document of the shard whose last change lies in (after, upto], in that order.

        Refresh the index first: what it does not show yet is passed over.

        :raises EngineError: the engine refused, or stayed away.
        """
        width = self.size.documents
        while after < upto:
            size = self.size.documents
            end = min(upto, after + max(width, size))
            hits = self._hits(shard, after, end, size)
            full = len(hits) == size
            after = hits[-1].seq_no if full else end
            # Windows as wide as the history is thin: most of a shard's numbers may belong to older versions.
            width = max(size, width // 2) if full else min(WIDEST, width * 2) if 2 * len(hits) < size else width
            self.size.learn(hits)
            yield Page(hits, after)

    def _hits(self, shard: int, after: int, upto: int, size: int) -> list[Any]:
        within: dict[str, Any] = {"range": {"_seq_no": {"gt": after, "lte": upto}}}
        body = {
            "size": size,
            "sort": [{"_seq_no": "asc"}],
            "query": {"bool": {"filter": [within, *([self.where] if self.where else [])]}},
            "_source": self.source,
            "seq_no_primary_term": True,
            "version": self.version,
            "track_total_hits": False,
        }
        text = self.wire.text(
            f"reading {self.index}",
            "POST",
            f"/{self.index}/_search",
            body,
            preference=f"_shards:{shard}",
            allow_partial_search_results="false",
            filter_path="timed_out,hits.hits._id,hits.hits._seq_no,hits.hits._primary_term,hits.hits._version,"
            "hits.hits._routing,hits.hits._source",
        )
        if '"hits"' not in text[:40] and '"hits"' not in text:
            return []
        try:
            found: list[Any] = _answer_decoder().decode(text).hits.hits
        except load_msgspec().DecodeError as error:
            raise EngineError(f"reading {self.index}: the answer is not a search's ({error})") from error
        return found


def checkpoints(wire: Wire, index: str) -> dict[int, tuple[int, int]]:
    """Global checkpoint and highest ``_seq_no`` of each shard of an index, -1 where it has none, by its primaries.

    :raises EngineError: a shard has no primary at the moment, or the engine refused.
    """
    stats = wire.ask(
        f"asking for the shards of {index}",
        lambda client: client.indices.stats(index=index, metric="docs", level="shards"),
    )
    found: dict[int, tuple[int, int]] = {}
    for number, copies in stats["indices"][index]["shards"].items():
        for copy in copies:
            if copy["routing"]["primary"]:
                found[int(number)] = (int(copy["seq_no"]["global_checkpoint"]), int(copy["seq_no"]["max_seq_no"]))
    failed = int(stats["_shards"]["failed"])
    settings = wire.ask(
        f"asking for the settings of {index}",
        lambda client: client.indices.get_settings(index=index, flat_settings=True),
    )
    shards = int(settings[index]["settings"]["index.number_of_shards"])
    if failed or len(found) != shards:
        missing = sorted(set(range(shards)) - set(found))
        raise EngineError(f"{index}: no primary answers for shards {missing or '(some)'}; is the cluster red?")
    return dict(sorted(found.items()))


def safe_positions(wire: Wire, index: str) -> dict[int, int]:
    """The position of each shard up to which it can be read.

    :raises EngineError: as :func:`checkpoints`.
    """
    return {shard: safe for shard, (safe, _) in checkpoints(wire, index).items()}


def refresh(wire: Wire, index: str) -> None:
    """Makes everything written so far visible.

    :raises EngineError: the engine refused, or stayed away.
    """
    wire.ask(f"refreshing {index}", lambda client: client.indices.refresh(index=index))
