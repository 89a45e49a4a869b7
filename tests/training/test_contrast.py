"""Every query against the documents of the whole batch, each text read alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.errors import ConfigError
from rerank_plugin.ranking.relevance import Fit
from rerank_plugin.training.balance import Balance
from rerank_plugin.training.contrast import SCALE, Alone
from rerank_plugin.training.groups import Group, Groups
from rerank_plugin.training.loop import outputs, rates
from rerank_plugin.training.mix import Batch, Collator, Mix
from rerank_plugin.training.objective import balance_of, losses_of
from rerank_plugin.training.settings import Settings
from training.test_loop import SETTINGS, run
from training.training_samples import reader, small_trunk, window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

NO_HEADS = {f"{factor}_loss": 0.0 for factor in PRIORS}
SORTS, PLANTS = ("quick sort", "merge sort", "bubble sort"), ("an oak", "a rose")


def group(query: str, texts: tuple[str, ...], relevant: int = 0, *, prefix: str = "d", collection: str = "") -> Group:
    """Documents ``prefix``0, ``prefix``1, ..., all of one first-stage score but for their places."""
    found = window(query, texts, [relevant])
    renamed = tuple(replace(each, doc_id=f"{prefix}{place}") for place, each in enumerate(found.request.candidates))
    grades = tuple(float(place == relevant) for place in range(len(texts)))
    judged = {f"{prefix}{relevant}": 1}
    return Group(query, renamed, grades, float(len(texts)), (0.2,) * 4, judgments=judged, collection=collection)


def both() -> list[Group]:
    return [group("sorting", SORTS), group("plants", PLANTS, 1, prefix="p")]


def alone(*groups: Group) -> Alone:
    return Alone.of(groups, reader())


def mix(opened: float = -1.0) -> Mix:
    fit = Fit(intercept=0.0, log_score=0.7, relative_score=1.3, cosine=4.0)
    return Mix(small_trunk(), fit=fit, weights=Weights(), opened=opened, balance=Balance({"relevance": 1.0}))


def collated(groups: list[Group]) -> Batch:
    return Collator(reader(), alone=True)(groups)["batch"]


def test_the_documents_of_all_queries_stand_once() -> None:
    found = alone(*both(), group("oaks", ("an oak", "quick sort"), prefix="x"))
    assert found.grades.tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
    ]
    assert found.place.tolist() == [[0, 1, 2], [3, 4, 0], [5, 6, 0]]
    shared = alone(group("sorting", SORTS), replace(group("merging", SORTS[:2], 1), judgments={"d1": 2, "d2": 1}))
    assert len(shared.written) == 3
    assert shared.grades.tolist() == [[1, 0, 0], [0, 2, 1]]  # what another query found is judged for this one too
    assert shared.place.tolist() == [[0, 1, 2], [0, 1, 0]]


def test_equal_ids_of_two_collections_are_two_documents() -> None:
    found = alone(group("sorting", SORTS, collection="a"), group("plants", PLANTS, 1, collection="b"))
    assert len(found.written) == 5
    assert found.grades.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_what_is_not_believed_has_no_part() -> None:
    one, other = both()
    doubted = replace(one, labelled=(True, False, True), open=frozenset({"d2", "elsewhere"}))
    assert alone(doubted, other).believed.tolist() == [[True, False, False, True, True], [True] * 5]
    empty = group("sorting", ("quick sort", " "))
    assert alone(empty, other).believed[:, 1].tolist() == [False, False]


def test_the_collections_name_goes_with_what_is_not_believed() -> None:
    one = replace(group("sorting", SORTS, collection="a"), open=frozenset({"d0", "d1"}))
    assert alone(one, group("plants", PLANTS, collection="b")).believed[0].tolist() == [False, False, True, True, True]


def test_cosines_are_those_of_the_texts_apart_whatever_the_attention() -> None:
    tested, batch = mix(opened=-0.5), collated([*both(), group("nothing", ("", "a text"), 1, prefix="e")])
    assert batch.alone is not None
    with torch.no_grad():
        said = tested.eval()(batch)
        asked = outputs(tested.trunk, reader(), reader().texts(["sorting", "plants", "nothing"]), 0)
        read = outputs(tested.trunk, reader(), reader().texts([*SORTS, *PLANTS, "", "a text"]), 0)
    expected = asked @ read.T
    expected[:, 5] = 0.0  # serving knows no cosine where there is no text
    assert torch.allclose(said.cosines, expected, atol=1e-5)


def test_z_has_the_cosines_of_now() -> None:
    tested, groups = mix(), both()
    with torch.no_grad():
        now = tested.eval()(collated(groups))
        told = [
            replace(
                each,
                candidates=tuple(
                    replace(one, cosine=float(now.cosines[row, 3 * row + place]))
                    for place, one in enumerate(each.candidates)
                ),
            )
            for row, each in enumerate(groups)
        ]
        later = tested(Collator(reader())(told)["batch"])
    assert later.cosines is None
    assert torch.allclose(now.z_final, later.z_final, atol=1e-5)


def test_the_loss_by_hand() -> None:
    found = alone(*both())
    cosines = torch.tensor([[0.5, 0.4, 0.3, 0.45, 0.0], [0.0, 0.0, 0.1, 0.2, 0.25]])
    rows = ((0.5, [0.5, 0.4, 0.3, 0.45, 0.0]), (0.25, [0.0, 0.0, 0.1, 0.2, 0.25]))
    expected = [math.log(sum(math.exp(20 * each) for each in row)) - 20 * own for own, row in rows]
    assert SCALE == 20.0
    assert found.loss(cosines).item() == pytest.approx(sum(expected) / 2, abs=1e-5)


def test_the_loss_counts_as_told_and_reaches_the_trunk() -> None:
    settings = Settings(contrast=0.5, **NO_HEADS)
    assert balance_of(settings).weights == {"relevance": 1.0, "contrast": 0.5}
    tested = mix()
    rates(tested, settings)
    batch = collated(both())
    losses = losses_of(tested.train()(batch), batch, settings)
    assert set(losses) == {"relevance", "contrast"}
    losses["contrast"].backward()
    gradients = [each.grad for layer in tested.trunk.layers for each in layer.parameters()]
    assert all(each is not None for each in gradients)
    assert tested.trunk.segment_bias.grad is None or not tested.trunk.segment_bias.grad.any()


def test_it_tells_the_batchs_queries_apart() -> None:
    """What no group can teach: each group holds one document alone that is about its query."""
    settings = Settings(contrast=1.0, learning_rate=1e-2, **NO_HEADS)
    tested, batch = mix(), collated(both())
    optimizer = torch.optim.AdamW(rates(tested, settings))
    assert batch.alone is not None
    first = None
    for _ in range(20):
        loss = losses_of(tested.train()(batch), batch, settings)["contrast"]
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first is not None
    assert loss.item() < 0.2 * first


def test_a_batch_moves_with_its_texts() -> None:
    moved = collated(both()).to("meta", non_blocking=True).alone
    assert moved is not None
    parts = [*moved.asked.values(), *moved.read.values(), moved.place, moved.grades, moved.believed, moved.written]
    assert {each.device.type for each in parts} == {"meta"}


def test_groups_say_what_the_batch_asks_of_them() -> None:
    one = replace(window("sorting", ["a", "b", "c"], [1]), open=frozenset({"d2"}), collection="some")
    drawn = Groups([one], size=2, count=1, margin=1.0, seed=0)[0]
    assert (drawn.judgments, drawn.open, drawn.collection) == ({"d1": 1}, frozenset({"d2"}), "some")


@pytest.mark.parametrize(("told", "said"), [({"tuning": "head"}, "tuning=head"), ({"backbone": "x"}, "backbone")])
def test_it_is_refused_where_no_vector_moves(told: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Settings(contrast=1.0, **told)  # type: ignore[arg-type]


def test_a_run_that_was_cut_off_ends_as_the_whole_one(tmp_path: Path) -> None:
    settings = replace(SETTINGS, contrast=1.0)
    done, mix_of_whole, _ = run(tmp_path / "whole", settings)

    def cut(line: str) -> None:
        if line.startswith("step 9 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings, tell=cut)
    again, mix_of_cut, _ = run(tmp_path / "cut", settings, resume=True)
    assert again == done
    for name, value in mix_of_whole.state_dict().items():
        assert torch.equal(mix_of_cut.state_dict()[name], value), name
    _, without, _ = run(tmp_path / "without", SETTINGS)
    assert not torch.equal(without.log_slopes, mix_of_whole.log_slopes)
