"""Races between variants, guards and shares, on arrays: any leading axes are as many experiments side by side, which is how the bench plays
thousands with the code that decides for one."""

import numpy as np

from pp_assets.routing.posterior import best, top_two, with_least
from pp_assets.routing.wealth import Sums, centre, log_growth

NOBODY = -1


def race_growth(before: np.ndarray, cohort: np.ndarray, epsilon: float) -> np.ndarray:
    """(..., K, K, stakes): bets on "row is better than column" by one cohort (..., K, 3), against "column is better by more than epsilon
    or, at 0, as good". `before` (..., K, 3) are the sums of earlier cohorts."""
    middle = centre(before)
    pairs = (middle[..., :, None] + middle[..., None, :]) / 2
    return log_growth(Sums.of(cohort[..., :, None, :]), Sums.of(cohort[..., None, :, :]), pairs, -epsilon)


def guard_growth(before: np.ndarray, cohort: np.ndarray, champion: int, tolerance: float) -> np.ndarray:
    """(..., K, stakes): bets on "worse than the champion by more than the tolerance", against "not"."""
    middle = centre(before)
    pairs = (middle[..., [champion]] + middle) / 2
    return log_growth(Sums.of(cohort[..., [champion], :]), Sums.of(cohort), pairs, tolerance)


def least_lead(races: np.ndarray, racing: np.ndarray) -> np.ndarray:
    """(..., K): of each variant in the race the least log e-value against another; -inf outside of it and where there is no other."""
    k = racing.shape[-1]
    others = racing[..., None, :] & ~np.eye(k, dtype=bool)
    least = np.where(others, races, np.inf).min(-1)
    return np.where(racing & others.any(-1), least, -np.inf)


def winner(races: np.ndarray, racing: np.ndarray, suspected: np.ndarray, delta: float) -> np.ndarray:
    """(...): the place of the variant that has beaten each other one in the race, else NOBODY.

    Each needs an e-value of variants / delta against every other. A variant that another is as good as (or better than by more than
    epsilon) has to beat that one against a true claim, which happens with a chance of at most delta / variants; there are at most that many
    such variants, so that one of them is ever declared with a chance of at most delta. One that is `suspected` by a guard does not win
    yet, since after it guards have little left to compare with.
    """
    lead = np.where(suspected, -np.inf, least_lead(races, racing))
    first = lead.argmax(-1)
    # The number of all variants that ever raced: those that were rolled back had their chance to win, too.
    needed = np.log(racing.shape[-1] / delta)
    return np.where(np.take_along_axis(lead, first[..., None], -1)[..., 0] >= needed, first, NOBODY)


def shares(
    totals: np.ndarray, racing: np.ndarray, won: np.ndarray, champion: int, least: float, leader_share: float, kept: float
) -> np.ndarray:
    """(..., K): what each variant gets of the traffic. Before there is a winner top-two Thompson sampling, with `least` for each. After it,
    all for the winner, but `kept` for the champion, without whom guards would have nothing to compare with. A winner that was rolled back
    since gives way to the champion."""
    sampled = with_least(top_two(best(totals, racing), racing, leader_share), racing, least)
    k = racing.shape[-1]
    place = np.where((won == NOBODY) | ~np.take_along_axis(racing, np.maximum(won, 0)[..., None], -1)[..., 0], champion, won)
    after = np.where(np.arange(k) == place[..., None], 1.0, 0.0) * (1 - kept) + np.where(np.arange(k) == champion, kept, 0.0)
    return np.where((won == NOBODY)[..., None], sampled, after)
