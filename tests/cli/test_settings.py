from __future__ import annotations

import pytest

from rerank_plugin.cli.settings import read_settings
from rerank_plugin.config import Rerank
from rerank_plugin.errors import ConfigError


def test_settings_come_from_json_and_from_toml(tmp_path):
    (tmp_path / "a.json").write_text('{"window": 50, "text_fields": ["title"]}')
    (tmp_path / "a.toml").write_text('window = 50\ntext_fields = ["title"]\n')
    wanted = Rerank(window=50, text_fields=("title",))
    assert read_settings(tmp_path / "a.json") == read_settings(tmp_path / "a.toml") == wanted
    assert read_settings(None) == Rerank()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.toml", "window = ", "cannot be read"),
        ("a.json", "[1]", "must hold an object"),
        ("a.json", '{"windows": 3}', "unknown setting rerank.windows"),
        ("a.json", '{"window": 0}', "window must be a whole number"),
    ],
)
def test_what_cannot_be_settings_is_one_line_with_the_files_name(tmp_path, name, text, told):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_settings(tmp_path / "none.json")
