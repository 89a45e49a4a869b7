"""What a person should know of a model folder before using it, and the notice its licence asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rerank_plugin.models.folder import ModelFolder

CARD_FILE = "CARD.md"
NOTICE_FILE = "NOTICE"
#: Characters of a bar from 0 to the highest number of its table.
BAR = 40
#: Backbone whose origin we can vouch for.
MINILM = "sentence-transformers/all-MiniLM-L6-v2"

_MINILM_ORIGIN = """\
all-MiniLM-L6-v2 by the sentence-transformers authors (Apache-2.0), which continues MiniLM-L6-H384-uncased by Nils
Reimers, itself every second layer of Microsoft's MiniLM-L12-H384-uncased. Its own card says: trained with a contrastive
loss on 1,170,060,424 text pairs from some thirty public sets, about 62 % of them Reddit comments; the rest scientific
citations and abstracts (S2ORC, SPECTER), duplicate questions (WikiAnswers, Quora, Stack Exchange), questions with
answers (PAQ, MS MARCO, GooAQ, Yahoo Answers, Natural Questions, ELI5, TriviaQA, SQuAD, SearchQA), code search,
captions, and entailment (SNLI, MultiNLI). Training texts had at most 128 tokens. English.

Several of these sets are crawls whose own terms differ from the weights' licence; who needs certainty should read them.
"""
_LIKENESS = """\
- It knows likeness of meaning, not truth: a false claim about the right subject ranks as well as a right one.
"""
_POORLY = """\
- Numbers, negation and names that the training texts lack are read poorly; there the first-stage score helps.
"""
_MINILM_ENGLISH = """\
- English words only: other languages fall apart into letters or unknown tokens, and the ranking is then worth little.
"""
_MINILM_TEXTS = """\
- Trained largely on Reddit and Stack Exchange: the likings of their writers are in the vectors.
"""
_OTHERS = """\
- Which languages it knows and whose likings it learned, its own card says.
"""
_ROUNDED = """\
- Linear layers and word table in eight bits, activations quantised per token: `rerank model quantize`.
"""
#: What queries were for, by split.
_PARTS = {"train": "queries to learn from", "dev": "to validate", "unlabelled": "that nobody judged"}
#: What a folder is, by its kind.
_WHAT = {
    "two-mode": "A two-mode trunk for reranking: encoder and cross-encoder in one network.",
    "cross-encoder": "A cross-encoder for reranking: it reads a query and a document together, and makes no vectors.",
    "encoder": "An encoder for reranking: it makes vectors of texts, and relevance is their cosine.",
}


def card(folder: ModelFolder) -> str:
    """The model card in Markdown, from the manifest alone: the same folder gives the same card."""
    manifest = folder.manifest
    metrics = dict(manifest.metrics)
    calibration = dict(metrics.get("calibration") or {})
    believed = calibration.pop("reliability", {})
    if believed:
        metrics["calibration"] = calibration  # the rest has a table of its own
    origin = _MINILM_ORIGIN if manifest.backbone == MINILM else f"{manifest.backbone}; see its own card.\n"
    return "\n".join(
        (
            f"# {manifest.name}",
            "",
            f"{_WHAT[manifest.kind]} {folder.name}, {manifest.precision}, "
            + (f"{manifest.dimensions} dimensions, " if manifest.dimensions else "")
            + f"licence {manifest.licence}.",
            "",
            "## Where it comes from",
            "",
            origin,
            "## What was done to it",
            "",
            _changes(folder),
            "## What it is for, and what not",
            "",
            "Ordering the first hundred or so hits of a search engine by meaning"
            + ("; vectors for finding similar texts." if manifest.dimensions else "."),
            "",
            _limits(folder),
            *_learned_from(metrics.get("training") or {}),
            "## Numbers",
            "",
            f"Relevance in log-odds: `{_short(manifest.relevance)}`",
            "",
            f"Weights in log-odds: `{_short(manifest.weights)}`",
            "",
            f"Measured: `{_short(metrics)}`",
            "",
            *_reliability(believed),
        )
    )


def notice(folder: ModelFolder) -> str:
    """The attribution that goes with the weights."""
    manifest = folder.manifest
    by = ", copyright the sentence-transformers authors and contributors" if manifest.backbone == MINILM else ""
    return (
        f"The weights and the vocabulary in this folder are a modified form of {manifest.backbone}{by}.\n"
        f"Licence: {manifest.licence}.\n"
        "Modified: exported to ONNX as one graph for one or two segments with biases between them"
        + (", linear layers and word table rounded to eight bits" if manifest.precision == "int8" else "")
        + ".\nThe texts on which the rounding was fitted are not part of the weights.\n"
    )


def _limits(folder: ModelFolder) -> str:
    tokens = folder.manifest.max_tokens
    read = f"- {tokens} tokens (some {10 * (tokens * 7 // 100)} English words) of a "
    read += (
        "query with its text are read"
        if folder.manifest.kind == "cross-encoder"
        else "text are read, the same number of a query"
    )
    read += "; the rest is not seen,\n  and `truncated` in the status says so.\n"
    if folder.manifest.backbone == MINILM:
        return _MINILM_ENGLISH + read + _LIKENESS + _MINILM_TEXTS + _POORLY
    return read + _LIKENESS + _POORLY + _OTHERS


def _learned_from(training: Mapping[str, Any]) -> Iterator[str]:
    """The collections of a training that was kept, and what it came to on their test queries."""
    if training.get("kept") != "trained":
        return
    yield "## What it learned from"
    yield ""
    for name, counts in training["queries"].items():
        asked = ", ".join(f"{count} {_PARTS[part]}" for part, count in counts.items())
        yield f"- {name}: {asked}; its licence is that of the collection."
    for name in training.get("teachers", {}).get("slopes", ()):
        if "@" in name:  # a model; the first stage is none
            yield f"- What {name} says of their documents."
    yield ""
    yield "| test | queries | nDCG@10 of the start | trained | difference, 95 % |"
    yield "|---|---|---|---|---|"
    for name, line in training["test"].items():
        interval = "" if line["ci95"] is None else ", {:+.4f}..{:+.4f}".format(*line["ci95"])
        means = f"{line['queries']} | {line['start']:.4f} | {line['trained']:.4f}"
        yield f"| {name} | {means} | {line['delta']:+.4f}{interval} |"
    yield ""


def _changes(folder: ModelFolder) -> str:
    if folder.manifest.kind == "encoder":
        return "- The ONNX file is the one that was given.\n"
    if folder.manifest.kind == "cross-encoder":
        text = "- Exported with torch's ONNX exporter; its logit is kept as it is.\n"
        return text + (_ROUNDED if folder.manifest.precision == "int8" else "")
    closed = folder.interaction.get("closed")
    text = "- Exported with torch's ONNX exporter; query and document are segments with positions of their own.\n"
    text += (
        "- The biases that let query and document see each other are closed: the interaction logit is the cosine.\n"
        if closed
        else "- The biases that let query and document see each other are open and were learned.\n"
    )
    return text + (_ROUNDED if folder.manifest.precision == "int8" else "")


def _reliability(believed: Mapping[str, Any]) -> Iterator[str]:
    """Reliability diagrams, a row for each tenth of the candidates."""
    if believed:
        yield "## Can the relevance be believed?"
        yield ""
        yield "Of a tenth of the candidates each: what the model says, and how many are judged relevant; on queries"
        yield "that its scale was not fitted on. Both the same is perfect; the expected calibration error is their"
        yield "mean distance. In the bar `=` is what is relevant, `|` where the model says that it ends."
        yield ""
    for name, said in believed.items():
        yield f"### {name}: expected calibration error {said['error']:.3f}, {said['base_rate']:.3f} are relevant"
        yield ""
        yield "| said | relevant | candidates | |"
        yield "|---|---|---|---|"
        top = max((max(mean, share) for mean, share, _ in said["bins"]), default=0.0) or 1.0
        for mean, share, count in said["bins"]:
            yield f"| {mean:.4f} | {share:.4f} | {count} | `{_bar(mean / top, share / top)}` |"
        yield ""


def _bar(mean: float, share: float) -> str:
    """What was said and what is relevant, each as a share of the bar."""
    cells = ["=" if place < round(share * BAR) else " " for place in range(BAR + 1)]
    cells[round(mean * BAR)] = "|"
    return "".join(cells)


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else "none yet"
