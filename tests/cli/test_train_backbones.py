"""``rerank train --backbone``: models of any make, from a local folder to a model folder that serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.train_samples import SETTINGS, collection, run
from rerank_plugin.models.folder import ModelFolder
from training.backbone_samples import folder as backbone_folder

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_a_backbone_of_another_make_serves_beside_the_start(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, family: str
) -> None:
    """Trained, exported, fitted and compared; its logit in a process without torch, the cosine by what ships."""
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    source = backbone_folder(tmp_path / "tiny", family)
    told = ["--data", str(data), "--out", str(out), "--backbone", str(source), *SETTINGS, "--precision", "fp32"]
    told += ["--set", "max_steps=16", "--set", "learning_rate=5e-3", "--set", "head_rate=5e-2", "--set", "dropout=0"]
    status, output, errors = run(capsys, *told, "--now", "2026-01-01", "--json")
    assert status == 0, errors
    account = json.loads(output)
    assert (account["kept"], account["settings"]["backbone"]) == ("trained", str(source))
    assert account["test"]["vessels"]["trained"] > account["test"]["vessels"]["start"]
    folder = ModelFolder.open(out)
    assert (folder.manifest.kind, folder.manifest.backbone) == ("cross-encoder", "tiny")
    assert set(folder.relevance) == {"score+text", "text", "score", "score+pair", "pair"}
    assert folder.relevance["score+text"]["interaction"] > 0
    assert folder.relevance["pair"]["cosine"] == 0.0 < folder.relevance["pair"]["interaction"]
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from rerank_plugin.config import Rerank\n"
        "from rerank_plugin.domain.candidate import Candidate\n"
        "from rerank_plugin.ranking.load import load_ranker\n"
        "from rerank_plugin.ranking.types import RankRequest\n"
        "made = lambda n, text: Candidate(doc_id=text, retrieval_rank=n, retrieval_score=1.0, text=text)\n"
        "found = tuple(made(place, text) for place, text in enumerate(sys.argv[2:], 1))\n"
        "request = RankRequest(query='report of vessel 30', candidates=found)\n"
        "[said] = load_ranker(Rerank(model=sys.argv[1])).rank([request])\n"
        "print(said.ranked[0].candidate.doc_id)"
    )
    texts = ["report of the rejected vessel number 7", "report of the approved vessel number 1"]
    found = subprocess.run([sys.executable, "-c", code, str(out), *texts], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == texts[1]

    status, output, errors = run(capsys, "--data", str(data), "--out", str(out), "--resume", "--json")
    assert status == 0, errors
    assert json.loads(output)["test"] == account["test"]


def _changed(folder: Path, **config: object) -> Path:
    """The folder with another config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def _without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    ("make", "arguments", "line"),
    [
        (lambda at: at / "nothing", [], "has no config.json; give a whole folder, its tokenizer a fast one"),
        (lambda at: _without(backbone_folder(at, "bert"), "tokenizer.json"), [], "has no tokenizer.json; give a whole"),
        (lambda at: _without(backbone_folder(at, "bert"), "model.safetensors"), [], "cannot be loaded"),
        (lambda at: _changed(backbone_folder(at, "bert"), model_type="own"), [], "cannot be loaded (The checkpoint"),
        (
            lambda at: _changed(
                backbone_folder(at, "bert"), model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel": "own.M"}
            ),
            [],
            "cannot be loaded (",
        ),
        (lambda at: _changed(backbone_folder(at, "bert"), model_type="vit"), [], "holds a 'vit' model; a backbone is"),
        (
            lambda at: _changed(backbone_folder(at, "bert"), num_hidden_layers=3),
            [],
            "lacks 16 of the weights of a Bert",
        ),
        (lambda at: backbone_folder(at, "bert", "classifier", num_labels=3), [], "has 3 labels; relevance needs"),
        (
            lambda at: backbone_folder(at, "bert"),
            ["--set", "head_kind=verbaliser"],
            "of the weights of a BertForMasked",
        ),
        (lambda at: backbone_folder(at, "gpt2"), ["--set", "tuning=prefix"], "tuning=prefix reads attention as BERT"),
    ],
)
def test_backbones_that_cannot_be_trained_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, make: Any, arguments: list[str], line: str
) -> None:
    source, data = make(tmp_path / "tiny"), collection(tmp_path / "vessels")
    told = ["--data", str(data), "--out", str(tmp_path / "model"), "--backbone", str(source), *arguments]
    status, output, errors = run(capsys, *told)
    assert (status, output) == (1, "")
    assert line in errors
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "model").exists()
