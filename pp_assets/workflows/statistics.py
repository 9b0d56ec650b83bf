"""The statistics that a workflow may ask for: each a few lines around those of the evaluation."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from pp_assets.evaluation.ab import ab_test
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.stats.effects import cliffs_delta, cohens_dz
from pp_assets.evaluation.stats.multiplicity import holm
from pp_assets.evaluation.stats.power import POWER, mcnemar_power, minimum_detectable_effect, required_items
from pp_assets.evaluation.stats.unpaired import welch
from pp_assets.evaluation.suite.asking import Asked
from pp_assets.evaluation.suite.bias import bias, representation
from pp_assets.evaluation.suite.paired import Judge
from pp_assets.evaluation.tables import item_values
from pp_assets.workflows.suite import Row, Suite
from pp_resources.models.interface import Predictor

EXACT = "object_exact_match"
EFFECT = 0.05  # the difference that a power analysis is about when nobody names one
SHORT_METRICS = ("exact_match", "f1_score")
NONE = "none is shown"


class Unanswerable(ValueError):
    """A question that the answers at hand do not tell."""


@dataclass(frozen=True)
class Answers:
    """What one instance of a step answered to a suite whose rows all have an expected answer."""

    name: str
    suite: Suite
    rows: Sequence[Row]
    predictor: Callable[[], Predictor]


@dataclass(frozen=True)
class Measured:
    """All answers that functions may look at, by name, in the order in which they were given."""

    answers: Mapping[str, Answers]

    def one(self, name: str | None, place: int = 0) -> Answers:
        """By name, else the one at `place` of those that can be compared."""
        if name is not None and name in self.answers:
            return self.answers[name]
        known = self.compared or list(self.answers.values())
        if name is not None or place >= len(known):
            raise Unanswerable(f"there are {len(known)} sets of scored answers" + (f", none is called {name!r}" if name else ""))
        return known[place]

    @cached_property
    def compared(self) -> list[Answers]:
        """The last answers, two or more, to the same items; none where there are no two."""
        groups: dict[tuple[Any, ...], list[Answers]] = {}
        for one in self.answers.values():
            groups.setdefault(tuple((row["id"], row["input"], row["expected"]) for row in one.rows), []).append(one)
        return next((group for group in reversed(groups.values()) if len(group) > 1), [])

    def scored(self, one: Answers) -> Scored:
        return one.suite.scored(one.rows)

    def scores(self, given: Any, place: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """Scores, and the ids of their items where they are those of answers."""
        if isinstance(given, list):
            return np.asarray(given, dtype=float), ()
        found = self.scored(self.one(given, place))
        return item_values(found.tables[EXACT]), tuple(f"{row.item_id} {row.input_text}" for row in found.rows)


def calculate_metrics(data: Measured, answers: str | None = None, metrics: Sequence[str] = SHORT_METRICS) -> Any:
    chosen = [data.one(answers)] if answers else list(data.answers.values())
    if not chosen:
        raise Unanswerable("no answers with an expected one beside them")
    return rounded({one.name: one.suite.metrics(one.rows, list(metrics)) for one in chosen})


def statistical_analysis(data: Measured, confidence_level: float = 0.95) -> Any:
    """Every pair by the paired tests of the evaluation, with Holm's adjustment; `winner` is better than every other one."""
    pairs = list(combinations(data.compared, 2))
    if not pairs:
        raise Unanswerable("it takes two sets of scored answers to the same items")
    alpha = 1 - confidence_level
    spec = pairs[0][0].suite.spec(pairs[0][0].suite.schema) | {"primary_metric": {"name": EXACT, "alpha": alpha}}
    found = [ab_test(spec, (a.name, a.suite.predictions(a.rows)), (b.name, b.suite.predictions(b.rows))) for a, b in pairs]
    adjusted = holm([1.0 if one["p_value"] is None else one["p_value"] for one in found])
    told, wins = [], Counter[str]()
    for (a, b), one, p in zip(pairs, found, adjusted):
        size = one["effect_size"]
        won = one["winner"] if p < alpha else None
        wins.update([won] if won else [])
        kept = {"effect_size": size["risk_difference"], "low": size["low"], "high": size["high"], "cohens_dz": size["cohens_dz"]}
        told.append({"a": a.name, "b": b.name, **kept, "p_value": one["p_value"], "p_holm": p, "power": one["power"], "winner": won})
    best = next((name for name, count in wins.items() if count == len(data.compared) - 1), None)
    first = told[0] if len(told) == 1 else max(told, key=lambda one: abs(one["effect_size"] or 0.0))
    p_value = first["p_holm"]
    short = {"winner": best or NONE, "p_value": p_value, "confidence": 1 - p_value, "effect_size": first["effect_size"]}
    return rounded({**short, "metric": "exact_match", "n": len(pairs[0][0].rows), "alpha": alpha, "pairs": told})


def perform_t_test(data: Measured, model_a_scores: Any = None, model_b_scores: Any = None, confidence_level: float = 0.95) -> Any:
    """Paired where both answered the same items, else Welch's."""
    a, b, paired = _both(data, model_a_scores, model_b_scores)
    if not paired:
        return rounded({"test": "Welch", **welch(a, b, confidence_level)._asdict(), "n_a": len(a), "n_b": len(b)})
    if len(a) < 2 or np.ptp(a - b) == 0:
        raise Unanswerable("all differences are equal, or there are fewer than two items")
    from scipy import stats

    found = stats.ttest_1samp(a - b, 0.0)
    low, high = found.confidence_interval(confidence_level)
    told = {"test": "paired t", "effect": float(np.mean(a - b)), "low": float(low), "high": float(high)}
    return rounded({**told, "t": float(found.statistic), "p": float(found.pvalue), "n": len(a)})


def calculate_effect_size(data: Measured, model_a_scores: Any = None, model_b_scores: Any = None, confidence_level: float = 0.95) -> Any:
    a, b, paired = _both(data, model_a_scores, model_b_scores)
    if not paired:
        raise Unanswerable("effect sizes are of the same items, and these are different ones")
    sizes = {"cohens_dz": cohens_dz(a - b, confidence_level), "cliffs_delta": cliffs_delta(a, b, level=confidence_level)}
    return rounded({"difference": float(np.mean(a - b)), "n": len(a), **{name: one._asdict() for name, one in sizes.items()}})


def power_analysis(
    data: Measured, effect: float | None = None, discordance: float | None = None, power: float = POWER, alpha: float = 0.05
) -> Any:
    """Items that show an effect; what the items at hand show. Discordance: as observed between the first two, else the worst, one half."""
    observed, n = None, 0
    if data.compared:
        a, b, paired = _both(data, None, None)
        observed, n = (float(np.mean(a != b)) if paired else None), len(a)
    share = discordance if discordance is not None else observed or 0.5
    wanted = EFFECT if effect is None else abs(effect)
    if not 0 < wanted <= 1 or not 0 <= share <= 1 or not 0 < power < 1 or not 0 < alpha < 0.5:
        raise Unanswerable("effect in 0..1, discordance in 0..1, power in 0..1, alpha in 0..0.5")
    told: dict[str, Any] = {"effect": wanted, "discordance": share, "target_power": power, "alpha": alpha}
    told["items_needed"] = required_items(wanted, share, alpha, power)
    if n:
        shown = {"power_now": mcnemar_power(n, share, wanted, alpha), "detectable": minimum_detectable_effect(n, share, alpha, power)}
        told |= {"items": n, **shown}
    return rounded(told)


def demographic_analysis(data: Measured, answers: str | None = None) -> Any:
    one = data.one(answers)
    judge, clean = _judged(one)
    return rounded({"answers": one.name, "mentioned": representation(judge, clean, {"rows": one.suite.examples})})


def fairness_metrics(data: Measured, answers: str | None = None) -> Any:
    """Asks the model that gave these answers the same inputs with other names, genders and nationalities."""
    one = data.one(answers)
    judge, clean = _judged(one)
    asked = Asked(one.predictor())
    found = bias(judge, one.suite.examples, clean, asked, {"rows": one.suite.examples})
    return rounded({"answers": one.name, "dimensions": found["dimensions"], "min_group": found["min_group"], "asked": asked.calls})


def _both(data: Measured, a: Any, b: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """The scores of two sides, and whether they are of the same items; lists of one length are taken for paired."""
    (x, ids), (y, others) = data.scores(a, 0), data.scores(b, 1)
    return x, y, len(x) == len(y) and ids == others


def _judged(one: Answers) -> tuple[Judge, dict[str, Any]]:
    judge = Judge.of(one.suite.spec(one.suite.schema), [(row["input"], {"answer": row["expected"]}) for row in one.rows])
    return judge, {row.item_id: row for row in one.suite.predictions(one.rows)}
