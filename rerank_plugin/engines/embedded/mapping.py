"""The mapping of an index: what type each path has, what happens to unknown ones."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any

from rerank_plugin.engines.embedded.analysis import ANALYZERS
from rerank_plugin.engines.embedded.dates import DEFAULT_FORMATS, parse_formats
from rerank_plugin.engines.embedded.refusal import illegal, unmappable

INTEGER_BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
FLOATS = frozenset({"float", "double", "half_float"})
TYPES = frozenset({"text", "keyword", "boolean", "date", *INTEGER_BITS, *FLOATS})

#: Parameters that change nothing here, or nothing that a caller could see in an answer.
_HARMLESS = frozenset({"store", "doc_values", "eager_global_ordinals", "fielddata", "index_options", "meta", "coerce"})
_PARAMETERS = {
    "text": {"analyzer", "search_analyzer", "index"},
    "keyword": {"ignore_above", "index"},
    "date": {"format", "index", "ignore_malformed"},
    "boolean": {"index"},
} | {each: {"index", "ignore_malformed"} for each in (*INTEGER_BITS, *FLOATS)}
#: Parameters that may be given only with the one value this engine works by.
_FIXED: dict[str, Any] = {"norms": True, "similarity": "BM25"}
_ROOT = frozenset(
    {"properties", "dynamic", "_meta", "date_detection", "numeric_detection", "dynamic_templates", "_source"}
)
#: Depth of objects, as index.mapping.depth.limit.
DEPTH_LIMIT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A leaf of the mapping, or a subfield of one."""

    path: str
    type: str
    analyzer: str = "standard"
    search_analyzer: str = "standard"
    #: Longer strings are left out of a keyword field, in characters.
    ignore_above: int = 2**31 - 1
    formats: tuple[str, ...] = DEFAULT_FORMATS
    ignore_malformed: bool = False
    #: Whether queries may use it.
    indexed: bool = True
    copy_to: tuple[str, ...] = ()
    subfields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectField:
    """An inner object: what it does with unknown keys, and whether it is read at all."""

    #: ``true``, ``false`` or ``strict``.
    dynamic: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Mapping:
    """A checked mapping; ``json`` is as ``GET _mapping`` gives it."""

    json: MappingOf[str, Any]
    fields: MappingOf[str, Field]
    objects: MappingOf[str, ObjectField]
    dynamic: str = "true"
    date_detection: bool = True
    meta: MappingOf[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: MappingOf[str, Any]) -> Mapping:
        """The mapping of an index body's ``mappings``.

        :raises Refusal: 400 that names the field and what is wrong with it.
        """
        unknown = sorted(set(body) - _ROOT)
        if unknown:
            raise unmappable(
                f"Root mapping definition has unsupported parameters:  [{unknown[0]} : {body[unknown[0]]}]"
            )
        if (
            body.get("dynamic_templates")
            or body.get("numeric_detection")
            or body.get("_source", {}) not in ({}, {"enabled": True})
        ):
            raise unmappable(
                "dynamic_templates, numeric_detection and _source are not supported by the embedded engine"
            )
        dynamic = _dynamic(body.get("dynamic", True), "_doc")
        fields: dict[str, Field] = {}
        objects: dict[str, ObjectField] = {}
        properties = _properties(body.get("properties") or {}, "", dynamic, fields, objects, depth=1)
        kept = {
            key: value
            for key, value in body.items()
            if key not in {"properties", "dynamic_templates", "numeric_detection"}
        }
        return cls(
            json={**kept, **({"properties": properties} if properties else {})},
            fields=fields,
            objects=objects,
            dynamic=dynamic,
            date_detection=body.get("date_detection") not in (False, "false"),
            meta=body.get("_meta") or {},
        )

    def merge(self, body: MappingOf[str, Any]) -> Mapping:
        """This mapping with more fields; ``_meta``, ``dynamic`` and the like are replaced where given.

        :raises Refusal: 400 where a field would change its type or its analyzer.
        """
        addition = Mapping.parse(body)
        for path, new in addition.fields.items():
            old = self.fields.get(path)
            if old is not None and old.type != new.type:
                raise illegal(f"mapper [{path}] cannot be changed from type [{old.type}] to [{new.type}]")
            if old is not None and (old.analyzer, old.indexed) != (new.analyzer, new.indexed):
                raise illegal(
                    f"Mapper for [{path}] conflicts with existing mapper: Cannot update parameter [analyzer] "
                    f"from [{old.analyzer}] to [{new.analyzer}]"
                )
            if path in self.objects:
                raise illegal(f"can't merge a non object mapping [{path}] with an object mapping")
        for path in addition.objects:
            if path in self.fields:
                raise illegal(f"can't merge a non object mapping [{path}] with an object mapping")
        properties = _merged(self.json.get("properties", {}), addition.json.get("properties", {}))
        return Mapping.parse({**self.json, **addition.json, "properties": properties})


def _merged(old: MappingOf[str, Any], new: MappingOf[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if before is None:
            merged[name] = value
            continue
        both = {**before, **value}
        for inner in ("properties", "fields"):
            if inner in before or inner in value:
                both[inner] = _merged(before.get(inner, {}), value.get(inner, {}))
        merged[name] = both
    return merged


def _dynamic(value: Any, where: str) -> str:
    text = str(value).lower()
    if text not in {"true", "false", "strict"}:
        raise unmappable(f"dynamic of [{where}] must be true, false or strict, got [{value}]")
    return text


def _properties(
    properties: Any,
    prefix: str,
    dynamic: str,
    fields: dict[str, Field],
    objects: dict[str, ObjectField],
    depth: int,
) -> dict[str, Any]:
    """Checks ``properties`` and everything below, fills ``fields`` and ``objects``; what GET _mapping gives back."""
    if depth > DEPTH_LIMIT:
        raise illegal(f"Limit of mapping depth [{DEPTH_LIMIT}] has been exceeded due to object field [{prefix[:80]}]")
    if not isinstance(properties, dict):
        raise unmappable(f"Expected map for property [properties] of [{prefix.rstrip('.') or '_doc'}]")
    kept: dict[str, Any] = {}
    for name, spec in _expanded(properties):
        path = f"{prefix}{name}"
        if not isinstance(spec, dict):
            raise unmappable(f"Expected map for property [fields] on field [{path}] but got a {type(spec).__name__}")
        if "properties" in spec or spec.get("type", "object") == "object":
            inner = _object(path, spec, dynamic, objects)
            below = _properties(spec.get("properties") or {}, f"{path}.", inner, fields, objects, depth + 1)
            given = {key: value for key, value in spec.items() if key in {"dynamic", "enabled"}}
            kept[name] = {**given, **({"properties": below} if below else {"type": "object"})}
        else:
            leaf = _leaf(path, spec)
            fields.update((each.path, each) for each in (leaf, *leaf.subfields))
            kept[name] = {**spec, "copy_to": list(leaf.copy_to)} if leaf.copy_to else spec
    return kept


def _expanded(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names with dots as the objects they stand for."""
    whole: dict[str, Any] = {}
    for name, spec in properties.items():
        parts = str(name).split(".")
        if not all(part.strip() for part in parts):
            raise unmappable(
                "field name cannot be an empty string" if not name else f"field name [{name}] has an empty part"
            )
        for part in reversed(parts[1:]):
            spec = {"properties": {part: spec}}
        whole = _merged(whole, {parts[0]: spec}) if parts[0] in whole else {**whole, parts[0]: spec}
    yield from whole.items()


def _object(path: str, spec: dict[str, Any], dynamic: str, objects: dict[str, ObjectField]) -> str:
    unknown = sorted(set(spec) - {"type", "properties", "dynamic", "enabled"})
    if spec.get("type", "object") != "object":
        raise _no_handler(path, spec["type"])
    if unknown:
        raise unmappable(
            f"Mapping definition for [{path}] has unsupported parameters:  [{unknown[0]} : {spec[unknown[0]]}]"
        )
    inner = _dynamic(spec.get("dynamic", dynamic), path)
    objects[path] = ObjectField(inner, enabled=spec.get("enabled") not in (False, "false"))
    return inner


def _no_handler(path: str, kind: Any) -> Exception:
    return unmappable(
        f"No handler for type [{kind}] declared on field [{path}]; the embedded engine has object, "
        + ", ".join(sorted(TYPES))
    )


def _leaf(path: str, spec: dict[str, Any], *, is_subfield: bool = False) -> Field:
    kind = spec.get("type")
    if kind not in TYPES:
        raise _no_handler(path, kind)
    for name, value in spec.items():
        if name in _FIXED:
            if value != _FIXED[name]:
                raise unmappable(
                    f"[{name}] of field [{path}] can only be [{_FIXED[name]}] in the embedded engine, got [{value}]"
                )
        elif name not in _PARAMETERS[kind] | _HARMLESS | {"type", "fields", "copy_to"}:
            raise unmappable(f"unknown parameter [{name}] on mapper [{path.rpartition('.')[2]}] of type [{kind}]")
    subfields = spec.get("fields") or {}
    if is_subfield and (subfields or spec.get("copy_to")):
        raise unmappable(f"[fields] and [copy_to] cannot be used inside the subfield [{path}]")
    analyzer = _analyzer(path, spec.get("analyzer", "standard"))
    copy_to = spec.get("copy_to") or ()
    ignore_above = spec.get("ignore_above", 2**31 - 1)
    if isinstance(ignore_above, bool) or not str(ignore_above).isdigit():
        raise unmappable(f"Failed to parse [ignore_above] of field [{path}]: got [{ignore_above}]")
    return Field(
        path=path,
        type=kind,
        analyzer=analyzer,
        search_analyzer=_analyzer(path, spec.get("search_analyzer", analyzer)),
        ignore_above=int(ignore_above),
        formats=parse_formats(spec["format"]) if "format" in spec else DEFAULT_FORMATS,
        ignore_malformed=spec.get("ignore_malformed") in (True, "true"),
        indexed=spec.get("index") not in (False, "false"),
        copy_to=(copy_to,) if isinstance(copy_to, str) else tuple(copy_to),
        subfields=tuple(_leaf(f"{path}.{name}", each, is_subfield=True) for name, each in subfields.items()),
    )


def _analyzer(path: str, name: Any) -> str:
    if name == "default":
        return "standard"
    if name not in ANALYZERS:
        raise unmappable(
            f"analyzer [{name}] has not been configured in mappings: field [{path}]; "
            f"the embedded engine has {', '.join(sorted(ANALYZERS))}"
        )
    return str(name)
