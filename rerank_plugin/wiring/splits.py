"""A collection's queries by what they are for: to learn from, to validate on, to be tested on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection, Query
    from rerank_plugin.training.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A collection's queries by what they are for; no text is in two of them."""

    name: str
    #: ``None`` where only the corpus asks; ``dev`` where only these queries teach.
    train: Collection | None
    dev: Collection | None
    #: ``None`` where nothing is held back for the table at the end.
    test: Collection | None
    #: Queries without judgments to learn from; ``None`` where only judged ones teach.
    unlabelled: Collection | None = None


def read_splits(folder: Path, settings: Settings) -> Splits:
    """The splits of a BEIR directory: ``qrels/{train,dev,test}.tsv``; without ``dev`` some of ``train`` validate.

    A training query with the text of a validating or tested one is left out. Where the corpus asks itself
    (``corpus_queries``), there may be ``dev`` alone.

    :raises DataError: no ``train``, or too few queries.
    """
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.wiring.unlabelled import unlabelled_queries

    found = {name: read_beir(folder, name) for name in ("train", "dev", "test") if has_split(folder, name)}
    train, dev, test = (found.get(name) for name in ("train", "dev", "test"))
    if train is None and (dev is None or not settings.corpus_queries):
        raise DataError(
            f"{folder} has no qrels/train.tsv; training needs judged queries that are not tested on, "
            "or qrels/dev.tsv and the setting corpus_queries"
        )
    if test is not None:
        train, dev = (part and _without(part, test.queries) for part in (train, dev))
    if dev is not None:
        train = train and _without(train, dev.queries)
        dev = drawn(dev, settings.validate_queries, settings.seed)
    elif train is not None:
        train, dev = split_by_query(
            train, share=settings.validate_share, most=settings.validate_queries, seed=settings.seed
        )
    for name, kept in (("train", train), ("dev", dev)):
        if kept is not None and not kept.queries:
            raise DataError(f"{folder} has no query left for {name}: each is in another split too; give others")
    most = settings.test_queries
    return Splits(
        name=folder.resolve().name,
        train=train,
        dev=dev,
        test=drawn(test, most, settings.seed) if test and most else None,
        unlabelled=unlabelled_queries(folder, settings),
    )


def has_split(folder: Path, split: str) -> bool:
    """Whether a BEIR directory has judgments of a split."""
    return any((folder / "qrels" / f"{split}.tsv{end}").is_file() for end in ("", ".gz"))


def split_by_query(collection: Collection, *, share: float, most: int, seed: int) -> tuple[Collection, Collection]:
    """Queries to learn from and queries to validate on; equal texts stay on one side.

    :param share: of the queries that validate, in (0, 1).
    :param most: queries that validate at most.
    :raises DataError: fewer than two different queries.
    """
    from rerank_plugin.evaluation.collection import same_text

    texts = sorted({same_text(query.text) for query in collection.queries})
    if len(texts) < 2:
        raise DataError(f"{collection.name} has {len(texts)} judged query; training needs at least 2, one to validate")
    random.Random(seed).shuffle(texts)
    held = set(texts[: max(1, min(most, int(share * len(texts))))])
    aside = tuple(query for query in collection.queries if same_text(query.text) in held)
    return _without(collection, aside), _only(collection, aside)


def drawn(collection: Collection, most: int, seed: int) -> Collection:
    """At most so many of the queries, drawn at random, in the order of the file: files are often sorted by source."""
    if len(collection.queries) <= most:
        return collection
    chosen = {query.query_id for query in random.Random(seed).sample(collection.queries, most)}
    return _only(collection, [query for query in collection.queries if query.query_id in chosen])


def _without(collection: Collection, left_out: Sequence[Query]) -> Collection:
    from rerank_plugin.evaluation.collection import same_text

    texts = {same_text(each.text) for each in left_out}
    return _only(collection, [query for query in collection.queries if same_text(query.text) not in texts])


def _only(collection: Collection, kept: Sequence[Query]) -> Collection:
    grades = {query.query_id: collection.qrels[query.query_id] for query in kept}
    return replace(collection, queries=tuple(kept), qrels=grades)
