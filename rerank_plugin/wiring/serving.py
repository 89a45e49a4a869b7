"""The rerank API over a model folder, for ``rerank serve``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

from rerank_plugin.config import KEY_VARIABLE, Rerank, api_key
from rerank_plugin.errors import ConfigError, MissingExtraError, ModelFolderError


def serve(
    *, host: str, port: int, model: Path | None, threads: int | None, at_once: int, told: Callable[[str], None]
) -> None:
    """Answers until it is ended by a signal.

    :param told: is given the address once all is checked and the model is open.
    :raises ConfigError: others than this machine could ask, and there is no key.
    :raises MissingExtraError: the web libraries are not installed.
    :raises ModelFolderError: the model cannot be used.
    """
    try:
        import uvicorn

        from rerank_plugin.service.app import make_app
    except ImportError as error:
        raise MissingExtraError("rerank serve", "serve") from error
    from rerank_plugin.ranking.load import load_ranker

    key = api_key()
    if not key and not _is_this_machine(host):
        raise ConfigError(f"--host {host} opens the model to others; set {KEY_VARIABLE}, or listen on 127.0.0.1")
    ranker = load_ranker(Rerank(model=model, threads=threads).with_environment())
    if ranker.reads_statements:
        raise ModelFolderError(
            f"{ranker.model} reads what is known of each document, which the rerank API is not told; rank with it in "
            "the application, or serve a model trained without statements"
        )
    ranker.refusal("warm up")  # opens the model now, so that a broken one is told here
    app = make_app(ranker, key=key, at_once=at_once)
    told(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1/rerank serves {ranker.model}")
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
