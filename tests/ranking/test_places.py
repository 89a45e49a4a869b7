"""Documents that keep their places: a law over any order."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_plugin.domain.candidate import Candidate
from rerank_plugin.domain.factors import PRIORS, Weights
from rerank_plugin.ranking.blend import blend, in_order
from rerank_plugin.ranking.passages import each_best
from rerank_plugin.ranking.places import with_kept_places


@given(st.lists(st.tuples(st.booleans(), st.floats(-9, 9)), max_size=12))
def test_what_was_not_read_stays_and_scores_fall_along_the_order(window: list[tuple[bool, float]]) -> None:
    gates = dict.fromkeys(PRIORS, 1.0)
    of = [Candidate(doc_id=str(rank), retrieval_rank=rank + 1, retrieval_score=None) for rank in range(len(window))]
    free = [place for place, (kept, _) in enumerate(window) if not kept]
    read = blend([window[place][1] for place in free], [of[place] for place in free], Weights(), gates)
    unread = {place: (of[place], z) for place, (kept, z) in enumerate(window) if kept}
    placed = with_kept_places(read, unread, Weights())
    assert sorted(each.candidate.doc_id for each in placed) == sorted(each.doc_id for each in of)
    assert all(placed[place].candidate is candidate for place, (candidate, _) in unread.items())
    assert [each for each in placed if each.candidate.retrieval_rank - 1 not in unread] == list(in_order(read))
    finals = [each.z_final for each in placed]
    assert finals == sorted(finals, reverse=True)


def test_the_best_of_each_group() -> None:
    assert each_best([1.0, 3.0, 2.0, -1.0], [1, 2, 1]) == [1.0, 3.0, -1.0]
    assert each_best([False, True], [2]) == [True]
    assert each_best([], []) == []
