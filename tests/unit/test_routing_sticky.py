"""An episode keeps its variant, shares are as declared, and no more episodes move than must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from pp_assets.routing.sticky import choose, shadows

EPISODES = [f"episode-{i}" for i in range(6000)]


def chosen(shares: dict[str, float], key: str = "") -> list[str]:
    return [choose(shares, "task", episode, key) for episode in EPISODES]


def test_shares_are_those_of_the_weights() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    names, counts = np.unique(chosen(shares), return_counts=True)
    assert list(names) == list(shares)
    assert sps.chisquare(counts, np.array(list(shares.values())) * len(EPISODES)).pvalue > 0.001


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.floats(0.01, 1.0), min_size=1, max_size=5), st.text(max_size=20))
def test_the_choice_depends_on_neither_order_nor_scale(shares: dict[str, float], episode: str) -> None:
    first = choose(shares, "task", episode)
    turned = {name: 4 * shares[name] for name in reversed(shares)}
    assert choose(turned, "task", episode) == first


def test_the_choice_is_the_same_in_every_process_and_release() -> None:
    shares = {"base": 0.5, "encoder-lora": 0.3, "lora-r8": 0.2}
    assert [choose(shares, "support-triage", f"e{i}") for i in range(8)] == [
        "encoder-lora",
        "encoder-lora",
        "base",
        "encoder-lora",
        "encoder-lora",
        "encoder-lora",
        "lora-r8",
        "base",
    ]


def test_words_that_run_into_each_other_are_other_words() -> None:
    shares = {"a": 0.5, "b": 0.5}
    drawn = [(choose(shares, "task-1", f"{i}"), choose(shares, "task-", f"1{i}")) for i in range(400)]
    assert 120 < sum(one == other for one, other in drawn) < 280


def share_moved(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """The expected share of episodes that meet another variant: of all rules without a memory the smallest."""
    old, new = (np.array(shares) / sum(shares) for shares in (before, after))
    both = (old > 0) & (new > 0)
    with np.errstate(divide="ignore"):
        return 1 - sum(1 / np.maximum(old / x, new / y).sum() for x, y in zip(old[both], new[both]))


@pytest.mark.parametrize(
    ("before", "after"),
    [((0.5, 0.5), (0.9, 0.1)), ((0.5, 0.3, 0.2), (0.4, 0.3, 0.3)), ((0.2, 0.3, 0.5), (0.5, 0.3, 0.2)), ((0.4, 0.4, 0.2), (0.5, 0.5, 0.0))],
)
def test_as_many_episodes_move_as_is_said(before: tuple[float, ...], after: tuple[float, ...]) -> None:
    one, other = (chosen(dict(zip("abc", shares))) for shares in (before, after))
    moved = sum(x != y for x, y in zip(one, other))
    low, high = sps.binom.interval(0.999, len(EPISODES), share_moved(before, after))
    assert low <= moved <= high


def test_when_a_variant_is_rolled_back_only_its_own_episodes_move() -> None:
    before, after = chosen({"a": 0.5, "b": 0.3, "c": 0.2}), chosen({"a": 0.5, "b": 0.3, "c": 0.0})
    assert all(x == y for x, y in zip(before, after) if x != "c") and "c" not in after and "c" in before


def test_shadows_get_their_share_of_every_variants_traffic() -> None:
    copied = [shadows({"new": 0.2, "off": 0.0, "all": 1.0}, "task", episode) for episode in EPISODES]
    assert all("all" in one and "off" not in one for one in copied)
    answered = np.array([choose({"a": 0.5, "b": 0.5}, "task", episode) == "a" for episode in EPISODES])
    got = np.array(["new" in one for one in copied])
    for part in (answered, ~answered):
        assert sps.binomtest(int(got[part].sum()), int(part.sum()), 0.2).pvalue > 0.001


def test_another_key_deals_episodes_out_anew() -> None:
    shares = {"a": 0.5, "b": 0.5}
    same = sum(x == y for x, y in zip(chosen(shares, "one"), chosen(shares, "other")))
    assert sps.binomtest(same, len(EPISODES), 0.5).pvalue > 0.001


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -0.1, "b": 1.0}, {"a": float("nan")}, {"a": float("inf"), "b": 1.0}])
def test_weights_that_choose_nobody_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        choose(shares, "task", "episode")
