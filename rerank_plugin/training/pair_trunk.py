"""A trunk of any other make: query and document in one text, read off at one token, as cross-encoders are.

It makes no vectors of documents: those, and the cosine, stay the start's encoder's. Its logit is a module of its own,
which is what is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rerank_plugin.models.batches import PlainRow, plainly_padded
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.training.trunk import Trunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_plugin.ranking.relevance import Fit

#: (rows, tokens) ids and mask, padded behind the text -> (rows,) the token that is read.
Place = Callable[[Tensor, Tensor], Tensor]


def first(_: Tensor, attention_mask: Tensor) -> Tensor:
    """The first token, which encoders gather a text in."""
    return torch.zeros_like(attention_mask[:, 0])


def last(_: Tensor, attention_mask: Tensor) -> Tensor:
    """The last token, the only one of a decoder that has seen the whole text."""
    return attention_mask.sum(dim=-1) - 1


def masked(mask_id: int) -> Place:
    """The masked token, of which there is one: texts cannot contain it."""
    return partial(_equal, mask_id)


def _equal(wanted: int, input_ids: Tensor, _: Tensor) -> Tensor:
    return (input_ids == wanted).to(torch.int64).argmax(dim=-1)


class TokenLogit(nn.Module):
    """The logit of a pair from what a model gives at one token.

    :param model: of transformers; its first output is (pairs, tokens, width).
    :param head: (pairs, width) -> (pairs, 1).
    """

    def __init__(self, model: nn.Module, head: nn.Module, place: Place) -> None:
        super().__init__()
        self.model, self.head, self.place = model, head, place

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(pairs,) logits.

        :param input_ids, attention_mask, token_type_ids: (pairs, tokens), int64, padded behind the text.
        """
        more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        said = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)[0]
        rows = torch.arange(input_ids.shape[0], device=input_ids.device)
        logits: Tensor = self.head(said[rows, self.place(input_ids, attention_mask)])
        return logits.reshape(-1)


class PairTrunk(Trunk):
    """A model of transformers with what reads a logit off it.

    :param logit: (input_ids, attention_mask, perhaps token_type_ids) -> (pairs,), such as ``TokenLogit``.
    :param inputs: which of the three it takes, in order.
    :param place: the token whose vector the factors' heads read.
    :param fresh: whether the head starts at 0, and not as somebody trained it.
    """

    encodes = False

    def __init__(self, logit: nn.Module, inputs: Sequence[str], place: Place, *, fresh: bool) -> None:
        super().__init__()
        self.logit, self.inputs, self.place, self.fresh = logit, tuple(inputs), place, fresh
        self.dimensions = int(cast(Any, self.body).config.hidden_size)

    @property
    def body(self) -> PreTrainedModel:
        """The model without its heads."""
        [model, *_] = (each for each in self.logit.modules() if isinstance(each, PreTrainedModel))
        return cast(PreTrainedModel, model.base_model)

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        """Bottom up; layers that share their weights (ALBERT) are one."""
        return next(each for each in self.body.modules() if isinstance(each, nn.ModuleList))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors (pairs, dimensions) and logits (pairs,).

        :param input_ids, attention_mask, token_type_ids: (pairs, tokens), int64; padding is moved behind the text,
            wherever it stood, since positions count from the first token.
        """
        order = torch.argsort(attention_mask, dim=-1, descending=True, stable=True)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        moved = {name: cast(Tensor, given[name]).gather(1, order) for name in self.inputs}
        seen: list[Tensor] = []
        hook = self.body.register_forward_hook(lambda _, __, said: seen.append(said[0]))
        try:
            with torch.autocast(
                input_ids.device.type, self.autocast, enabled=self.training and self.autocast is not None
            ):
                logits = self.logit(**moved)
        finally:
            hook.remove()
        rows = torch.arange(len(logits), device=logits.device)
        [hidden] = seen
        return hidden[rows, self.place(moved["input_ids"], moved["attention_mask"])].float(), logits.float()

    def recompute(self) -> None:
        """From now on, in training, of a layer only its input is kept."""
        cast(Any, self.body).gradient_checkpointing_enable({"use_reentrant": False})

    def open(self, bias: float) -> None:
        """Query and document are one text: there is nothing to open."""

    def slopes(self, fit: Fit) -> tuple[float, float]:
        """The cosine keeps its slope; logits, which are 0 or log-odds at the start, count as they are."""
        return fit.cosine, 1.0

    @property
    def own(self) -> list[nn.Parameter]:
        """The head: all that is not in the body."""
        inside = {id(each) for each in self.body.parameters()}
        return [each for each in self.parameters() if id(each) not in inside]

    def stages(self) -> list[list[nn.Parameter]]:
        """Embeddings, then each layer; what comes behind the layers (norms, a pooler) is with the last one."""
        stages = [list(layer.parameters()) for layer in self.layers]
        inside = {id(each) for stage in stages for each in stage}
        below: list[nn.Parameter] = []
        behind = False
        for name, each in self.body.named_parameters():
            if id(each) in inside:
                behind = True
            else:
                (stages[-1] if behind and "embed" not in name else below).append(each)
        return [below, *stages]


@dataclass(frozen=True, slots=True)
class PairReader:
    """Query and document in the tokenizer's own layout, as ``OnnxCrossEncoder`` reads them."""

    tokenizer: TextTokenizer
    pad_id: int
    #: Put before every query, before every text.
    query_prefix: str = ""
    text_prefix: str = ""

    def pairs(self, query: str, texts: Sequence[str]) -> list[PlainRow]:
        """A row for each text."""
        read = self.tokenizer.pairs(self.query_prefix + query, [self.text_prefix + text for text in texts])
        return [PlainRow(pair.ids, pair.types) for pair in read]

    def pad(self, rows: Sequence[PlainRow]) -> dict[str, NDArray[np.int64]]:
        """``input_ids``, ``attention_mask`` and ``token_type_ids``."""
        return plainly_padded(rows, self.pad_id)
