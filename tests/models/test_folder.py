"""Model folders: nothing is loaded that the manifest does not promise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank_plugin.config import Rerank
from rerank_plugin.errors import ModelFolderError
from rerank_plugin.models.card import card, notice
from rerank_plugin.models.folder import MANIFEST, ModelFolder, default_model_folder, update_manifest
from rerank_plugin.ranking.load import load_ranker
from rerank_plugin.wiring.serving import serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped folder, to be spoilt."""
    copied = tmp_path / "model"
    shutil.copytree(default_model_folder(), copied)
    return copied


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return spoil


def test_the_shipped_folder_is_whole_and_says_where_it_comes_from() -> None:
    shipped = ModelFolder.open(default_model_folder())
    assert shipped.name.startswith("minilm-l6-two-mode@")
    assert shipped.manifest.licence == "Apache-2.0"
    assert set(shipped.relevance) == {"score+text", "text", "score"}
    assert "all-MiniLM-L6-v2" in card(shipped)
    assert "Apache" in notice(shipped)
    assert not [each for each in default_model_folder().iterdir() if each.suffix in {".pkl", ".pt", ".bin"}]


def test_the_card_that_ships_is_that_of_the_manifest_that_ships() -> None:
    shipped = ModelFolder.open(default_model_folder())
    for name, text in (("CARD.md", card(shipped)), ("NOTICE", notice(shipped))):
        told = (default_model_folder() / name).read_text(encoding="utf-8")
        assert told.strip() == text.strip(), f"make it again: rerank model card {default_model_folder()} --write"


def test_the_card_draws_how_far_relevance_can_be_believed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    believed = {"cars": {"error": 0.1, "base_rate": 0.25, "bins": [[0.25, 0.5, 7], [0.75, 0.5, 8]]}}
    update_manifest(folder, metrics={"calibration": {"split": "train", "reliability": believed}})
    told = card(ModelFolder.open(folder))
    assert "### cars: expected calibration error 0.100, 0.250 are relevant" in told
    assert f"| 0.2500 | 0.5000 | 7 | `{'=' * 13}|{'=' * 13}{' ' * 14}` |" in told  # thirds of 40 characters
    assert f"| 0.7500 | 0.5000 | 8 | `{'=' * 27}{' ' * 13}|` |" in told
    assert 'Measured: `{"calibration": {"split": "train"}}`' in told


def test_the_card_of_a_trained_cross_encoder_says_what_it_is_and_what_it_learned_from(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(default_model_folder(), folder)
    line = {"queries": 3, "start": 0.5, "trained": 0.6, "delta": 0.1, "ci95": [-0.2, 0.4]}
    training = {
        "kept": "trained",
        "queries": {"cars": {"train": 7, "dev": 2}},
        "teachers": {"slopes": {"e5@1": 1.0, "first stage": 0.5}},
        "test": {"cars": line, "bikes": {**line, "ci95": None}},
    }
    trained = {"kind": "cross-encoder", "dimensions": 0, "backbone": "roberta", "metrics": {"training": training}}
    update_manifest(folder, **trained, layout={})
    told = card(ModelFolder.open(folder))
    assert "A cross-encoder for reranking: it reads a query and a document together, and makes no vectors." in told
    assert "- cars: 7 queries to learn from, 2 to validate; its licence is that of the collection." in told
    assert "- What e5@1 says of their documents." in told
    assert "What first stage" not in told
    assert "| cars | 3 | 0.5000 | 0.6000 | +0.1000, -0.2000..+0.4000 |" in told
    assert "| bikes | 3 | 0.5000 | 0.6000 | +0.1000 |" in told
    assert not any(
        word in told for word in ("two-mode trunk", "dimensions", "vectors for", "Reddit", "English words only")
    )
    training["kept"] = "start"
    assert "learned from" not in card(update_manifest(folder, metrics={"training": training}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is not JSON"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "must hold a JSON object, found list"),
        (lambda folder: (folder / MANIFEST).write_text(" " * (2 << 20)), "at most"),
        (lambda folder: (folder / "model.onnx").unlink(), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is not the file its manifest promises"),
        (edited(lambda manifest: manifest.update(format=2)), "has format 2, this version reads format 1"),
        (edited(lambda manifest: manifest.pop("licence")), "needs the text 'licence'"),
        (edited(lambda manifest: manifest.update(dimensions="384")), "needs the whole number 'dimensions'"),
        (edited(lambda manifest: manifest["files"].update(model="../model.onnx")), "plain names inside the folder"),
        (edited(lambda manifest: manifest["checksums"].clear()), "has no sha256 for"),
        (edited(lambda manifest: manifest["weights"].update(authority=9.0)), "sum to at most 4"),
        (edited(lambda manifest: manifest["interaction"].update(statements=2)), "of form 2, this version makes form 1"),
        (edited(lambda manifest: manifest["interaction"].update(statements=True)), "of form True, this version makes"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_line(folder: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(folder)
    with pytest.raises(ModelFolderError, match=message) as caught:
        ModelFolder.open(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_says_whether_it_reads_statements(folder: Path) -> None:
    before = ModelFolder.open(folder)
    assert not before.manifest.statements
    update_manifest(folder, interaction={**before.interaction, "statements": 1})
    assert ModelFolder.open(folder).manifest.statements
    assert load_ranker(Rerank(model=folder)).reads_statements
    assert not load_ranker(Rerank()).reads_statements
    with pytest.raises(
        ModelFolderError, match="reads what is known of each document, which the rerank API is not told"
    ):
        serve(host="127.0.0.1", port=1, model=folder, threads=1, at_once=1, told=print)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no model folder at"):
        ModelFolder.open(tmp_path / "none")


def test_a_file_changed_after_opening_is_not_read(folder: Path) -> None:
    opened = ModelFolder.open(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="is not the file its manifest promises"):
        opened.read("tokenizer")


def test_updating_keeps_the_rest_and_refuses_what_is_unknown_or_tampered_with(folder: Path) -> None:
    before = ModelFolder.open(folder).manifest
    after = update_manifest(folder, metrics={"x": 1.0}).manifest
    assert (after.metrics, after.relevance, after.checksums) == ({"x": 1.0}, before.relevance, before.checksums)
    with pytest.raises(ModelFolderError, match="has no field 'metric' to set"):
        update_manifest(folder, metric={})
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="is not the file its manifest promises"):
        update_manifest(folder, metrics={})
