"""From a URL to a client."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opensearchpy import OpenSearch

from rerank_plugin.engines.connect import connect
from rerank_plugin.errors import ConfigError


def only_connection(client: OpenSearch):
    (connection,) = client.transport.connection_pool.connections
    return connection


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:9201", "http://localhost:9201"),
        ("http://localhost", "http://localhost:9200"),
        ("https://search.example", "https://search.example:443"),
        ("HTTP://[::1]:9200", "http://[::1]:9200"),
    ],
)
def test_a_server_by_its_url(url, host):
    client = connect(url)
    assert type(client) is OpenSearch
    assert only_connection(client).host == host


def test_several_nodes_by_their_urls():
    client = connect("https://user:p,w@a, HTTP://b:9201")
    connections = client.transport.connection_pool.connections
    assert sorted(each.host for each in connections) == ["http://b:9201", "https://a:443"]
    assert {each.headers["authorization"] for each in connections} == {"Basic dXNlcjpwLHc="}  # user:p,w
    with pytest.raises(ConfigError, match="no usable engine URL"):
        connect("http://a:9200,http://")


def test_a_path_in_the_url_is_kept():
    assert only_connection(connect("http://proxy:80/engines/one/")).url_prefix == "/engines/one"


def test_credentials_are_used_and_decoded():
    connection = only_connection(connect("http://user:p%40ss%3Aword@host:9200"))
    assert connection.headers["authorization"] == "Basic dXNlcjpwQHNzOndvcmQ="  # user:p@ss:word
    assert "p%40ss" not in repr(connection) + connection.host


def test_credentials_given_apart_go_first():
    connection = only_connection(connect("http://user:wrong@host:9200", http_auth=("user", "right")))
    assert connection.headers["authorization"] == "Basic dXNlcjpyaWdodA=="


def test_further_arguments_reach_the_client():
    assert only_connection(connect("http://host:9200", timeout=77)).timeout == 77


@pytest.mark.parametrize(
    "url", ["", "localhost:9200", "ftp://user:secret@host", "http://", "http://user:secret@host:port", "http://h:1?q=secret",
            "http://user:secret@", "embedded:", "embedded:  ", "embedded:a\0b", "user:secret@host", None, 5],
)  # fmt: skip
def test_anything_else_is_refused_without_telling_secrets(url):
    with pytest.raises(ConfigError) as caught:
        connect(url)
    message = str(caught.value)
    assert "embedded:" in message
    assert "secret" not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)


def test_an_embedded_engine_is_the_same_class_of_client(tmp_path):
    client = connect(f"embedded:{tmp_path}")
    assert type(client) is OpenSearch
    assert client.info()["version"]["distribution"] == "opensearch"
    assert client.ping() is True
    assert list(tmp_path.iterdir()) == [], "nothing is written before there is something to write"
    client.close()


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    client = connect("embedded:~/data")
    client.indices.create(index="i")
    assert (tmp_path / "data" / "indexes" / "i").is_dir()
    client.close()


def test_a_server_needs_no_package_of_the_embedded_engine():
    script = """
import sys
from rerank_plugin.engines.connect import connect
connect("http://localhost:9200")
assert not {"tantivy", "Stemmer"} & set(sys.modules), "loaded"
connect("embedded:/tmp/never-made")
assert not {"tantivy", "Stemmer"} & set(sys.modules), "loaded before the first index"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
