"""What a corpus teaches by itself: queries cut out of its documents, and the documents as text to pre-train on."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_plugin.errors import DataError

if TYPE_CHECKING:
    from rerank_plugin.evaluation.collection import Collection, Query
    from rerank_plugin.training.selfsupervised import Cut
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.wiring.splits import Splits

#: What is put behind a collection's name to name the queries of its corpus: no folder is called so.
SUFFIX = "/corpus"


@dataclass(frozen=True, slots=True)
class Held:
    """What validates or is tested, so that no query is made of it."""

    #: As :func:`rerank_plugin.evaluation.collection.same_text` writes them.
    texts: frozenset[str]
    #: Documents that such a query was made of.
    documents: frozenset[str]

    @classmethod
    def of(cls, queries: Sequence[Query]) -> Held:
        """Texts and own documents of queries."""
        from rerank_plugin.evaluation.collection import same_text

        return cls(
            frozenset(same_text(query.text) for query in queries),
            frozenset(document for query in queries for document in query.drop),
        )

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether a document is, or reads like, what validates or is tested."""
        from rerank_plugin.evaluation.collection import same_text

        title, text = record.get("title") or "", record["text"]
        same = {same_text(title), same_text(text), same_text(f"{title} {text}")}
        return str(record["_id"]) in self.documents or bool(self.texts & same)


def corpus_splits(folder: Path, into: Path, judged: Splits, settings: Settings) -> Splits:
    """What the corpus of a BEIR directory asks itself, to learn from alone; see :func:`ask_itself`.

    :param judged: the directory's own splits. What they validate or test, and all of its files ``dev`` and ``test``,
        is left out.
    """
    from rerank_plugin.wiring.splits import Splits

    asked = ask_itself(folder, into, held_back(folder, judged), settings)
    return Splits(name=asked.name, train=asked, dev=None, test=None)


def held_back(folder: Path, judged: Splits) -> Held:
    """What the splits validate or test, and all of the directory's files ``dev`` and ``test``."""
    from rerank_plugin.evaluation.collection import read_beir
    from rerank_plugin.wiring.splits import has_split

    kept = [part for part in (judged.dev, judged.test) if part is not None]
    kept += [read_beir(folder, split) for split in ("dev", "test") if has_split(folder, split)]
    return Held.of([query for part in kept for query in part.queries])


def documents_of(folders: Mapping[str, Path], splits: Sequence[Splits], settings: Settings, most: int) -> list[str]:
    """Texts of the collections' documents in the order that the seed draws them in, at most ``most``.

    A document with the text of a validating or tested query, or that one was made of, is left out; so are queries.

    :param folders: BEIR directories by the name of their splits.
    """
    from rerank_plugin.training.selfsupervised import place_of

    held = {judged.name: held_back(folders[judged.name], judged) for judged in splits}
    texts = (
        (place_of(settings.seed, str(record["_id"])), "\n".join(filter(None, (record.get("title"), record["text"]))))
        for name, kept in held.items()
        for record in _records(folders[name])
        if not kept.holds(record)
    )
    return [text for _, text in heapq.nsmallest(most, texts)]


@dataclass(order=True, slots=True)
class _Chosen:
    #: Turned round, so that a heap of the smallest gives up its largest.
    place: int
    doc_id: str = field(compare=False)
    cut: Cut = field(compare=False)


def ask_itself(folder: Path, into: Path, held: Held, settings: Settings) -> Collection:
    """Writes the corpus with queries cut out of ``corpus_queries`` documents, and gives these queries.

    A document gives at most one query, so one copy of the corpus holds all of them, and first stage, vectors and model
    read what is left of it. The same seed gives the same queries, whatever was made before.

    :param folder: a BEIR directory.
    :param into: folder to write ``corpus.jsonl`` to.
    :raises DataError: there is no corpus, or no document in it that a query can be made of.
    """
    from rerank_plugin.evaluation.collection import Collection, Query, same_text

    chosen = _chosen(folder, held, settings)
    if not chosen:
        raise DataError(f"{folder} has no document long enough to make a query of; leave out corpus_queries")
    grades: dict[str, dict[str, int]] = {}
    queries: dict[str, Query] = {}
    for each in sorted(chosen.values(), reverse=True):
        query = Query(f"{each.cut.kind} of {each.doc_id}", each.cut.query)
        if queries.setdefault(same_text(query.text), query) is query:  # of documents with one title one asks
            grades[query.query_id] = {each.doc_id: 1}
    into.mkdir(parents=True, exist_ok=True)
    with (into / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for record in _records(folder):
            if (one := chosen.get(str(record["_id"]))) is not None:
                record |= {"title": one.cut.title, "text": one.cut.text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return Collection(
        name=folder.resolve().name + SUFFIX,
        queries=tuple(queries.values()),
        qrels=grades,
        unjudged=0,
        without_relevant=0,
        note="queries cut out of documents",
    )


def _chosen(folder: Path, held: Held, settings: Settings) -> dict[str, _Chosen]:
    """The first ``corpus_queries`` usable documents in the order that the seed draws them in, by id."""
    from rerank_plugin.evaluation.collection import same_text
    from rerank_plugin.training.selfsupervised import cut, kinds_of, place_of

    kinds, seed = kinds_of(settings.corpus_kinds), settings.seed
    heap: list[_Chosen] = []
    for record in _records(folder):
        doc_id, title, text = str(record["_id"]), record.get("title") or "", record["text"]
        if held.holds(record):
            continue
        found = cut(doc_id, title, text, kinds, seed)
        if found is None or same_text(found.query) in held.texts:
            continue
        heapq.heappush(heap, _Chosen(-int.from_bytes(place_of(seed, doc_id)), doc_id, found))
        if len(heap) > settings.corpus_queries:
            heapq.heappop(heap)
    return {each.doc_id: each for each in heap}


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    """The documents of a corpus; loading counts the records that are none."""
    from rerank_plugin.evaluation.collection import lines, one_of

    for _, line in lines(one_of(folder, "corpus.jsonl")):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "_id" in record:
            kinds = {type(record.get("title") or ""), type(record.get("text"))}
            if kinds == {str}:
                yield record
