"""The signals, each worked by hand on a few documents."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.signals.authority import authority, pagerank
from indexer.signals.freshness import aging, freshness, half_life_for
from indexer.signals.novelty import novelty
from indexer.signals.popularity import fit_knots, popularity
from indexer.signals.scaling import feature, mid_quantile

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


class TestMidQuantile:
    def test_ties_share_and_order_is_kept(self):
        # below + half of the equals: 0+1, 2+.5, 3+.5, 0+1 of 4
        assert mid_quantile(np.array([5.0, 7.0, 9.0, 5.0])).tolist() == [0.25, 0.625, 0.875, 0.25]

    def test_one_all_equal_and_none(self):
        assert mid_quantile(np.array([3.0])).tolist() == [0.5]
        assert mid_quantile(np.array([3.0, 3.0, 3.0])).tolist() == [0.5, 0.5, 0.5]
        assert mid_quantile(np.array([])).tolist() == []

    @given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
    def test_the_mean_is_one_half_as_for_a_missing_feature(self, values):
        shares = mid_quantile(np.array(values)).tolist()
        assert math.fsum(shares) / len(shares) == pytest.approx(0.5)
        assert all(0.0 < share < 1.0 for share in shares)
        pairs = list(zip(values, shares, strict=True))
        assert all((a < b) == (x < y) for a, x in pairs for b, y in pairs)


class TestPageRank:
    def test_a_chain_by_hand(self):
        # 0 -> 1, damping 1/2: p0 = 1/4 + p1/4, p1 = p0/2 + 1/4 + p1/4 (1 links nowhere: its mass goes to both alike)
        ranks = pagerank([0], [1], 2, damping=0.5)
        assert ranks.scores.tolist() == pytest.approx([0.4, 0.6], abs=1e-9)
        assert ranks.converged
        assert ranks.links == 1

    def test_repeated_links_count_once_and_links_to_oneself_not_at_all(self):
        plain = pagerank([0, 1], [1, 2], 3)
        noisy = pagerank([0, 0, 1, 2], [1, 1, 2, 2], 3)
        assert noisy.links == plain.links == 2
        assert noisy.scores.tolist() == pytest.approx(plain.scores.tolist())

    def test_no_links_is_uniform_and_no_documents_nothing(self):
        assert pagerank([], [], 4).scores.tolist() == [0.25] * 4
        assert pagerank([], [], 0).scores.tolist() == []

    @pytest.mark.parametrize(("documents", "edges", "damping"), [(300, 900, 0.85), (50, 5, 0.85), (80, 2000, 0.5)])
    def test_equals_networkx(self, documents, edges, damping):
        networkx = pytest.importorskip("networkx")
        rng = random.Random(documents)
        pairs = {(rng.randrange(documents), rng.randrange(documents // 2)) for _ in range(edges)}
        pairs = {(a, b) for a, b in pairs if a != b}
        graph = networkx.DiGraph()
        graph.add_nodes_from(range(documents))
        graph.add_edges_from(pairs)
        expected = networkx.pagerank(graph, alpha=damping, tol=1e-13, max_iter=1000)
        ranks = pagerank([a for a, _ in pairs], [b for _, b in pairs], documents, damping=damping)
        assert ranks.scores.tolist() == pytest.approx([expected[each] for each in range(documents)], abs=1e-6)
        assert ranks.converged
        assert ranks.scores.sum() == pytest.approx(1.0)

    @pytest.mark.parametrize("seed", range(3))
    def test_equals_networkx_when_readers_start_at_trusted_documents(self, seed):
        networkx = pytest.importorskip("networkx")
        rng = random.Random(seed)
        pairs = {(rng.randrange(90), rng.randrange(60)) for _ in range(300)}
        pairs = {(a, b) for a, b in pairs if a != b}
        trust = [rng.choice([None, 0.0, 1.0, 5.0, -2.0]) for _ in range(90)]
        graph = networkx.DiGraph()
        graph.add_nodes_from(range(90))
        graph.add_edges_from(pairs)
        seeds = {each: max(value or 0.0, 0.0) for each, value in enumerate(trust)}
        expected = networkx.pagerank(graph, personalization=seeds, tol=1e-13, max_iter=1000)
        ranks = pagerank([a for a, _ in pairs], [b for _, b in pairs], 90, trust=trust, seed_share=1.0)
        assert ranks.scores.tolist() == pytest.approx([expected[each] for each in range(90)], abs=1e-6)

    def farm(self, seed=7):
        """An honest web of 200, and 50 pages whose only links go to page 200, which nobody else links to."""
        rng = random.Random(seed)
        links = [(page, rng.randrange(100)) for page in range(200) for _ in range(4)]
        links += [(page, 200) for page in range(201, 251)]
        trust = [1.0 if page < 20 else None for page in range(251)]
        owners = [*range(200), *[200] * 51]
        return [a for a, _ in links], [b for _, b in links], trust, owners

    def place(self, ranks):
        """The place of the farm's page among all, 1 the best."""
        return 1 + int((ranks.scores > ranks.scores[200]).sum())

    def test_a_planted_link_farm_is_damped(self):
        sources, targets, trust, owners = self.farm()
        plain = pagerank(sources, targets, 251)
        assert self.place(plain) == 1, "otherwise this shows nothing"
        trusted = pagerank(sources, targets, 251, trust=trust, seed_share=1.0)
        assert trusted.scores[200] == pytest.approx(0.0, abs=1e-12)
        assert self.place(pagerank(sources, targets, 251, trust=trust, seed_share=0.9)) > 80
        one_vote = pagerank(sources, targets, 251, voters=[*owners[:200], -1, *owners[201:]])
        assert self.place(one_vote) > 60
        own = pagerank(sources, targets, 251, voters=owners)
        assert own.scores[200] == own.scores[201], "links within one owner count not at all"
        honest = pagerank(sources[:800], targets[:800], 251)
        best = np.argsort(-honest.scores)[:20]
        assert set(np.argsort(-own.scores)[:20]) == set(best)

    def test_two_votes_of_one_owner_by_hand(self):
        # 0 and 1 belong together and both link to 2, half a vote each; what they do not pass on starts anew.
        ranks = pagerank([0, 1], [2, 2], 3, damping=0.5, voters=[4, 4, -1])
        # base b: p0 = p1 = b, p2 = b + .5(p0/2 + p1/2) = 1.5 b, and all sum to 1
        assert ranks.scores.tolist() == pytest.approx([1 / 3.5, 1 / 3.5, 1.5 / 3.5], abs=1e-9)
        alone = pagerank([0, 1], [2, 2], 3, damping=0.5)
        assert alone.scores.tolist() == pytest.approx([0.25, 0.25, 0.5], abs=1e-9)

    def test_a_graph_that_swings_is_reported_as_not_converged(self):
        ranks = pagerank([0, 1, 2], [1, 0, 0], 3, damping=0.99)
        assert not ranks.converged
        assert ranks.iterations == 200


class TestAuthority:
    def test_documents_nobody_links_to_are_lowest_and_known(self):
        found = authority(pagerank([0, 1, 3], [2, 2, 1], 4), [None] * 4, link_share=0.5)
        assert found == [0.25, 0.625, 0.875, 0.25]

    def test_trust_alone_where_there_are_no_links(self):
        assert authority(None, [10.0, None, 900.0], link_share=0.5) == [0.25, None, 0.75]
        assert authority(pagerank([], [], 3), [None, None, None], link_share=0.5) == [None, None, None]

    def test_both_are_joined_by_the_stated_formula(self):
        ranks = pagerank([0, 1, 3], [2, 2, 1], 4)
        found = authority(ranks, [5.0, None, None, 1.0], link_share=0.8)
        assert found == pytest.approx([0.8 * 0.25 + 0.2 * 0.75, 0.625, 0.875, 0.8 * 0.25 + 0.2 * 0.25])

    def test_equal_ranks_tie_although_their_sums_differ_in_the_last_digit(self):
        # 0 gets a tenth from each of ten pages, 10 gets all of one such page: ten tenths are not quite one in binary.
        links = [(page, linked) for page in range(11, 21) for linked in range(10)] + [(21, 10)]
        ranks = pagerank([source for source, _ in links], [target for _, target in links], 22)
        assert ranks.scores[0] != ranks.scores[10], "otherwise this shows nothing"
        found = authority(ranks, [None] * 22, link_share=0.5)
        assert found[0] == found[10] == 0.75
        assert set(found[11:]) == {0.25}


class TestFreshness:
    def test_by_hand(self):
        dates = [NOW, days_ago(100), days_ago(300), None, NOW + timedelta(days=9)]
        assert freshness(dates, now=NOW, half_life_days=100) == [1.0, 0.5, 0.25, None, 1.0]

    def test_types_have_half_lives_of_their_own_and_some_do_not_age(self):
        dates = [days_ago(100)] * 3 + [None]
        assert freshness(dates, now=NOW, half_life_days=100, own=[None, 25.0, 0.0, 25.0]) == [0.5, 0.2, None, None]
        assert aging(NOW, None, common=100.0) == {"published_at": "2024-01-01T00:00:00Z"}
        assert aging(NOW, 25.0, common=100.0) == {"published_at": "2024-01-01T00:00:00Z", "half_life_days": 25.0}
        assert aging(NOW, 100.0, common=100.0).keys() == {"published_at"}
        assert aging(NOW, 0.0, common=100.0) == aging(None, 25.0, common=100.0) == {}

    def test_the_half_life_is_the_median_age_and_at_least_a_year(self):
        assert half_life_for([days_ago(1000), days_ago(3000), None, days_ago(2000)], now=NOW) == 2000.0
        assert half_life_for([days_ago(10), days_ago(20)], now=NOW) == 365.0
        assert half_life_for([None, None], now=NOW) == 365.0
        assert half_life_for([], now=NOW) == 365.0


class TestPopularity:
    def test_by_hand(self):
        counts = [{"views": 0.0}, {"views": 9.0, "clicks": 99.0}, {"views": 99.0}, {}, {"views": -4.0}]
        knots = {"views": 99.0, "clicks": 99.0}
        found = popularity(counts, knots=knots, weights={"views": 1.0, "clicks": 3.0})
        # log 10 / log 100 is 1/2; (1 * 1/2 + 3 * 1) / 4
        assert found == [0.0, 0.875, 1.0, None, 0.0]

    def test_counts_above_the_knot_are_1_and_unweighted_kinds_do_not_count(self):
        assert popularity([{"views": 1e12, "shown": 5.0}], knots={"views": 10.0}, weights={"views": 1.0}) == [1.0]
        assert popularity([{"shown": 5.0}], knots={"shown": 10.0}, weights={"shown": 0.0}) == [None]

    def test_knots_are_the_99th_percentile_of_what_is_above_0(self):
        counts = [{"views": float(each)} for each in range(101)] + [{"views": 0.0}] * 50
        assert fit_knots(counts, {"views": 1.0, "absent": 1.0}) == {"views": 99.01}

    def test_a_quiet_collection_makes_no_stars(self):
        assert fit_knots([{"clicks": 1.0}, {}], {"clicks": 1.0}) == {"clicks": 10.0}
        assert fit_knots([{"score": -3.0}], {"score": 1.0}) == {"score": 10.0}
        assert fit_knots([], {"score": 1.0}) == {}
        found = popularity([{"clicks": 1.0}], knots={"clicks": 10.0}, weights={"clicks": 1.0})
        assert found == [pytest.approx(math.log(2) / math.log(11), abs=1e-6)]

    @given(st.lists(st.floats(0, 1e9), min_size=2, max_size=20))
    def test_more_is_never_less_popular(self, values):
        counts = [{"views": value} for value in sorted(values)]
        found = popularity(counts, knots=fit_knots(counts, {"views": 1.0}), weights={"views": 1.0})
        assert found == sorted(found)
        assert all(0.0 <= value <= 1.0 for value in found)


class TestNovelty:
    VECTORS = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], dtype=np.float32)

    @pytest.mark.parametrize("block", [1, 2, 3, 1024])
    def test_by_hand_whatever_the_block(self, block):
        dates = [days_ago(40), days_ago(30), days_ago(20), days_ago(10)]
        assert novelty(self.VECTORS, dates, block=block) == [1.0, 1.0, 0.0, 0.2]
        # The other way round: the last is first, and .8 of it is in the second, .6 in the third.
        assert novelty(self.VECTORS, dates[::-1], block=block) == [0.0, 0.2, 0.4, 1.0]

    def test_documents_of_one_date_come_in_load_order(self):
        assert novelty(self.VECTORS, [NOW] * 4) == [1.0, 1.0, 0.0, 0.2]

    def test_undated_documents_have_none_and_take_none(self):
        assert novelty(self.VECTORS, [None, NOW, NOW, None]) == [None, 1.0, 1.0, None]
        assert novelty(self.VECTORS, [None] * 4) == [None] * 4
        assert novelty(np.zeros((0, 2), dtype=np.float32), []) == []

    def test_opposites_are_no_more_than_new(self):
        assert novelty(np.array([[1, 0], [-1, 0]], dtype=np.float32), [NOW, NOW]) == [1.0, 1.0]

    def test_progress_adds_up(self):
        steps: list[int] = []
        novelty(self.VECTORS, [NOW] * 4, block=3, advance=steps.append)
        assert steps == [3, 1]

    def test_equals_the_plain_double_loop(self):
        rng = np.random.default_rng(3)
        vectors = rng.normal(size=(60, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        dates = [None if rng.random() < 0.2 else days_ago(float(rng.integers(0, 20))) for _ in range(60)]
        expected: list[float | None] = []
        for place, date in enumerate(dates):
            earlier = [
                float(vectors[place] @ vectors[other])
                for other, its in enumerate(dates)
                if its is not None and date is not None and (its, other) < (date, place)
            ]
            expected.append(None if date is None else min(1.0, 1.0 - max(earlier, default=0.0)))
        assert novelty(vectors, dates, block=7) == [
            None if value is None else pytest.approx(value, abs=2e-6) for value in expected
        ]


def test_a_feature_has_six_digits_and_stays_in_range():
    assert [feature(value) for value in (-1.0, 1 / 3, 2.0, 1e-9)] == [0.0, 0.333333, 1.0, 0.0]
