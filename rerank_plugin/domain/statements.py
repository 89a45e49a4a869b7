"""What is known of a document as words in front of its text, for models that were trained to read them.

Training and serving take the text from here, so that they read the same. The words are part of what a model learned:
whoever changes them makes another :data:`FORM`, and models of the old one must be trained again.
"""

from __future__ import annotations

from collections.abc import Sequence

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.domain.features import Features

#: Stands in the manifest of a model that reads statements.
FORM = 1
#: What is said of a utility in the lowest, the middle and the highest third of [0, 1].
WORDS = {
    "authority": ("authority low.", "authority fair.", "authority high."),
    "freshness": ("published long ago.", "published some time ago.", "published recently."),
    "novelty": ("little new.", "partly new.", "mostly new."),
    "popularity": ("seldom wanted.", "sometimes wanted.", "often wanted."),
}


def statement_of(features: Features) -> str:
    """A few words per known factor; empty where none is known."""
    known = ((WORDS[factor], features[factor]) for factor in PRIORS)
    return " ".join(words[min(int(3 * value), 2)] for words, value in known if value is not None)


def stated(statement: str, text: str) -> str:
    """The text behind the statement; as it is where nothing is stated, or where there is no text."""
    return f"{statement} {text}" if statement and text.strip() else text


def texts_of(candidates: Sequence[Candidate], *, statements: bool) -> list[str]:
    """The texts that are read together with a query, one per candidate."""
    return [stated(statement_of(each.features), each.text) if statements else each.text for each in candidates]
