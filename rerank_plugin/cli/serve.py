"""``rerank serve``: the model behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from rerank_plugin.cli import common


@click.command(short_help="The model behind HTTP.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need RERANK_API_KEY."
)
@click.option("--model", type=common.FOLDER, help="Model folder.  [default: RERANK_MODEL, else the shipped one]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the model.  [default: one per core]")
@click.option("--at-once", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Requests worked on.")
def serve(port: int, host: str, model: Path | None, threads: int | None, at_once: int) -> None:
    """Serve the rerank API: POST /v1/rerank with query and documents, GET /health.

    Clients use it in place of a model of their own: OpenSearch(..., rerank={"scorer": "http://127.0.0.1:8080"}).
    A key in RERANK_API_KEY, or in the file that RERANK_API_KEY_FILE names, is then wanted from every caller.
    """
    from rerank_plugin.wiring.serving import serve as run

    run(
        host=host,
        port=port,
        model=model,
        threads=threads,
        at_once=at_once,
        told=lambda line: click.echo(line, err=True),
    )
