"""``rerank``: the commands that read, learn and judge. Each lives in its own module, imported when it is called."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import click

from rerank_plugin import __version__
from rerank_plugin.cli.common import as_line

#: Command -> module; the module's attribute has the command's name.
COMMANDS: dict[str, str] = {
    "convert": "rerank_plugin.cli.convert",
    "demo": "rerank_plugin.cli.demo",
    "evaluate": "rerank_plugin.cli.evaluate",
    "model": "rerank_plugin.cli.model",
    "search": "rerank_plugin.cli.search",
    "serve": "rerank_plugin.cli.serve",
    "train": "rerank_plugin.cli.train",
}


class Lazy(click.Group):
    """A group whose commands are imported when they are needed, and whose errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.add_command(getattr(import_module(COMMANDS[cmd_name]), cmd_name))
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error becomes ``Error: ...`` and exit 1, a broken pipe ends quietly."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None  # what a shell reports for Ctrl-C
        except Exception as error:
            if ctx.params.get("traceback"):
                raise
            line = as_line(error)
            if line is None:
                line = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}; "
                line += "this is a fault of ours: rerank --traceback COMMAND ... shows where"
            raise click.ClickException(line) from error


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rerank")
@click.option("--traceback", is_flag=True, hidden=True, help="Show where an error came from.")
def main(traceback: bool) -> None:
    """Reranking for OpenSearch and Elasticsearch: search, judge, learn.

    \b
    rerank demo                                   the whole job on a small corpus
    rerank search --engine URL --index I "words"  one search, reranked
    rerank evaluate --help                        is it better than BM25?
    """
    if not traceback:
        # opensearch-py logs failed requests with tracebacks, our client each fallback: without a handler both would be
        # written between the lines of the output, which says the same.
        for name in ("opensearch", "rerank_plugin"):
            logging.getLogger(name).addHandler(logging.NullHandler())
