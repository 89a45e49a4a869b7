"""``rerank model``: model folders made, made smaller, fitted and described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.cli import common
from rerank_plugin.cli.calibrate import calibrate
from rerank_plugin.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from rerank_plugin.models.folder import ModelFolder

#: Bytes of a file of calibration texts that are read: rounding needs a few hundred texts.
TEXT_BYTES = 4 << 20
TEXTS_HELP = "Texts to fit the rounding on, one a line.  [default: the bundled demo corpus]"


@click.group(short_help="Make, shrink, fit and describe model folders.")
def model() -> None:
    """Model folders: manifest.json, an ONNX graph, a tokenizer, a card.

    \b
    rerank model info                               what ships
    rerank model export --out my-model              the shipped model again, from its weights
    rerank model calibrate my-model --dataset DIR   relevance and weights from judged queries
    """


model.add_command(calibrate)


@model.command()
@click.argument("source", type=common.FOLDER, required=False)
@click.option("--source", "named", type=common.FOLDER, help="The same as SOURCE.")
@click.option("--out", type=common.FOLDER, required=True, help="Model folder to write.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True, help="Of weights.")
@click.option(
    "--name", help="Name of the model in reports.  [default: minilm-l6-two-mode, or the source folder's name]"
)
@click.option("--texts", type=common.FILE, help=TEXTS_HELP)
@click.option("--pooling", type=click.Choice(["cls", "mean"]), help="Of an ONNX encoder: which it was trained with.")
@click.option("--query-prefix", default="", help="Of an ONNX encoder: what it wants before a query.")
@click.option("--text-prefix", default="", help="Of an ONNX encoder: what it wants before a text.")
@click.option("--max-tokens", type=click.IntRange(8, 8192), help="Of an ONNX encoder: tokens of a text to read.")
@common.json_option
def export(source: Path | None, named: Path | None, out: Path, as_json: bool, **options: Any) -> None:
    """Make a model folder from SOURCE, a local folder of one of three kinds. Nothing is downloaded.

    A cross-encoder with one label (ms-marco, ettin, any AutoModelForSequenceClassification): its scores stay as they
    are, and it ranks at once. A BERT-type, mean-pooled sentence encoder: becomes the two-mode trunk. An ONNX file
    beside its tokenizer.json: an encoder, taken as it is; say its --pooling, and calibrate it before it ranks.

    Without SOURCE it is all-MiniLM-L6-v2 from the package that the extra 'train' brings. Relevance scale and weights
    are kept where --out holds a folder of the same backbone, else taken from what ships if that has it.

    \b
    rerank model export --source ms-marco-MiniLM-L6-v2 --out my-cross-encoder
    """
    source = source or named
    _require_training()
    from rerank_plugin.training.hub_models import kind_of

    kind = "two-mode" if source is None else kind_of(source)
    if kind != "encoder" and any(options[key] for key in ("pooling", "query_prefix", "text_prefix", "max_tokens")):
        raise ConfigError(f"--pooling, prefixes and --max-tokens are for ONNX encoders; {source} is none")
    name = options["name"] or ("minilm-l6-two-mode" if source is None else source.resolve().name)
    common.tell(f"exporting {source or 'all-MiniLM-L6-v2'} ({kind}) ...")
    _told(_exported(source, out, kind, {**options, "name": name}), as_json)


def _exported(source: Path | None, out: Path, kind: str, options: Mapping[str, Any]) -> ModelFolder:
    from rerank_plugin.training.export import export_model
    from rerank_plugin.training.hub_models import export_cross_encoder, export_encoder
    from rerank_plugin.training.two_mode import load_backbone, shipped_backbone

    name, precision = options["name"], options["precision"]
    if source is not None and kind == "encoder":
        from rerank_plugin.models.folder import Layout

        if options["pooling"] is None:
            raise ConfigError("an ONNX file does not say how its vectors are pooled; give --pooling cls or mean")
        prefixes = {key: options[key] for key in ("query_prefix", "text_prefix")}
        layout = Layout(pooling=options["pooling"], **prefixes)
        return export_encoder(source, out, name=name, layout=layout, max_tokens=options["max_tokens"])
    read = _texts(options["texts"]) if precision == "int8" else []
    if source is not None and kind == "cross-encoder":
        return export_cross_encoder(source, out, name=name, precision=precision, texts=read)
    backbone = load_backbone(source or shipped_backbone())
    return export_model(backbone, out, name=name, precision=precision, texts=read)


@model.command()
@click.argument("folder", type=common.FOLDER)
@click.option("--out", type=common.FOLDER, required=True, help="Model folder to write.")
@click.option("--texts", type=common.FILE, help=TEXTS_HELP)
@common.json_option
def quantize(folder: Path, out: Path, texts: Path | None, as_json: bool) -> None:
    """Turn FOLDER, a model folder in fp32, into eight bits: a quarter of its size, twice its speed."""
    _require_training()
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.training.export import quantize_folder

    _told(quantize_folder(ModelFolder.open(folder), out, texts=_texts(texts)), as_json)


@model.command()
@click.argument("folder", type=common.FOLDER, required=False)
@common.json_option
def info(folder: Path | None, as_json: bool) -> None:
    """Verify FOLDER, by default what ships, and print what it is."""
    _told(_opened(folder), as_json)


@model.command()
@click.argument("folder", type=common.FOLDER, required=False)
@click.option("--write", is_flag=True, help="Write it to CARD.md, and the attribution to NOTICE, in the folder too.")
def card(folder: Path | None, write: bool) -> None:
    """Print the model card of FOLDER, by default of what ships: origin, changes, limits, numbers."""
    from rerank_plugin.models import card as cards
    from rerank_plugin.models.folder import write_whole

    found = _opened(folder)
    text = cards.card(found)
    if write:
        write_whole(found.path / cards.CARD_FILE, text.encode("utf-8"))
        write_whole(found.path / cards.NOTICE_FILE, cards.notice(found).encode("utf-8"))
    click.echo(text, nl=False)


def _opened(folder: Path | None) -> ModelFolder:
    from rerank_plugin.models.folder import ModelFolder, default_model_folder

    return ModelFolder.open(folder or default_model_folder())


def _require_training() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("torch", "transformers", "onnx", "onnxscript")):
        raise MissingExtraError("rerank model export", "train")


def _texts(path: Path | None) -> list[str]:
    """Calibration texts: the lines of a file, else titles, texts and queries of the demo corpus."""
    if path is not None:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                found = [line.strip() for line in file.read(TEXT_BYTES).splitlines() if line.strip()]
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); give a file with one text a line") from error
        if not found:
            raise DataError(f"{path} has no text; give a file with a few hundred, one a line")
        return found
    from rerank_plugin.demo_data import DIRECTORY

    found = []
    for name in ("corpus.jsonl", "queries.jsonl"):
        for line in (DIRECTORY / name).read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            found.append("\n".join(filter(None, (record.get("title"), record["text"]))))
    return found


def _told(folder: ModelFolder, as_json: bool) -> None:
    size = sum(each.stat().st_size for each in folder.path.iterdir() if each.is_file())
    described: dict[str, Any] = {"folder": str(folder.path), "model": folder.name, "bytes": size}
    described |= folder.manifest.to_json()
    if as_json:
        common.print_json(described)
        return
    for key in ("model", "kind", "folder", "backbone", "licence", "precision", "dimensions", "max_tokens"):
        click.echo(f"{key:12} {described[key]}")
    click.echo(f"{'size':12} {size / 1e6:.1f} MB, checksums verified")
    joined = "closed: the logit is the cosine" if folder.interaction.get("closed") else "open"
    joined += ", texts behind statements of what is known" if folder.manifest.statements else ""
    joined = {"cross-encoder": "the cross-encoder's own logit", "encoder": "none"}.get(folder.manifest.kind, joined)
    click.echo(f"{'interaction':12} {joined}")
    if not folder.relevance:
        click.echo(f"{'relevance':12} not calibrated yet: rerank model calibrate {folder.path} --dataset DIR")
    for case, numbers in folder.relevance.items():
        click.echo(f"{case:12} {json.dumps(numbers)}")
    click.echo(f"{'weights':12} {json.dumps(dict(folder.weights))}")
