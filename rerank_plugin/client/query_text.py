"""The text a search body asks for, read from its scoring clauses (DESIGN 6.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rerank_plugin.client.query_string import is_keyword_like, words_of_query_string, words_of_simple_query_string

#: Keys and list positions from the query's root to a clause.
Path = tuple[str | int, ...]

#: Compound queries -> where their scoring clauses are. Filters, must_not and constant_score say nothing of relevance.
_SCORING_PARTS: dict[str, tuple[str, ...]] = {
    "bool": ("must", "should"),
    "boosting": ("positive",),
    "dis_max": ("queries",),
    "function_score": ("query",),
    "hybrid": ("queries",),
    "nested": ("query",),
    "script_score": ("query",),
}
_ONE_FIELD = frozenset({"match", "match_bool_prefix", "match_phrase", "match_phrase_prefix"})
_MANY_FIELDS = frozenset({"combined_fields", "multi_match", "query_string", "simple_query_string"})


@dataclass(frozen=True, slots=True)
class QueryText:
    """What a query asks for in words."""

    text: str
    #: Where the clauses stand that ask for it.
    leaves: tuple[Path, ...]
    #: The fields they search, without boosts; empty when they leave that to the index.
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoQueryText:
    """Why a query has no text that reranking could use."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Leaf:
    text: str
    path: Path
    fields: tuple[str, ...]
    #: Whether its text is all there is to it: no operators, no field prefixes, which set conditions of their own.
    bare: bool = True


def read_query_text(query: Any) -> QueryText | NoQueryText:
    """The one text of a query: several clauses may ask for it, but all must ask for the same."""
    leaves = [leaf for leaf in _leaves(query) if leaf.text]
    if not leaves:
        return NoQueryText("no query text in a scoring clause; give it as rerank.query_text")
    texts = {leaf.text.casefold() for leaf in leaves}
    if len(texts) > 1:
        return NoQueryText(f"{len(texts)} different query texts; say which one counts as rerank.query_text")
    fields = dict.fromkeys(field for leaf in leaves for field in leaf.fields)
    return QueryText(leaves[0].text, tuple(leaf.path for leaf in leaves), tuple(fields))


def replace_clauses(query: Any, changed: Mapping[Path, Any], path: Path = ()) -> Any:
    """A copy of ``query`` in which the clauses at the given paths are others; what is not on a path is shared."""
    if path in changed:
        return changed[path]
    steps = {each[len(path)] for each in changed if each[: len(path)] == path}
    if not steps:
        return query
    items = list(query.items() if isinstance(query, Mapping) else enumerate(query))
    replaced = [(key, replace_clauses(value, changed, (*path, key))) for key, value in items]
    return dict(replaced) if isinstance(query, Mapping) else [value for _, value in replaced]


def optional_clauses(query: Any, leaves: Collection[Path], text_fields: Collection[str]) -> tuple[Path, ...]:
    """Those of the clauses at ``leaves`` that ask for nothing but words of a document's text.

    A ``query_string`` may hold conditions (``tenant:7``, ``-draft``), and a ``match`` on a field that is no text may be
    one: neither may be waived for a document that vectors found.

    :param text_fields: the fields that hold the text; sub-fields such as ``title.english`` count as theirs.
    """
    return tuple(
        leaf.path
        for leaf in _leaves(query)
        if leaf.path in leaves
        and leaf.bare
        and (not leaf.fields or any(_is_of(each, text_fields) for each in leaf.fields))
    )


def _is_of(field: str, text_fields: Collection[str]) -> bool:
    return any(fnmatchcase(text, field) or field.startswith(f"{text}.") for text in text_fields)


def clause_at(query: Any, path: Path) -> Any:
    """The clause of ``query`` at ``path``."""
    for step in path:
        query = query[step]
    return query


def _leaves(query: Any) -> Iterator[_Leaf]:
    """Every text clause that adds to the score, in the body's order."""
    stack: list[tuple[Any, Path]] = [(query, ())]  # no recursion: the depth of a query is the caller's choice
    while stack:
        clause, path = stack.pop()
        if not isinstance(clause, Mapping) or len(clause) != 1:
            continue
        [(kind, inside)] = clause.items()
        if kind in _SCORING_PARTS and isinstance(inside, Mapping):
            stack.extend(reversed(list(_parts(inside, _SCORING_PARTS[kind], (*path, kind)))))
        elif kind in _ONE_FIELD:
            yield from _one_field(inside, path)
        elif kind in _MANY_FIELDS:
            yield from _many_fields(kind, inside, path)


def _parts(inside: Mapping[str, Any], names: tuple[str, ...], path: Path) -> Iterator[tuple[Any, Path]]:
    for name in names:
        part = inside.get(name)
        if isinstance(part, (list, tuple)):
            yield from ((each, (*path, name, place)) for place, each in enumerate(part))
        elif part is not None:
            yield part, (*path, name)


def _one_field(inside: Any, path: Path) -> Iterator[_Leaf]:
    if not isinstance(inside, Mapping) or len(inside) != 1:
        return
    [(field, asked)] = inside.items()
    text = asked.get("query") if isinstance(asked, Mapping) else asked
    if isinstance(text, str) and not is_keyword_like(field):
        yield _Leaf(_plain(text), path, (field,))


def _many_fields(kind: str, inside: Any, path: Path) -> Iterator[_Leaf]:
    text = inside.get("query") if isinstance(inside, Mapping) else None
    if not isinstance(text, str):
        return
    named = inside.get("fields") or inside.get("default_field") or ()
    fields = tuple(str(each).split("^")[0] for each in ([named] if isinstance(named, str) else named))
    prose = tuple(field for field in fields if not is_keyword_like(field))
    if fields and not prose:
        return
    words = text
    if kind == "query_string":
        words = words_of_query_string(text)
    elif kind == "simple_query_string":
        words = words_of_simple_query_string(text)
    yield _Leaf(_plain(words), path, prose, bare=_plain(words) == _plain(text))


def _plain(text: str) -> str:
    return " ".join(text.split())
