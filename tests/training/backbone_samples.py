"""Folders of tiny random models of every family, with tokenizers of a few hundred tokens, made on the spot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rerank_plugin.training.two_mode import quietly

#: What tokenizers are trained on; "yes" and "no" are words of it.
CORPUS = [
    "Query: which one is it Document: green apples here Relevant: yes",
    "Query: red stones Document: green apples here Relevant: no",
    "report of the approved vessel number, report of the rejected vessel number",
] * 4
_SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 96, "initializer_range": 0.3,
}  # fmt: skip
_DEBERTA = {
    "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16,
    "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
_V2 = {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
_LOCAL = {"local_attention": 8, "global_attn_every_n_layers": 2, "initializer_cutoff_factor": 2.0}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": _SMALL,
    "albert": {**_SMALL, "embedding_size": 8},
    "roberta": {**_SMALL, "type_vocab_size": 1},
    "deberta": {**_SMALL, **_DEBERTA},
    "deberta-v2": {**_SMALL, **_DEBERTA, **_V2},
    "modernbert": {**_SMALL, **_LOCAL},
}
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 96, "initializer_range": 0.3},
    "qwen2": {**_SMALL, "num_key_value_heads": 1},
    "qwen3": {**_SMALL, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": True},
}
FAMILIES = {**ENCODERS, **DECODERS}
#: Those whose vocabularies keep the space before a word in its first token.
BYTES = ("roberta", "modernbert", *DECODERS)
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
KINDS = {"": AutoModel, "masked": AutoModelForMaskedLM, "causal": AutoModelForCausalLM}


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Words or bytes, as the family has them; decoders have no padding token and add nothing to a text."""
    if family in BYTES:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            special_tokens=["<|end|>"] if family in DECODERS else SPECIAL, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        made.train_from_iterator(CORPUS, trainer)
    else:
        letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
        words = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(CORPUS).lower())) - set(letters))
        vocabulary = [*SPECIAL, *words, *letters, *(f"##{each}" for each in letters)]
        made = Tokenizer(models.WordPiece({each: place for place, each in enumerate(vocabulary)}, unk_token="[UNK]"))
        made.add_special_tokens(SPECIAL)
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if family in DECODERS:
        return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    start, end = (made.token_to_id(each) for each in ("[CLS]", "[SEP]"))
    second = "$B:1 [SEP]:1" if family not in BYTES else "[SEP] $B [SEP]"
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=f"[CLS] $A [SEP] {second}", special_tokens=[("[CLS]", start), ("[SEP]", end)]
    )
    names = ("pad_token", "cls_token", "sep_token", "mask_token", "unk_token")
    return PreTrainedTokenizerFast(tokenizer_object=made, **dict(zip(names, SPECIAL, strict=True)))


def config(family: str, **more: Any) -> Any:
    """Of the tiny model; the numbers of special tokens are the tokenizer's."""
    read = tokenizer(family)
    pad = None if family in DECODERS else read.pad_token_id
    ids = {"pad_token_id": pad, "bos_token_id": read.cls_token_id, "eos_token_id": read.eos_token_id}
    if family == "modernbert":
        ids |= {"cls_token_id": read.cls_token_id, "sep_token_id": read.sep_token_id}
    return AutoConfig.for_model(family, **{**FAMILIES[family], "vocab_size": len(read), **ids, **more})


def folder(path: Path, family: str, kind: str = "", **more: Any) -> Path:
    """A folder of the family, the same one every time.

    :param kind: "" is the body alone, ``masked`` and ``causal`` are language models, ``classifier`` is one.
    """
    torch.manual_seed(0)
    made = KINDS.get(kind, AutoModelForSequenceClassification).from_config(config(family, **more))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)  # they begin as 0, which proves nothing
    with quietly():
        made.save_pretrained(path)
    tokenizer(family).save_pretrained(path)
    return path
