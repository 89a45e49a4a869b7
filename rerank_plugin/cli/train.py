"""``rerank train``: multi-factor fine-tuning on judged queries, from collections to a model folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rerank_plugin.cli import common
from rerank_plugin.cli.loading import filled
from rerank_plugin.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from rerank_plugin.domain.clicks import ClickLog
    from rerank_plugin.models.folder import ModelFolder
    from rerank_plugin.training.settings import Settings
    from rerank_plugin.wiring import Setup
    from rerank_plugin.wiring.splits import Splits

#: What a run was told and when it is: ``--resume`` goes on with the same.
RUN_FILE = "training.json"


class _Train(click.Command):
    """A plain command, as scripts call it; ``rerank train label-queue ...`` is a command of its own beside it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of whichever is called: no argument of ``train`` itself stands without an option."""
        if args[:1] != ["label-queue"]:
            return super().make_context(info_name, args, parent, **extra)
        from rerank_plugin.cli.label_queue import label_queue

        return label_queue.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)


@click.command(cls=_Train)
@click.option("--data", "folders", type=common.FOLDER, multiple=True, required=True, help="A BEIR directory.")
@click.option("--out", type=common.FOLDER, required=True, help="Model folder to write; checkpoints lie in it.")
@click.option("--config", type=common.FILE, help="Settings, a TOML or JSON file.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="One setting; goes before the file.")
@click.option("--teacher", "teachers", type=common.FOLDER, multiple=True, help="A model folder to learn from too.")
@click.option("--backbone", metavar="FOLDER", help="What is trained instead: of transformers, or org/name.")
@click.option("--clicks", type=common.FILE, help="A log of impressions and clicks that popularity is learned from.")
@click.option("--max-steps", type=click.IntRange(1), help="The same as --set max_steps=N.")
@click.option("--search", type=click.IntRange(1), help="The same as --set search=N: N trainings, the best is kept.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in OUT, as the run was told before.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True, help="Of weights.")
@common.now_option
@common.json_option
def train(
    folders: tuple[Path, ...],
    out: Path,
    config: Path | None,
    given: tuple[str, ...],
    teachers: tuple[Path, ...],
    backbone: str | None,
    clicks: Path | None,
    max_steps: int | None,
    search: int | None,
    resume: bool,
    precision: str,
    now: datetime | None,
    as_json: bool,
) -> None:
    """Fine-tune what ships on judged queries: the trunk, the joining of query and document, and the factors' heads.

    Each directory needs qrels/train.tsv; qrels/dev.tsv chooses the best step (without it some training queries do),
    qrels/test.tsv makes the table at the end. With --set corpus_queries=N the documents ask too, by titles, sentences
    and spans cut out of them, and qrels/dev.tsv is enough. Documents are found the way applications find them. Each
    --teacher, a model folder, says beside the labels how relevant documents are. A --backbone, a folder of
    transformers, is trained instead. With --clicks popularity is what people clicked, positions taken out. Where no
    step raises nDCG@10 of the final order, the start is written, and this is said.

    \b
    rerank train --data beir/my-collection --out my-model
    rerank train --data beir/my-collection --out my-model --set tuning=lora --search 20
    rerank train --data beir/my-collection --out my-model --backbone ModernBERT-base --clicks events.jsonl
    rerank train label-queue --help     which documents to judge next
    """
    _require_training()
    from rerank_plugin.config import together
    from rerank_plugin.models.folder import ModelFolder, default_model_folder
    from rerank_plugin.wiring.learning import Learning, meet

    number, count = together()
    if number:
        meet()  # the first process has checked and kept what all are told
    told = out, config, given, resume, now, {"max_steps": max_steps, "search": search, "backbone": backbone}
    settings, now = _kept(out / RUN_FILE) if number else _told(*told)
    _possible(settings, teachers, count)
    taught_by, splits = _opened(teachers), _read(folders, settings)
    log, names = _clicked(clicks, settings, now), [each.name for each in splits]
    where = dict(zip(names, folders, strict=True))
    read = _documents(splits, where, settings)
    with ExitStack() as scratch:
        splits += _asked_by_corpora(splits, where, scratch, settings)

        def load(name: str, model: Path) -> Setup:
            folder = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="rerank-train-")))
            return filled(where[name], folder, model=model, now=now)

        start, tell = ModelFolder.open(default_model_folder()), _teller(number)
        learning = Learning(splits, start, settings, out, load, common.progress, tell, taught_by, read, log)
        if number:
            learning.follow(resume=resume)
            return
        _keep(out, _from(names, taught_by, clicks), settings, now)
        meet()
        _show(learning.run(precision=precision, resume=resume), as_json)


def _teller(number: int) -> Callable[[str], None]:
    """Of several processes only the first one tells."""
    return common.tell if number == 0 else (lambda _: None)


def _read(folders: Sequence[Path], settings: Settings) -> list[Splits]:
    from rerank_plugin.wiring.splits import read_splits

    splits = [read_splits(folder, settings) for folder in folders]
    names = [each.name for each in splits]
    if len(set(names)) < len(names):
        raise DataError(f"two of the directories are called {max(names, key=names.count)}; names must differ")
    return splits


def _opened(teachers: Sequence[Path]) -> list[ModelFolder]:
    from rerank_plugin.models.folder import ModelFolder

    found = [ModelFolder.open(folder) for folder in teachers]
    if len({folder.name for folder in found}) < len(found):
        raise ConfigError("two of the teachers are the same model; give each once")
    return found


def _clicked(clicks: Path | None, settings: Settings, now: datetime) -> ClickLog | None:
    from rerank_plugin.evaluation.click_log import read_clicks

    if clicks is None:
        return None
    if "popularity" not in settings.factor_losses():
        raise ConfigError(
            "--clicks is what popularity is learned from, and it takes no part or popularity_loss is 0; set it above 0"
        )
    return read_clicks(clicks, now=now)


def _asked_by_corpora(
    splits: Sequence[Splits], where: dict[str, Path], scratch: ExitStack, settings: Settings
) -> list[Splits]:
    """What each collection's documents ask, if they shall; ``where`` gets the copies that they were cut out of."""
    from rerank_plugin.wiring.corpus import corpus_splits

    found = []
    for judged in splits if settings.corpus_queries else ():
        into = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="rerank-corpus-")))
        found.append(corpus_splits(where[judged.name], into, judged, settings))
        where[found[-1].name] = into
    return found


def _documents(splits: Sequence[Splits], where: dict[str, Path], settings: Settings) -> list[str]:
    """What the trunk is pre-trained on; nothing without."""
    from rerank_plugin.training.pretrain import texts_wanted
    from rerank_plugin.wiring.corpus import documents_of

    if not settings.pretrain_steps:
        return []
    return documents_of(where, splits, settings, texts_wanted(settings))


def _require_training() -> None:
    from importlib.util import find_spec

    if any(
        find_spec(name) is None
        for name in ("torch", "transformers", "accelerate", "onnx", "onnxscript", "peft", "optuna")
    ):
        raise MissingExtraError("rerank train", "train")


def _possible(settings: Settings, teachers: Sequence[Path], processes: int) -> None:
    """Refuses what this machine has not, and what writes to OUT while it trains where several processes would.

    A backbone is read, once for nothing, so that one that cannot be trained is told before there is any work.
    """
    from rerank_plugin.training.backbones import backbone_of
    from rerank_plugin.training.tracking import require_trackers
    from rerank_plugin.training.tuning import require_accelerator

    require_trackers(settings)
    require_accelerator(settings)
    for found, name in ((settings.search, "search"), (teachers, "teacher")):
        if found and processes > 1:
            raise ConfigError(f"a {name} needs one process, and {processes} were started; start one, or leave it out")
    if settings.backbone:
        backbone_of(settings)


def _told(
    out: Path, config: Path | None, given: tuple[str, ...], resume: bool, now: datetime | None, options: dict[str, Any]
) -> tuple[Settings, datetime]:
    """Settings and clock of the run.

    :param options: settings that have an option of their own.
    :raises ConfigError: a setting is wrong, there is nothing to resume, or OUT holds another run.
    """
    from rerank_plugin.models.folder import MANIFEST
    from rerank_plugin.training.settings import read_settings

    file = out / RUN_FILE
    if resume:
        if config is not None or given or now is not None or any(each is not None for each in options.values()):
            raise ConfigError("--resume goes on with the settings of the run; leave out --config, --set and --now")
        return _kept(file)
    if file.exists():
        raise ConfigError(f"{out} holds a run already; go on with it by --resume, or give another --out")
    if (out / MANIFEST).exists():
        raise ConfigError(f"{out} holds a model already; give another --out")
    return read_settings(config, given, **options), now or common.present()


def _kept(file: Path) -> tuple[Settings, datetime]:
    """What a run was told, as it stands in its folder.

    :raises ConfigError: there is no such run, or the file is damaged.
    """
    from rerank_plugin.domain.features import parse_date
    from rerank_plugin.training.settings import read_settings

    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return read_settings(None, (), **told["settings"]), parse_date(told["now"])
    except FileNotFoundError as error:
        raise ConfigError(f"{file.parent} holds no run to resume; leave out --resume") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is not what rerank train wrote ({error}); start again in a new folder") from error


def _from(names: list[str], teachers: Sequence[ModelFolder], clicks: Path | None) -> dict[str, list[str]]:
    """What a run learns from, by name; a log with its checksum, since a log grows."""
    logs = [] if clicks is None else [f"{clicks.name}@{hashlib.sha256(clicks.read_bytes()).hexdigest()[:12]}"]
    return {"collections": names, "teachers": [folder.name for folder in teachers], "clicks": logs}


def _keep(out: Path, told: dict[str, list[str]], settings: Settings, now: datetime) -> None:
    """Writes to OUT what the run was told, so that a resumed one is told the same.

    :raises ConfigError: the run that OUT holds learned from something else.
    """
    from rerank_plugin.models.folder import write_whole

    if (out / RUN_FILE).exists():
        before = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
        for key, found in told.items():
            if found != (kept := before.get(key, [])):
                said = f"{', '.join(kept) or 'none'}, got {', '.join(found) or 'none'}"
                raise ConfigError(f"the {key} of the run in {out} are {said}; give the same")
    out.mkdir(parents=True, exist_ok=True)
    kept = {"now": now.isoformat(), **told, "settings": settings.to_json()}
    write_whole(out / RUN_FILE, (common.json_text(kept) + "\n").encode("utf-8"))


def _show(folder: ModelFolder, as_json: bool) -> None:
    account: dict[str, Any] = folder.manifest.metrics["training"]
    if as_json:
        common.print_json({"folder": str(folder.path), "model": folder.name, **account})
        return
    best, before, after = account["best_step"], account["dev"]["before"], account["dev"]["after"]
    if best == 0:
        click.echo(f"no step of {account['steps']} beat the start ({before:.4f}): what is written is the start")
    elif account["kept"] == "start":
        click.echo(f"step {best} beat the start in training, not when served: what is written is the start")
    else:
        click.echo(f"validation nDCG@10 {before:.4f} -> {after:.4f} at step {best}")
    for name, line in account["test"].items():
        interval = "" if line["ci95"] is None else "  95 % {:+.4f} .. {:+.4f}".format(*line["ci95"])
        click.echo(
            f"{name:16} {line['queries']} test queries: nDCG@10 {line['start']:.4f} -> {line['trained']:.4f} "
            f"({line['delta']:+.4f}{interval})"
        )
    click.echo(f"written to {folder.path}")
