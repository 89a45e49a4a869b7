"""``rerank train`` from a BEIR directory to a model folder that ranks, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.train_samples import SETTINGS, collection, run, written
from rerank_plugin.config import Rerank
from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.features import Features
from rerank_plugin.models.folder import ModelFolder, default_model_folder
from rerank_plugin.models.load import open_model
from rerank_plugin.ranking.load import load_ranker
from rerank_plugin.ranking.types import RankRequest

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]


def test_from_judged_queries_to_a_folder_that_ranks_better(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--precision", "fp32", "--now", "2026-01-01", "--json"]
    status, output, errors = run(capsys, *told)
    assert status == 0, errors
    account = json.loads(output)
    assert account["queries"] == {"vessels": {"train": 8, "dev": 2}}
    assert account["best_step"] in {4, 8}
    assert account["kept"] == "trained"
    assert account["served"]["vessels"]["delta"] > 0
    line = account["test"]["vessels"]
    assert line["queries"] == 10
    assert line["trained"] > line["start"]
    folder = ModelFolder.open(out)  # its checksums are verified
    assert not folder.interaction["closed"]
    assert folder.manifest.metrics["training"]["test"] == account["test"]
    assert "step 4 of 8: nDCG@10" in errors

    # the same order in a process that has no torch
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from rerank_plugin.models.folder import ModelFolder\n"
        "from rerank_plugin.models.load import open_model\n"
        "said = open_model(ModelFolder.open(sys.argv[1])).interact('report of vessel 30', sys.argv[2:])\n"
        "print(said.logits.argmax())"
    )
    texts = ["report of the rejected vessel number 7", "report of the approved vessel number 1"]
    found = subprocess.run([sys.executable, "-c", code, str(out), *texts], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"

    status, _, errors = run(capsys, "--data", str(data), "--out", str(out))
    assert status == 1
    assert errors.startswith(f"Error: {out} holds a run already; go on with it by --resume")

    other = collection(tmp_path / "boats")
    status, _, errors = run(capsys, "--data", str(other), "--out", str(out), "--resume")
    assert status == 1
    assert errors == f"Error: the collections of the run in {out} are vessels, got boats; give the same\n"

    (out / "training.json").unlink()
    status, _, errors = run(capsys, "--data", str(data), "--out", str(out))
    assert status == 1
    assert errors == f"Error: {out} holds a model already; give another --out\n"


def test_an_adapter_serves_from_the_folder_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In eight bits; vectors are made anew in validation, or they would not be those of the adapted trunk."""
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--now", "2026-01-01", "--json"]
    status, output, errors = run(capsys, *told, "--set", "tuning=adapter", "--set", "peft_rate=1e-2")
    assert status == 0, errors
    account = json.loads(output)
    assert (account["kept"], account["settings"]["tuning"]) == ("trained", "adapter")
    folder = ModelFolder.open(out)
    assert folder.manifest.precision == "int8"
    said = open_model(folder).encode(["report of the approved vessel number 1"]).vectors
    before = open_model(ModelFolder.open(default_model_folder())).encode(["report of the approved vessel number 1"])
    assert float(said[0] @ before.vectors[0]) < 0.99  # the adapter is in the graph


def test_a_search_keeps_the_best_of_its_trials(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--set", "max_steps=4", "--set", "validate_every=2"]
    status, output, errors = run(capsys, *told, "--search", "2", "--now", "2026-01-01", "--precision", "fp32", "--json")
    assert status == 0, errors
    account = json.loads(output)
    found = account["search"]
    assert (found["trials"], len(found["dev"])) == (2, 2)
    assert max(found["dev"]) == account["dev"]["after"]
    assert account["settings"] == {**account["settings"], **found["params"]}
    assert json.loads((out / "training.json").read_text())["settings"]["search"] == 2
    assert sum(line.startswith("step ") for line in errors.splitlines()) == 4  # the best is not trained once more
    assert [each.name for each in (out / "search").glob("trial-*")] == [f"trial-{found['best']}"]


def test_pre_training_is_told_kept_and_compared_with_what_ships(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Two trials read one pre-training; ``before`` is measured before it."""
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    steps = ["max_steps=2", "validate_every=2", "pretrain_steps=3", "pretrain_rate=1e-3", "pretrain_anchor=0"]
    told = ["--data", str(data), *SETTINGS, "--now", "2026-01-01", "--precision", "fp32", "--json"]
    told += [part for setting in steps for part in ("--set", setting)]
    status, output, errors = run(capsys, *told, "--out", str(out), "--search", "2")
    assert status == 0, errors
    account = json.loads(output)
    found = account["pretraining"]
    assert (found["steps"], found["documents"], found["held_out"]) == (3, 7, 1)
    assert found["loss_after"] < found["loss_before"]
    assert found["cosine_to_start"] < 1.0
    assert errors.count("pre-training: step 3 of 3: loss of masked tokens") == 1
    assert errors.count(f"pre-trained: nDCG@10 {found['nDCG@10']:.4f} by the start's head") == 3  # two trials, the best
    begun = errors.index(f"validate: nDCG@10 {account['dev']['before']:.4f} at the start")
    assert begun < errors.index("pre-training: step")


def test_a_model_that_reads_statements_says_so_and_serves_by_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--now", "2026-01-01", "--precision", "fp32", "--json"]
    status, output, errors = run(capsys, *told, "--set", "statements=on")
    assert status == 0, errors
    assert json.loads(output)["kept"] == "trained"
    assert ModelFolder.open(out).interaction["statements"] == 1
    ranker = load_ranker(Rerank(model=out))
    text = "report of the approved vessel number 1"

    def z(features: Features, text: str) -> float:
        one = Candidate(doc_id="d", retrieval_rank=1, retrieval_score=1.0, text=text, cosine=0.5, features=features)
        return float(ranker.score([RankRequest(query="report of vessel 30", candidates=(one,))])[0].z[0] or 0.0)

    assert z(Features(novelty=1.0), text) == pytest.approx(z(Features(), f"mostly new. {text}"), abs=1e-6)
    assert z(Features(novelty=1.0), text) != pytest.approx(z(Features(), text), abs=1e-6)


def test_where_nothing_is_better_the_start_is_written_and_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rerank_plugin.wiring.learning import Learning

    worse = {"vessels": {"delta": 0.0, "queries": 1, "start": 0.5, "trained": 0.5, "ci95": None}}
    compared = Learning._compared

    def served(self: Learning, part: str, *more: Any) -> Any:
        return worse if part == "dev" else compared(self, part, *more)

    monkeypatch.setattr(Learning, "_compared", served)
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--precision", "fp32", "--now", "2026-01-01"]
    status, output, errors = run(capsys, *told)
    assert status == 0, errors
    assert "not when served: what is written is the start" in output
    assert "(+0.0000" in output
    shipped = ModelFolder.open(default_model_folder()).manifest
    written = ModelFolder.open(out).manifest
    assert (written.checksums, written.relevance) == (shipped.checksums, shipped.relevance)


def test_two_processes_write_one_folder(tmp_path: Path) -> None:
    """Started by torchrun; the first one says and writes everything, the second one only trains."""
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    code = tmp_path / "rerank.py"
    code.write_text("from rerank_plugin.cli.main import main\nmain()\n")
    told = ["train", "--data", str(data), "--out", str(out), *SETTINGS, "--set", "groups=1", "--precision", "fp32"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    both = [*launcher, str(code), *told, "--set", "max_steps=4", "--json"]
    ended = subprocess.run(both, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    account = json.loads(ended.stdout)
    assert (account["steps"], account["settings"]["groups"]) == (4, 1)
    assert sum(line.startswith("step 4 of 4: ") for line in ended.stderr.splitlines()) == 1
    assert ModelFolder.open(out).manifest.metrics["training"]["test"] == account["test"]
    other = ["train", "--data", str(data), "--out", str(tmp_path / "other"), "--search", "2"]
    ended = subprocess.run([*launcher, str(code), *other], capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode != 0
    assert "Error: a search needs one process, and 2 were started; start one, or leave it out" in ended.stderr


def test_a_corpus_that_asks_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No training judgments: titles cut out of the documents and a teacher teach, the file ``dev`` chooses."""
    data, out = collection(tmp_path / "vessels", splits=("dev", "test")), tmp_path / "model"
    names = ["heron", "gull", "tern", "plover", "avocet", "godwit", "curlew", "dunlin"]
    documents = [
        {"_id": f"d{place}", "title": f"report of vessel {name}", "text": f"{name} is a vessel of the report {text}"}
        for place, name in enumerate(names)
        for text in ["that was approved in the end" if place < 3 else "that was rejected in the end"]
    ]
    written(data / "corpus.jsonl", documents)
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--precision", "fp32", "--now", "2026-01-01", "--json"]
    told += ["--set", "corpus_queries=6", "--set", "corpus_kinds=title", "--max-steps", "4"]
    told += ["--teacher", str(default_model_folder())]
    status, output, errors = run(capsys, *told)
    assert status == 0, errors
    account = json.loads(output)
    assert account["queries"] == {"vessels": {"dev": 10}, "vessels/corpus": {"train": 6}}
    assert account["test"]["vessels"]["queries"] == 10
    assert "6 queries to learn from, 10 validate" in errors
    teacher = ModelFolder.open(default_model_folder()).name
    assert list(account["teachers"]["slopes"]) == ["first stage", teacher]
    assert f"{teacher} " in errors
    assert len((out / "teachers.jsonl").read_text().split()) > 0
    kept = json.loads((out / "training.json").read_text())
    assert (kept["collections"], kept["teachers"]) == (["vessels"], [teacher])

    status, _, errors = run(capsys, "--data", str(data), "--out", str(out), "--resume")
    assert status == 1
    assert errors == f"Error: the teachers of the run in {out} are {teacher}, got none; give the same\n"
    status, _, errors = run(capsys, *told[:2], "--out", str(tmp_path / "other"), *["--teacher", told[-1]] * 2)
    assert (status, errors) == (1, "Error: two of the teachers are the same model; give each once\n")


def test_clicks_teach_and_their_tower_stays_behind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Impressions of tested queries, and of a document that is not there, are left out; the folder has no tower."""
    import onnx
    from safetensors import safe_open

    data, out, log = collection(tmp_path / "vessels"), tmp_path / "model", tmp_path / "events.jsonl"
    events = [
        {"_id": f"d{place}", "event": event, "query": f"report of vessel {n + 20}", "position": place + 1}
        for n in range(20)
        for place in (0, 1, 9)
        for event in ("impression", "click")[: 2 - place % 9]
    ]
    written(log, events)
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--precision", "fp32", "--now", "2026-01-01", "--json"]
    status, output, errors = run(capsys, *told, "--clicks", str(log), "--set", "click_places=3")
    assert status == 0, errors
    account = json.loads(output)
    learned = account["queries"]["vessels"]["train"]
    counts = {"impressions": 2 * learned, "clicks": learned, "queries": learned, "outside": learned}
    assert account["clicks"] == {**counts, "elsewhere": 3 * (20 - learned)}
    assert (
        f"clicks: {learned} of {2 * learned} impressions, {learned} queries; left out: {learned} of documents" in errors
    )
    graph = onnx.load(str(out / ModelFolder.open(out).manifest.files["model"])).graph
    assert [each.name for each in graph.initializer if "lower" in each.name or "clicks" in each.name] == []
    [kept, *_] = sorted((out / "checkpoints").glob("*/model.safetensors"))
    with safe_open(kept, "np") as weights:
        assert weights.get_tensor("clicks.lower").shape == (2,)  # there it must be, or --resume would lose it

    written(log, events[:3])
    status, _, errors = run(capsys, "--data", str(data), "--out", str(out), "--clicks", str(log), "--resume")
    assert status == 1
    assert errors.startswith(f"Error: the clicks of the run in {out} are events.jsonl@")
    none = ["--data", str(data), "--out", str(tmp_path / "other"), "--clicks", str(log), "--set", "popularity_loss=0"]
    status, _, errors = run(capsys, *none)
    assert (status, "popularity_loss is 0; set it above 0" in errors, errors.count("\n")) == (1, True, 1)


def test_queries_that_nobody_judged_get_labels_from_teachers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, out = collection(tmp_path / "vessels"), tmp_path / "model"
    with (data / "queries.jsonl").open("a") as file:  # one of them has the text of a tested query
        file.writelines(json.dumps({"_id": f"u{n}", "text": f"report of vessel {n}"}) + "\n" for n in (36, 50, 51, 52))
    told = ["--data", str(data), "--out", str(out), *SETTINGS, "--precision", "fp32", "--now", "2026-01-01", "--json"]
    told += ["--teacher", str(default_model_folder()), "--max-steps", "4", "--set", "pseudo_queries=9"]
    status, output, errors = run(capsys, *told, "--set", "pseudo_relevant=.5", "--set", "pseudo_irrelevant=.3")
    assert status == 0, errors
    account = json.loads(output)
    assert account["queries"] == {"vessels": {"train": 8, "dev": 2, "unlabelled": 3}}
    labels = account["pseudo_labels"]
    assert labels["relevant"] + labels["irrelevant"] + labels["open"] == 3 * 8
    assert f"pseudo-labels: {labels['queries']} of 3 unjudged queries can teach" in errors


def test_loads_keep_their_state_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings from one directory, or one after a kill -9, must not go on with each other's load."""
    from datetime import UTC, datetime

    from rerank_plugin.cli import loading

    commands: list[list[str]] = []

    def ran(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="{}")

    monkeypatch.setattr(loading.subprocess, "run", ran)
    data = collection(tmp_path / "vessels")
    for scratch in ("one", "two"):
        (tmp_path / scratch).mkdir()
        loading.filled(data, tmp_path / scratch, model=tmp_path, now=datetime(2026, 1, 1, tzinfo=UTC))
    states = [Path(command[command.index("--state") + 1]) for command in commands]
    assert [state.parent for state in states] == [tmp_path / "one", tmp_path / "two"]


@pytest.mark.parametrize(
    ("splits", "arguments", "line"),
    [
        (("test",), [], "has no qrels/train.tsv; training needs judged queries"),
        (("train",), ["--set", "corpus_queries=3", "--set", "corpus_kinds=title"], "no document long enough"),
        (("train",), ["--resume"], "holds no run to resume; leave out --resume"),
        (("train",), ["--resume", "--max-steps", "3"], "--resume goes on with the settings of the run"),
        (("train",), ["--resume", "--search", "3"], "--resume goes on with the settings of the run"),
        (("train",), ["--set", "speed=1"], "unknown setting 'speed'"),
        (("train",), ["--config", "missing.toml"], "missing.toml"),
        (("train",), ["--set", "autocast=fp16"], "autocast=fp16 needs an accelerator, and torch finds none; use bf16"),
        (
            ("train", "dev"),
            ["--set", "augment=.5", "--set", "synonyms=none.txt"],
            "none.txt: No such file or directory",
        ),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, splits: tuple[str, ...], arguments: list[str], line: str
) -> None:
    data = collection(tmp_path / "vessels", splits=splits)
    status, output, errors = run(capsys, "--data", str(data), "--out", str(tmp_path / "model"), *arguments)
    assert (status, output) == (1, "")
    assert line in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "model").exists()
