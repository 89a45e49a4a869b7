"""Opening the shipped ranker, and what is said when a folder cannot be used."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS
from rerank_plugin.errors import ModelFolderError
from rerank_plugin.models.folder import default_model_folder, update_manifest
from rerank_plugin.ranking.load import load_ranker
from rerank_plugin.ranking.types import RankRequest


def window(*texts: str) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(doc_id=text, retrieval_rank=rank, retrieval_score=1.0, text=text)
        for rank, text in enumerate(texts, start=1)
    )


def test_the_shipped_model_reads_meaning() -> None:
    texts = ("A castle by the river", "Mending a flat bicycle tyre", "Cooking rice")
    ranking = load_ranker(Rerank()).rank(
        [RankRequest(query="how to fix a punctured bike wheel", candidates=window(*texts))]
    )[0]
    assert ranking.ranked[0].candidate.text == "Mending a flat bicycle tyre"
    assert ranking.model.startswith("minilm-l6-two-mode@")
    assert all(ranking.weights[factor] >= 0 for factor in PRIORS)


def test_the_same_window_gets_the_same_scores_whatever_shares_its_batch() -> None:
    texts = ("A castle by the river", "Mending a flat bicycle tyre")
    request = RankRequest(query="bike", candidates=window(*texts))
    other = RankRequest(
        query="opera", candidates=window("Singing " * 100, "x", "Arias and choruses of the last century")
    )
    alone = load_ranker(Rerank()).rank([request])[0]
    together = load_ranker(Rerank()).rank([other, request])[1]
    assert [each.z for each in together.ranked] == pytest.approx([each.z for each in alone.ranked], abs=1e-4)


def test_a_folder_that_was_never_calibrated_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    update_manifest(folder, relevance={})
    with pytest.raises(ModelFolderError, match="has no calibration for 'score\\+text'; run rerank model calibrate"):
        load_ranker(Rerank(model=folder))


def test_a_tampered_model_file_is_never_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    weights = folder / json.loads((folder / "manifest.json").read_text())["files"]["model"]
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelFolderError, match="is not the file its manifest promises"):
        load_ranker(Rerank(model=folder))


def test_serving_needs_no_torch() -> None:
    code = (
        "import sys; from rerank_plugin.config import Rerank; from rerank_plugin.ranking.load import load_ranker; "
        "load_ranker(Rerank()).encode_query('x'); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
