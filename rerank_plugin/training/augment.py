"""Other wordings of the queries that a model learns from, where queries are few.

A word left out, two neighbours swapped, a slip of the keyboard (Wei and Zou 2019, EDA; slips as Zhuang and Zuccon 2021
use them for dense rankers), or a word replaced by the user's own table of synonyms. Documents stay as they are, and so
do the first stage's scores and the cosines, which are the query's as it was asked: only what the trunk reads changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_plugin.config import several
from rerank_plugin.errors import ConfigError, DataError, os_error_line

if TYPE_CHECKING:
    from rerank_plugin.training.settings import Settings

#: Bytes of a table of synonyms that are read.
MAX_BYTES = 16 << 20
#: Letters that a word must have for a slip: in shorter ones it makes another word.
SLIP_LETTERS = 4
#: Words that must be there for one to be left out.
DROP_WORDS = 3

#: Words in lower case -> what may stand in their place.
Synonyms = Mapping[str, Sequence[str]]
#: Another wording of a query, or ``None`` where it knows none: back-translation, or any other way, may be given as one.
Rewording = Callable[[str, random.Random], str | None]


def dropped(query: str, rng: random.Random) -> str | None:
    """The query less one of its words."""
    words = query.split()
    if len(words) < DROP_WORDS:
        return None
    del words[rng.randrange(len(words))]
    return " ".join(words)


def swapped(query: str, rng: random.Random) -> str | None:
    """The query with two different neighbours in each other's place."""
    words = query.split()
    places = [place for place in range(len(words) - 1) if words[place] != words[place + 1]]
    if not places:
        return None
    place = rng.choice(places)
    words[place : place + 2] = reversed(words[place : place + 2])
    return " ".join(words)


def slipped(query: str, rng: random.Random) -> str | None:
    """The query with one slip in a word of letters: two of them swapped, one left out, or one doubled. Never the first,
    which people hit."""
    words = query.split()
    places = [place for place, word in enumerate(words) if word.isalpha() and len(word) >= SLIP_LETTERS]
    if not places:
        return None
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 1)
    swap, without, twice = word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :], word[at]
    words[place] = rng.choice([each for each in (swap, without, word[:at] + twice + word[at:]) if each != word])
    return " ".join(words)


def replacing(synonyms: Synonyms) -> Rewording:
    """A rewording by a table: one word, or words that stand together, for another entry of its line."""
    longest = max((len(key.split()) for key in synonyms), default=0)

    def replaced(query: str, rng: random.Random) -> str | None:
        words = query.split()
        found = [
            (start, end, others)
            for start in range(len(words))
            for end in range(start + 1, min(start + longest, len(words)) + 1)
            if (others := synonyms.get(" ".join(words[start:end]).lower()))
        ]
        if not found:
            return None
        start, end, others = rng.choice(found)
        return " ".join([*words[:start], rng.choice(list(others)), *words[end:]])

    return replaced


#: Rewordings by the name that a setting gives them; ``synonym`` needs a table.
REWORDINGS: Mapping[str, Rewording] = {"drop": dropped, "swap": swapped, "slip": slipped}


@dataclass(frozen=True, slots=True)
class Augment:
    """Now and then another wording, always the same for the same generator.

    :param share: of the queries that are reworded, in [0, 1].
    :param rewordings: one of them is drawn; where it knows none, the next one is asked.
    """

    share: float
    rewordings: Sequence[Rewording]

    def __call__(self, query: str, rng: random.Random) -> str:
        """The query, or another wording of it."""
        if rng.random() >= self.share:
            return query
        for reword in rng.sample(list(self.rewordings), len(self.rewordings)):
            found = reword(query, rng)
            if found:
                return found
        return query


def rewordings_of(kinds: str) -> list[Rewording]:
    """The rewordings of a setting.

    :param kinds: names of ``REWORDINGS`` with commas between; empty is none.
    :raises ConfigError: one is unknown.
    """
    return [REWORDINGS[each] for each in (several("augment_kinds", kinds, REWORDINGS) if kinds.strip() else ())]


def augment_of(settings: Settings) -> Augment | None:
    """What the settings ask for; ``None`` where nothing is to be reworded.

    :raises ConfigError: there is nothing to reword by.
    :raises DataError: the table of synonyms cannot be read.
    """
    if settings.augment == 0:
        return None
    rewordings = rewordings_of(settings.augment_kinds)
    if settings.synonyms:
        rewordings.append(replacing(read_synonyms(Path(settings.synonyms))))
    if not rewordings:
        raise ConfigError(f"augment={settings.augment:g} needs augment_kinds or synonyms; nothing says how to reword")
    return Augment(settings.augment, rewordings)


def read_synonyms(file: Path) -> dict[str, list[str]]:
    """A table in Solr's format, which both engines read for their own synonyms: ``usa, united states`` may each stand
    for the other, ``car => automobile, vehicle`` goes one way; ``#`` begins a comment.

    :raises DataError: the file cannot be read, is too large, or has another kind of line.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"{file} has more than {MAX_BYTES >> 20} MB; give a smaller table of synonyms")
        lines = content.decode("utf-8").splitlines()
    except OSError as error:
        raise DataError(os_error_line(error)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    table: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        left, arrow, right = text.partition("=>")
        keys, others = _entries(left), _entries(right if arrow else left)
        if not keys or not others or (not arrow and len(keys) < 2):
            raise DataError(f"{file}, line {number}: wanted 'a, b' or 'a => b', got {text[:60]!r}")
        for key in keys:
            table.setdefault(key.lower(), []).extend(each for each in others if each.lower() != key.lower())
    return {key: list(dict.fromkeys(others)) for key, others in table.items() if others}


def _entries(text: str) -> list[str]:
    return [" ".join(each.split()) for each in text.split(",") if each.strip()]
