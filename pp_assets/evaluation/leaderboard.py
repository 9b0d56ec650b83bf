"""Many systems on one task: ranks with pairwise tests, and the non-inferiority test of a challenger against the champion."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from pp_assets.evaluation.compare import Comparison, compare_scored, with_holm, within_margin
from pp_assets.evaluation.metrics import score_metrics, table_metric
from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow, System
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_resources.errors import UserError


def leaderboard(spec: Any, systems: Sequence[System]) -> list[dict[str, Any]]:
    """Systems from best to worst by the primary metric, those without a value last.

    Each entry: `rank` (None without a value), `name`, `kind`, `description`, `metric`, `primary` (a Metric), `metrics` (all of them),
    `pairs` (comparison with every other system, Holm over all pairs) and `not_separated` (systems that this data cannot tell from it).
    """
    scoring = Scoring.of(spec)
    scored = score_all(scoring, systems)
    names = ranked(scored)
    pairs = list(combinations(names, 2))
    tests = dict(zip(pairs, with_holm([compare_scored(scored[a], scored[b]) for a, b in pairs])))
    entries = []
    by_name = {system["name"]: system for system in systems}
    for rank, name in enumerate(names, 1):
        metrics = score_metrics(scored[name])
        primary = metrics[scoring.primary]
        mine = {b: test for (a, b), test in tests.items() if a == name}
        mine |= {a: turned(test) for (a, b), test in tests.items() if b == name}
        entries.append(
            {
                "rank": rank if primary.value is not None else None,
                "name": name,
                "kind": by_name[name]["kind"],
                "description": by_name[name]["description"],
                "metric": scoring.primary,
                "primary": asdict(primary),
                "metrics": {key: asdict(metric) for key, metric in metrics.items()},
                "pairs": {other: asdict(mine[other]) for other in names if other != name},
                "not_separated": [o for o in names if o != name and _open(mine[o].p_holm, scoring.alpha)],
            }
        )
    return rounded(entries)


def regression_check(
    spec: Any, champion_rows: Sequence[PredictionRow], challenger_rows: Sequence[PredictionRow], margin: float = 0.02
) -> dict[str, Any]:
    """Is the challenger no worse than the champion by more than `margin` on the primary metric? See `within_margin`."""
    scoring = Scoring.of(spec)
    challenger, champion = score_rows(scoring, challenger_rows), score_rows(scoring, champion_rows)
    judged = within_margin(challenger, champion, margin)
    found = judged.comparison
    values = {
        "verdict": judged.verdict,
        "reason": judged.reason,
        "margin": margin,
        "metric": found.metric,
        "items_needed": judged.items_needed,
    }
    primary = {name: asdict(table_metric(s, s.tables[found.metric])) for name, s in (("champion", champion), ("challenger", challenger))}
    return rounded({**values, **primary, "comparison": asdict(found)})


def score_all(spec: Any, systems: Sequence[System]) -> dict[str, Scored]:
    """Read every system's rows, by name."""
    names = [system["name"] for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two systems are called {twice[0]!r}", where="systems", how="give each its own name")
    scoring = Scoring.of(spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    return {system["name"]: score_rows(scoring, system["rows"], reader) for system in systems}


def ranked(scored: dict[str, Scored]) -> list[str]:
    """Names from best to worst by the primary metric; equal ones by name, those without a value last."""

    def place(name: str) -> tuple[float, str]:
        one = scored[name]
        table = one.tables.get(one.scoring.primary)
        value = float("nan") if table is None else float(table.value(table.counts.sum(0)))
        worth = value if one.scoring.higher_is_better else -value
        return (float("inf") if worth != worth else -worth, name)

    return sorted(scored, key=place)


def _open(p_value: float | None, alpha: float) -> bool:
    return p_value is None or p_value >= alpha


def turned(found: Comparison) -> Comparison:
    """The same comparison seen from the other side."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    def inverse(value: float | None) -> float | None:
        return 1 / value if value else None

    return Comparison(
        **{
            **asdict(found),
            "value": found.other_value,
            "other_value": found.value,
            "effect": minus(found.effect),
            "low": minus(found.high),
            "high": minus(found.low),
            "only_candidate": found.only_other,
            "only_other": found.only_candidate,
            "odds_ratio": inverse(found.odds_ratio),
            "odds_low": inverse(found.odds_high) if found.odds_high else (0.0 if found.odds_low is not None else None),
            "odds_high": inverse(found.odds_low),
        }
    )
