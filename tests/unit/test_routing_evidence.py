"""Feedback becomes sums: each target once by its last word, what is missing is missing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pp_assets.routing.evidence import Cohort, Stats, Word, collect, last_words, scaled


def word(target: str, value: float, at: float = 10.0, *, episode: str = "", variant: str = "a", asked_at: float = 0.0) -> Word:
    return Word(target, episode or target, variant, "objective", value, asked_at, at)


words = st.lists(
    st.builds(
        lambda target, value, at: word(f"t{target}", value, at, episode=f"e{target // 2}", variant="ab"[target // 2 % 2]),
        st.integers(0, 9),
        st.floats(0, 1),
        st.floats(0, 100),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(words, st.data())
def test_repetitions_and_order_change_nothing(said: list[Word], data: st.DataObject) -> None:
    again = data.draw(st.permutations(said * 2 + said[::2]))
    assert collect(again, 60) == collect(said, 60)


@given(words)
def test_every_target_counts_once(said: list[Word]) -> None:
    kept = last_words(said, 60)
    assert len(kept) == len({one.target for one in said if one.at <= 60})


def test_a_correction_supersedes_whichever_way_the_rows_come() -> None:
    said = [word("x", 1.0, 20), word("x", 0.0, 30)]
    for rows in (said, said[::-1]):
        assert collect(rows, 60) == {"a": {"objective": Stats(1, 0.0, 0.0)}}


def test_what_comes_after_the_horizon_does_not_count_and_is_not_zero() -> None:
    assert collect([word("x", 1.0, 61), word("y", 1.0, 60)], 60) == {"a": {"objective": Stats(1, 1.0, 1.0)}}
    assert collect([word("x", 1.0, 161, asked_at=101)], 60) == {"a": {"objective": Stats(1, 1.0, 1.0)}}
    assert collect([word("x", 1.0, 20), word("x", 0.0, 61)], 60)["a"]["objective"].total == 1.0, "a late correction is late, too"
    assert collect([word("x", 1.0, 61)], 60) == {}


def test_words_of_one_episode_are_one_unit() -> None:
    said = [word("1", 1.0, episode="e"), word("2", 0.0, episode="e"), word("3", 1.0, episode="f")]
    assert collect(said, 60) == {"a": {"objective": Stats(2, 1.5, 1.25)}}


def test_sums_are_moved_to_one_scale_with_one_the_best() -> None:
    values = [100.0, 400.0, 250.0]
    cohort = Cohort(0, 1, {"a": {"ms": Stats.of(values)}})
    for up in (True, False):
        good = [(v - 50) / 450 if up else 1 - (v - 50) / 450 for v in values]
        table = scaled(cohort, "ms", ["a", "b"], 50, 500, up)
        assert table[0] == pytest.approx([3, sum(good), sum(g * g for g in good)])
        assert table[1] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("stats", [Stats(3, 3.5, 3.6), Stats(3, -0.5, 0.4), Stats(3, 1.0, 2.0), Stats(3, 2.0, 0.5)])
def test_sums_that_no_values_in_the_range_have_are_refused(stats: Stats) -> None:
    with pytest.raises(ValueError, match="x of a: 3 values that sum to"):
        scaled(Cohort(0, 1, {"a": {"x": stats}}), "x", ["a"], 0, 1, True)


@given(st.lists(st.floats(-3, 8), max_size=20))
def test_sums_of_values_in_the_range_are_taken(values: list[float]) -> None:
    table = scaled(Cohort(0, 1, {"a": {"x": Stats.of(values)}}), "x", ["a"], -3, 8, True)
    assert table[0, 0] == len(values) and -1e-6 <= table[0, 1] <= len(values) + 1e-6


def test_stats_add_up() -> None:
    assert Stats.of([0.5, 1.0]).plus(Stats.of([0.25])) == Stats.of([0.5, 1.0, 0.25])
    assert Stats().mean is None and Stats.of([0.5, 1.0]).mean == 0.75
