"""Learning from the whole batch: every query against the documents of all, each text read alone.

A query's own candidates are what retrieval confuses with the relevant one, and they are few. The documents of the other
queries of the batch are negatives that cost nothing more, since every document is encoded once (in-batch negatives;
Henderson et al. 2017, Karpukhin et al. 2020). Only vectors can have them: a pair's logit would need each pair's pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from rerank_plugin.training.losses import listwise_softmax

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from rerank_plugin.training.groups import Group
    from rerank_plugin.training.trunk import TextReader, Trunk

Parts = TypeVar("Parts", bound="DataclassInstance")

#: What cosines are multiplied with in the softmax: 1 / .05, as sentence-transformers does; within 1, they could tell
#: no document from hundreds of others.
SCALE = 20.0


@dataclass(frozen=True, slots=True)
class Alone:
    """The texts of a batch, each by itself; ``documents`` different documents."""

    #: The trunk's inputs by name, int64: (queries, tokens), and (documents, tokens).
    asked: Mapping[str, Tensor]
    read: Mapping[str, Tensor]
    #: (queries, candidates), int64: which of the documents a candidate is; 0 where there is no candidate.
    place: Tensor
    #: (queries, documents), at least 0: what the query's judgments say, 0 where they say nothing.
    grades: Tensor
    #: (queries, documents), bool: whether that is believed.
    believed: Tensor
    #: (documents,), bool: whether there is a text.
    written: Tensor

    @classmethod
    def of(cls, groups: Sequence[Group], reader: TextReader) -> Alone:
        """The texts of groups; a document that several queries found stands once."""
        found = {(group.collection, each.doc_id): each.text for group in groups for each in group.candidates}
        places = {key: place for place, key in enumerate(found)}
        written = torch.tensor([bool(text.strip()) for text in found.values()])
        place = torch.zeros((len(groups), max(len(group.candidates) for group in groups)), dtype=torch.int64)
        grades = torch.zeros((len(groups), len(found)))
        believed = written.repeat(len(groups), 1)
        for row, group in enumerate(groups):
            own = [places[group.collection, each.doc_id] for each in group.candidates]
            place[row, : len(own)] = torch.tensor(own)
            for (collection, doc_id), column in places.items():
                if collection == group.collection:
                    grades[row, column] = max(float(group.judgments.get(doc_id, 0)), 0.0)
                    believed[row, column] &= doc_id not in group.open
            for column, trusted in zip(own, group.labelled or [True] * len(own), strict=True):
                believed[row, column] &= trusted
        return cls(
            asked=_inputs(reader, [group.query for group in groups]), read=_inputs(reader, list(found.values())),
            place=place, grades=grades, believed=believed, written=written,
        )  # fmt: skip

    def to(self, device: torch.device | str, **more: Any) -> Alone:
        """The texts on a device."""
        return moved(self, device, **more)

    def cosines(self, trunk: Trunk) -> Tensor:
        """(queries, documents) by the vectors of a trunk that encodes; 0 for a document without text, as in serving."""
        asked, read = trunk(**self.asked)[0], trunk(**self.read)[0]
        cosines: Tensor = (asked @ read.T) * self.written
        return cosines

    def of_candidates(self, cosines: Tensor) -> Tensor:
        """(queries, candidates): those of each query's own candidates."""
        return cosines.gather(1, self.place)

    def loss(self, cosines: Tensor) -> Tensor:
        """Scalar: the listwise loss of every query over the documents of all."""
        return listwise_softmax(SCALE * cosines, self.grades, self.believed)


def moved(parts: Parts, device: torch.device | str, **more: Any) -> Parts:
    """A dataclass of tensors, dictionaries of tensors and the like, all on a device."""
    return replace(
        parts, **{each.name: send_to_device(getattr(parts, each.name), device, **more) for each in fields(parts)}
    )


def _inputs(reader: TextReader, texts: Sequence[str]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in reader.pad(reader.texts(texts)).items()}
