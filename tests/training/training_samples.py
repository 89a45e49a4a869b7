"""Windows and a small trunk for the tests of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import BertConfig, BertModel

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.features import Features
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.tokens import TextTokenizer
from rerank_plugin.ranking.types import RankRequest
from rerank_plugin.training.calibrate import Window
from rerank_plugin.training.two_mode import TwoModeModel, TwoModeReader


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices are so small here that threads would only wait for each other, long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tokenizer(tokens: int = 24) -> TextTokenizer:
    """The shipped one: its vocabulary fits the small trunk."""
    return TextTokenizer(ModelFolder.open(default_model_folder()).read("tokenizer").decode(), tokens)


def reader(tokens: int = 24) -> TwoModeReader:
    """How the small trunk reads."""
    return TwoModeReader(tokenizer(tokens))


def small_trunk(seed: int = 0) -> TwoModeModel:
    """Random weights, two layers of 16."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, attn_implementation="eager",
    )  # fmt: skip
    return TwoModeModel(BertModel(config, add_pooling_layer=False)).eval()


def window(
    query: str,
    texts: Sequence[str],
    relevant: Sequence[int],
    *,
    cosines: Sequence[float] | None = None,
    features: Sequence[Features] | None = None,
) -> Window:
    """Documents d0, d1, ... with falling scores; ``relevant`` are places."""
    candidates = tuple(
        Candidate(
            doc_id=f"d{place}",
            retrieval_rank=place + 1,
            retrieval_score=float(len(texts) - place),
            text=text,
            cosine=0.5 if cosines is None else cosines[place],
            features=Features() if features is None else features[place],
        )
        for place, text in enumerate(texts)
    )
    return Window(RankRequest(query=query, candidates=candidates), None, {f"d{place}": 1 for place in relevant})
