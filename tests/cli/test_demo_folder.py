from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_plugin.cli.demo import MARKER, analyzer_for, prepare
from rerank_plugin.errors import ConfigError, DataError


def test_a_new_and_an_empty_folder_are_taken(tmp_path):
    for out in (tmp_path / "deep" / "new", tmp_path / "deep"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        prepare(out if out.name == "new" else tmp_path / "empty")
    assert (tmp_path / "deep" / "new" / MARKER).is_file()
    assert (tmp_path / "empty" / MARKER).is_file()


def test_an_earlier_demo_is_replaced_but_what_it_did_not_write_stays(tmp_path):
    prepare(tmp_path)
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "segment").write_text("old")
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    prepare(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, "notes.txt"]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "engine").mkdir()
    with pytest.raises(ConfigError, match="files that no demo wrote"):
        prepare(tmp_path)
    assert (tmp_path / "engine").is_dir()
    with pytest.raises(ConfigError, match="is a file"):
        prepare(tmp_path / "thesis.tex")


def test_links_are_not_followed_when_clearing(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    prepare(tmp_path / "out")
    (tmp_path / "out" / "engine").symlink_to(outside)
    prepare(tmp_path / "out")
    assert (outside / "keep").is_file()
    assert not (tmp_path / "out" / "engine").exists()


def corpus(folder: Path, *texts: str) -> Path:
    rows = [json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join([*rows, "not json", "[]", '{"_id": "x"}']))
    return folder


def test_the_text_chooses_the_analyzer(tmp_path):
    assert analyzer_for(corpus(tmp_path, "plain English", "一")) == "english"
    assert analyzer_for(corpus(tmp_path, "文本检索", "日本語の文書", "한국어 IR")) == "cjk"
    assert analyzer_for(corpus(tmp_path, "123 !")) == "english"
    with pytest.raises(DataError, match=r"neither corpus\.jsonl"):
        analyzer_for(tmp_path / "none")
