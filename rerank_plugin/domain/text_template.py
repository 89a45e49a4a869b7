"""The text a model reads, as a template over a document's fields: ``{title}. {authors.name:, }``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from rerank_plugin.errors import ConfigError

#: Between the values of one field where the template names no separator.
SEPARATOR = ", "


@dataclass(frozen=True, slots=True)
class _Slot:
    """A field, and the words that stand before it."""

    before: str
    #: Dotted path; arrays and objects on the way are walked.
    path: str
    separator: str


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """``{path}`` stands for the values at a dotted path, joined by ``, ``, or by what follows a colon: ``{tags: | }``.

    The words before a field belong to it: where a document lacks the field, they are left out too. Braces are doubled.
    """

    slots: tuple[_Slot, ...]
    #: What stands behind the last field.
    after: str

    @classmethod
    @lru_cache(maxsize=64)
    def parse(cls, template: str) -> TextTemplate:
        """The template as written.

        :raises ConfigError: it names no field, or a brace is open, or a field is no plain dotted path.
        """
        slots: list[_Slot] = []
        before = ""
        try:
            for words, path, separator, conversion in Formatter().parse(template):
                before += words
                if path is None:
                    continue
                if not path.strip() or conversion or set(path) & set("[]{}*") or "{" in (separator or ""):
                    raise ValueError(f"{{{path}}} is no dotted path")
                slots.append(_Slot(before, path.strip(), separator or SEPARATOR))
                before = ""
        except ValueError as error:
            raise ConfigError(
                f"text_template takes fields as {{path}} or {{path:separator}}, got {template!r}: {error}"
            ) from error
        if not slots:
            raise ConfigError(f"text_template must name a field, such as '{{title}}. {{body}}', got {template!r}")
        return cls(tuple(slots), before)

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields, each once."""
        return tuple(dict.fromkeys(slot.path for slot in self.slots))

    def fill(self, pieces: Callable[[str], Sequence[str]]) -> str:
        """The text of one document; empty where it has none of the fields.

        :param pieces: the strings at a path, in the document's order.
        """
        filled = ""
        for slot in self.slots:
            found = slot.separator.join(piece for piece in pieces(slot.path) if piece.strip())
            if found:
                filled += (slot.before if filled else slot.before.lstrip()) + found
        return filled + self.after if filled else ""
