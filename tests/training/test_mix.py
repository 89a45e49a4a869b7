"""The mix that is trained is the sum that serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.domain.features import Features
from rerank_plugin.ranking.blend import blend
from rerank_plugin.ranking.relevance import Fit
from rerank_plugin.training.balance import Balance
from rerank_plugin.training.groups import Group
from rerank_plugin.training.loop import head_of, rates
from rerank_plugin.training.mix import Collator, Mix
from rerank_plugin.training.objective import balance_of, losses_of
from rerank_plugin.training.settings import Settings
from training.training_samples import reader, small_trunk, window

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

FIT = Fit(intercept=-2.0, log_score=0.7, relative_score=1.3, cosine=4.0)
WEIGHTS = Weights(authority=0.5, freshness=0.2)


def mix(opened: float = -1.0, fit: Fit = FIT) -> Mix:
    return Mix(small_trunk(), fit=fit, weights=WEIGHTS, opened=opened, balance=Balance({"relevance": 1.0}))


def group(size: int = 4, query: str = "latest sorting") -> Group:
    features = [Features(authority=0.1 * place, freshness=0.9 - 0.1 * place) for place in range(size)]
    texts = [f"document about sorting {'and more ' * place}" for place in range(size)]
    found = window(query, texts, [1], cosines=[0.1 * place for place in range(size)], features=features)
    gates = tuple(found.asked[factor] for factor in PRIORS)
    return Group(query, found.request.candidates, tuple(found.grades.tolist()), float(size), gates)


def test_z_final_is_that_of_the_serving_code() -> None:
    tested, one = mix(), group()
    batch = Collator(reader())([one, group(2, "sorting")])["batch"]
    with torch.no_grad():
        said = tested(batch)
    head = head_of(tested)
    zs = [
        head.z(each.retrieval_score, one.top, cosine=each.cosine, interaction=float(said.interaction[0, place]))
        for place, each in enumerate(one.candidates)
    ]
    gates = dict(zip(PRIORS, one.gates, strict=True))
    served = [each.z_final for each in blend(zs, one.candidates, WEIGHTS, gates)]
    assert said.z_final[0].numpy() == pytest.approx(np.array(served), abs=1e-5)


def test_it_starts_at_the_order_of_the_fit() -> None:
    """Shut, the trunk's logit is a cosine, so both halves of the cosine's slope act on a cosine."""
    start = mix(opened=-1e4)
    assert start.slopes.tolist() == pytest.approx([0.7, 1.3, 2.0, 2.0])
    again = mix(fit=Fit(intercept=0.0, log_score=0.7, relative_score=1.3, cosine=3.0, interaction=1.5))
    assert again.slopes.tolist() == pytest.approx([0.7, 1.3, 3.0, 1.5])


def test_a_batch_moves_as_a_whole() -> None:
    moved = Collator(reader())([group(), group(2)])["batch"].to("meta", non_blocking=True)
    parts = [*moved.rows.values(), moved.mask, moved.given, moved.utilities, moved.known, moved.gates, moved.grades]
    parts += [moved.labelled]
    assert {each.device.type for each in parts} == {"meta"}


def taught(one: Group, *said: float, labelled: tuple[bool, ...] = ()) -> Group:
    return replace(one, taught=said, labelled=labelled)


def test_teachers_speak_of_relevance_and_labels_of_the_final_order() -> None:
    """A student that says what the teacher says has nothing to learn from it, whatever the factors add."""
    tested, collate = mix(), Collator(reader())
    one, settings = group(), Settings(authority_loss=0, freshness_loss=0, novelty_loss=0, popularity_loss=0)
    plain = collate([one])["batch"]
    assert plain.taught is None
    with torch.no_grad():
        said = tested(plain)
        labels = losses_of(said, plain, settings)["relevance"].item()
    assert (said.z_final - said.relevance)[0].tolist() == pytest.approx(
        [
            sum(WEIGHTS[factor] * gate * (use - 0.5) for factor, gate, use in zip(PRIORS, one.gates, uses, strict=True))
            for uses in one.utilities
        ],
        abs=1e-5,
    )
    agreed = taught(one, *(said.relevance[0] + 3.0).tolist())
    for loss in ("listwise", "margin_mse"):
        for share in (0.0, 0.25, 1.0):
            told = replace(settings, distill=share, distill_loss=loss)
            batch = collate([agreed])["batch"]
            assert batch.to("meta").taught is not None
            assert losses_of(said, batch, told)["relevance"].item() == pytest.approx((1 - share) * labels, abs=1e-5)
    against = collate([taught(one, *(-said.relevance[0]).tolist())])["batch"]
    for loss in ("listwise", "margin_mse"):
        told = replace(settings, distill=1.0, distill_loss=loss)
        assert losses_of(said, against, told)["relevance"].item() > 0.01


def test_a_label_that_is_not_believed_counts_for_nothing() -> None:
    tested, collate, settings = mix(), Collator(reader()), Settings(distill=0.0)
    one = group()
    doubted = taught(one, 0.0, 0.0, 0.0, 0.0, labelled=(True, True, False, True))
    without = [place for place in range(4) if place != 2]
    candidates, grades = tuple(one.candidates[p] for p in without), tuple(one.grades[p] for p in without)
    fewer = Group(one.query, candidates, grades, one.top, one.gates)
    with torch.no_grad():
        found, expected = (
            losses_of(tested(batch), batch, settings)["relevance"].item()
            for batch in (collate([each])["batch"] for each in (doubted, fewer))
        )
    assert found == pytest.approx(expected, abs=1e-5)


def test_padding_changes_nothing() -> None:
    tested, collate = mix(), Collator(reader())
    with torch.no_grad():
        alone = tested(collate([group(2)])["batch"])
        beside = tested(collate([group(2), group(6)])["batch"])
    assert beside.z_final[0, :2].numpy() == pytest.approx(alone.z_final[0].numpy(), abs=1e-5)
    assert beside.z_final[0, 2:].tolist() == [0.0] * 4


def test_what_the_tuning_leaves_alone_gets_no_gradient() -> None:
    for tuning, frozen, layers in (("head", 0, []), ("full", 0, [0, 1]), ("full", 1, [1]), ("full", 2, [])):
        tested = mix()
        settings = Settings(tuning=tuning, frozen_layers=frozen)
        groups = rates(tested, settings)
        losses_of(tested(Collator(reader())([group()])["batch"]), Collator(reader())([group()])["batch"], settings)[
            "relevance"
        ].backward()
        moved = [place for place, layer in enumerate(tested.trunk.layers) if next(layer.parameters()).grad is not None]
        assert moved == layers
        assert tested.trunk.segment_bias.grad is not None
        embedded = next(tested.trunk.embeddings.parameters()).requires_grad
        assert embedded == (tuning == "full" and frozen == 0)
        assert len({id(each) for one in groups for each in one["params"]}) == sum(len(one["params"]) for one in groups)


def test_lower_layers_learn_slower() -> None:
    settings = Settings(learning_rate=1e-4, layer_decay=0.5)
    assert [one["lr"] for one in rates(mix(), settings)[1:]] == pytest.approx([2.5e-5, 5e-5, 1e-4])


@pytest.mark.parametrize("loss", ["listwise", "ranknet", "lambda", "pointwise"])
@pytest.mark.parametrize("method", ["fixed", "uncertainty", "stochastic"])
def test_every_loss_in_every_balance_teaches_trunk_and_slopes(loss: str, method: str) -> None:
    settings = Settings(loss=loss, balance=method)
    tested = Mix(small_trunk(), fit=FIT, weights=WEIGHTS, opened=-1.0, balance=balance_of(settings))
    batch = Collator(reader())([group(), group(3)])["batch"]
    total = sum(tested.balance(losses_of(tested(batch), batch, settings)) for _ in range(12))
    total.backward()
    assert torch.isfinite(total)
    assert tested.log_slopes.grad is not None
    assert bool(tested.log_slopes.grad.abs().sum() > 0)
    assert bool(torch.isfinite(tested.heads.weight.grad).all())
