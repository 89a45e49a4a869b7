"""The compose file is one that Docker Compose takes, with everything pinned; no Docker engine is needed to see that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from opensearchpy import OpenSearch

from harness.data import CHECKOUT
from harness.distribution import VERSION

DOCKER = CHECKOUT / "docker"
TEXT = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+(-[a-z0-9.-]+)?")


@pytest.fixture
def services() -> dict[str, Any]:
    return yaml.safe_load(TEXT)["services"]


def test_the_compose_specification_holds() -> None:
    checked = PyCompose.from_yaml(TEXT)
    checked.validate()  # raises what the schema says against it; the next test shows that it would
    assert set(checked.services) == set(yaml.safe_load(TEXT)["services"])


def test_a_misspelt_key_would_be_seen() -> None:
    with pytest.raises(ValueError, match="intervall"):
        PyCompose.from_yaml(TEXT.replace("interval:", "intervall:"))


def test_images_are_pinned(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [image for image in images if not PINNED.fullmatch(image)] == []
    assert services["opensearch"]["image"] == f"opensearchproject/opensearch:{VERSION}"


def test_volumes_and_dependencies_exist(services: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert used == set(yaml.safe_load(TEXT)["volumes"])
    assert {name for service in services.values() for name in service.get("depends_on", ())} <= set(services)


def test_the_unsecured_port_is_for_this_machine_only(services: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))


def test_what_the_image_copies_is_there() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert [name for name in names if not (CHECKOUT / name).exists()] == []
    let_through = {
        line[1:]
        for line in (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    assert set(names) == let_through


def test_the_load_command_is_one_that_exists(services: dict[str, Any]) -> None:
    from indexer.cli import commands

    program, name, *options = services["load"]["command"]
    assert program == "rerank-index"
    known = {option for parameter in commands.commands[name].params for option in parameter.opts}
    assert [option for option in options if option.split("=")[0] not in known] == []
    folder = next(option.split("=")[1] for option in options if option.startswith("--docs="))
    assert (CHECKOUT / folder.removeprefix("/opt/rerank/")).is_dir()


def test_the_load_command_loads_and_loads_again(services: dict[str, Any], opensearch_url: str, tmp_path: Path) -> None:
    _, *words = services["load"]["command"]
    put = {
        "--engine": opensearch_url,
        "--index": "compose-landmarks",
        "--docs": str(CHECKOUT / "rerank_plugin/demo_data"),
        "--vectors": str(tmp_path / "vectors"),
    }
    options = [f"{option}={put[option]}" if (option := word.split("=")[0]) in put else word for word in words]
    command = [Path(sys.executable).with_name("rerank-index"), *options, "--json"]
    client = OpenSearch(opensearch_url)
    try:
        for _ in range(2):
            loaded = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert loaded.returncode == 0, loaded.stderr
            told = json.loads(loaded.stdout)
            assert told["written"] == told["read"] == client.count(index="compose-landmarks")["count"]
            assert told["read"] > 100
            assert told["rejected"] == 0
    finally:
        client.indices.delete(index="compose-landmarks", ignore_unavailable=True)
        client.close()
