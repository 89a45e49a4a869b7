"""Teachers: scores made once and kept, mixed by what they are worth, and never a number that is none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rerank_plugin.errors import DataError
from rerank_plugin.models.folder import Layout, ModelFolder, default_model_folder
from rerank_plugin.models.types import Encoded, Interaction
from rerank_plugin.training import teachers
from rerank_plugin.training.calibrate import Window
from rerank_plugin.training.teachers import FIRST_STAGE, ScoreFile, scored_places, scorer_of, standardised, taught
from training.training_samples import window

pytestmark = pytest.mark.train


class Longer:
    """A cross-encoder to which a longer text is the better one."""

    name = "longer"

    def __init__(self) -> None:
        self.read: list[str] = []

    def interact(self, query: str, texts: Sequence[str]) -> Interaction:
        self.read += texts
        return Interaction(np.array([len(text) for text in texts], dtype=np.float32), np.zeros(len(texts), np.bool_))


class Letters:
    """An encoder by the shares of a and b."""

    name, dimensions = "letters", 2

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.read += texts
        found = np.array([[text.count("a"), text.count("b")] for text in texts], dtype=np.float32)
        return Encoded(found / np.linalg.norm(found, axis=1, keepdims=True), np.zeros(len(texts), np.bool_))


def folder(name: str, layout: Layout | None = None) -> ModelFolder:
    manifest = SimpleNamespace(max_tokens=64, layout=layout or Layout(), interaction={})
    return SimpleNamespace(name=f"{name}@0", manifest=manifest)  # type: ignore[return-value]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the folders of these names open as."""
    found: dict[str, Any] = {"longer@0": Longer(), "letters@0": Letters()}
    monkeypatch.setattr(teachers, "open_model", lambda opened: found[opened.name])
    return found


@contextmanager
def quiet(_label: str, _steps: int) -> Iterator[Any]:
    yield lambda: None


def ask(windows: Sequence[Window], names: Sequence[str], cache: Path, most: int = 40) -> teachers.Taught:
    return taught(windows, [folder(name) for name in names], most=most, cache=cache, progress=quiet)


#: The relevant text is the longest; the first stage ranks it last.
TEXTS = ["bb b", "a b", "aa b b", "aaa b b long text"]


def test_the_mix_is_fitted_on_the_labels(models: dict[str, Any], tmp_path: Path) -> None:
    windows = [window(f"a {place}", TEXTS, [3]) for place in range(3)]
    said = ask(windows, ["longer"], tmp_path / "scores")
    assert said.slopes["longer@0"] > 1
    assert said.slopes[FIRST_STAGE] == 0  # it is wrong every time
    assert said.ndcg == 1.0
    spread = standardised(np.array([len(text) for text in TEXTS], dtype=float))
    for each in said.windows:
        assert each.taught is not None
        assert each.taught == pytest.approx(said.slopes["longer@0"] * spread, abs=1e-3)


def test_a_teacher_worth_nothing_gets_no_say(models: dict[str, Any], tmp_path: Path) -> None:
    """Its best is the relevant one as often as any other; the first stage is right."""
    order = [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]
    windows = [window("a", [TEXTS[place] for place in places], [0, 1]) for places in order]
    said = ask(windows, ["longer"], tmp_path / "scores")
    assert said.slopes[FIRST_STAGE] > 5 * said.slopes["longer@0"]
    assert said.ndcg == 1.0


def test_scores_are_made_once(models: dict[str, Any], tmp_path: Path) -> None:
    windows = [window(f"a {place}", TEXTS, [3]) for place in range(3)]
    first = ask(windows, ["longer", "letters"], tmp_path / "scores")
    assert len(models["longer@0"].read) == 3 * 4
    assert sorted(models["letters@0"].read) == sorted([*TEXTS, "a 0", "a 1", "a 2"])  # a text once, whoever found it
    for each in models.values():
        each.read.clear()
    again = ask(windows, ["longer", "letters"], tmp_path / "scores")
    assert [models[name].read for name in models] == [[], []]
    assert again.slopes == first.slopes
    for one, other in zip(first.windows, again.windows, strict=True):
        assert np.array_equal(one.taught, other.taught)  # type: ignore[arg-type]


def test_after_a_kill_the_rest_is_made(models: dict[str, Any], tmp_path: Path) -> None:
    windows = [window(f"a {place}", TEXTS, [3]) for place in range(3)]
    whole = ask(windows, ["longer"], tmp_path / "scores")
    lines = (tmp_path / "scores").read_bytes().splitlines(keepends=True)
    (tmp_path / "scores").write_bytes(b"".join(lines[:-1]) + lines[-1][:30])  # cut off in the last line
    models["longer@0"].read.clear()
    assert ask(windows, ["longer"], tmp_path / "scores").slopes == whole.slopes
    assert len(models["longer@0"].read) == 4
    models["longer@0"].read.clear()
    ask(windows, ["longer"], tmp_path / "scores")  # the line behind the broken one is whole
    assert models["longer@0"].read == []


def test_other_texts_queries_teachers_and_prefixes_are_scored_anew(models: dict[str, Any], tmp_path: Path) -> None:
    models["other@0"] = models["longer@0"]

    def count(found: Window, told: ModelFolder) -> int:
        models["longer@0"].read.clear()
        taught([found], [told], most=9, cache=tmp_path / "scores", progress=quiet)
        return len(models["longer@0"].read)

    one = window("a", TEXTS, [3])
    assert count(one, folder("longer")) == 4
    assert count(one, folder("longer")) == 0
    assert count(window("b", TEXTS, [3]), folder("longer")) == 4
    assert count(window("a", [*TEXTS[:3], "other than it was"], [3]), folder("longer")) == 4
    assert count(one, folder("other")) == 4
    assert count(one, folder("longer", Layout(query_prefix="query: "))) == 4


def test_lines_that_are_no_scores_are_passed_over(tmp_path: Path) -> None:
    kept = ScoreFile(tmp_path / "scores")
    kept.put("one", np.array([0.5, 1.0]))
    bad = ['{"key": "two", "scores": [NaN]}', '{"key": "three"}', "[1]", '{"key": "four", "scores": ["x"]}', "\x00"]
    with (tmp_path / "scores").open("a") as file:
        file.writelines("\n" + line for line in bad)
    kept = ScoreFile(tmp_path / "scores")
    assert kept.get("one", 2) is not None
    assert kept.get("one", 3) is None  # of another window
    assert [kept.get(key, 1) for key in ("two", "three", "four")] == [None, None, None]


def test_what_teachers_look_at() -> None:
    """The first ones, and relevant ones wherever they stand; nothing without a text."""
    found = window("q", ["a", " ", "b", "c", "d"], [4])
    assert scored_places(found, 3) == [0, 2, 4]


def test_what_was_not_scored_is_no_number(models: dict[str, Any], tmp_path: Path) -> None:
    said = ask([window("a", [*TEXTS, "never seen"], [3])], ["longer"], tmp_path / "scores", most=2)
    found = said.windows[0].taught
    assert found is not None
    assert [math.isnan(each) for each in found] == [False, False, True, False, True]


def test_standard_scores_by_hand() -> None:
    assert standardised(np.array([1.0, 3.0, 5.0])) == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])
    assert standardised(np.array([0.1, 0.1, 0.1])).tolist() == [0, 0, 0]
    assert standardised(np.array([])).tolist() == []


def test_a_window_without_candidates_is_left_as_it_is(models: dict[str, Any], tmp_path: Path) -> None:
    nothing = Window(window("a", [], []).request, None, {"missed": 1})
    said = ask([nothing, window("a", TEXTS, [3])], ["letters"], tmp_path / "scores")
    assert said.windows[0].taught is not None
    assert said.windows[0].taught.shape == (0,)
    assert said.ndcg == 0.5  # what retrieval missed counts as 0


def test_refusals_are_one_line(models: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 training queries found a relevant and an irrelevant document"):
        ask([window("a", TEXTS, [])], ["longer"], tmp_path / "scores")
    models["longer@0"].interact = lambda query, texts: Interaction(
        np.full(len(texts), np.nan, np.float32), np.zeros(len(texts), np.bool_)
    )
    with pytest.raises(DataError, match="the teacher longer@0 gives a score that is no number to 'b'"):
        ask([window("b", TEXTS, [3])], ["longer"], tmp_path / "scores")


def test_the_shipped_trunk_teaches_by_its_cosines() -> None:
    """Its attention is shut, so its logit is the cosine, at twice the cost."""
    shipped = ModelFolder.open(default_model_folder())
    texts = ["a heron by the river", "the price of iron"]
    found = scorer_of(shipped)("water birds", texts)
    logits = teachers.open_model(shipped).interact("water birds", texts).logits  # type: ignore[union-attr]
    assert found == pytest.approx(logits, abs=0.02)
    assert found[0] > found[1] + 0.1
