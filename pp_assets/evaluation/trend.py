"""The primary metric over the packages of a task: each with its interval and tested against the champion; what is worth an alarm."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pp_assets.evaluation.leaderboard import regression_check
from pp_assets.evaluation.metrics import Metric, table_metric
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scoring, score_rows
from pp_assets.evaluation.stats.multiplicity import holm
from pp_resources.errors import UserError

MARGIN = 0.02  # of the primary metric: the loss against the champion that is borne
SMOOTHING = 0.3  # weight of the newest value in the moving average (EWMA; Roberts 1959)
CHAMPION, OTHER_DATA, NONE = "CHAMPION", "OTHER DATA", "NO CHAMPION"
Rows = Sequence[PredictionRow]


@dataclass(frozen=True)
class Release:
    """One package: what it is called, when it was made, its variant and verdict, and the answers that its report was computed from."""

    package: str
    at: str
    variant: str
    verdict: str
    rows: Rows
    champion: bool = False


def trend(spec: Any, releases: Sequence[Release], champion: Rows | None, margin: float = MARGIN) -> dict[str, Any]:
    """`releases`, oldest first, each with its primary metric and, where it answered the champion's test items, the non-inferiority test.

    Plain values: `points` (value, low, high, n, `ewma` of the values on the same items, `outcome`, `reason`, `p_holm`), `looks` (how many
    were tested) and `alerts`: the newest package of a variant that fails, and is worse also after Holm's adjustment over all looks.
    """
    scoring = Scoring.of(spec)
    answered = [i for i, release in enumerate(releases) if champion and _is_tested(release, champion)]
    tested = {i: regression_check(scoring, champion or (), releases[i].rows, margin) for i in answered}
    ps = {i: found["comparison"]["p_value"] for i, found in tested.items()}
    known = [i for i, p in ps.items() if p is not None]
    adjusted = dict(zip(known, holm([ps[i] for i in known])))
    points: list[dict[str, Any]] = []
    average, items = 0.0, None
    for i, release in enumerate(releases):
        metric = _metric(scoring, release)
        if metric.value is not None:
            goes_on = items == _items(release.rows)  # values on other items are another series
            average = SMOOTHING * metric.value + (1 - SMOOTHING) * average if goes_on else metric.value
            items = _items(release.rows)
        outcome, reason = _outcome(release, tested.get(i), champion)
        point = {"package": release.package, "at": release.at, "variant": release.variant, "verdict": release.verdict, **asdict(metric)}
        points.append(point | {"ewma": average, "outcome": outcome, "reason": reason or metric.reason, "p_holm": adjusted.get(i)})
    newest = {release.variant: i for i, release in enumerate(releases)}
    alarm = [i for i in sorted(newest.values()) if points[i]["outcome"] == "FAIL" and adjusted.get(i, 1.0) < scoring.alpha]
    alerts = [f"{points[i]['variant']} {points[i]['package']}: {points[i]['reason']}" for i in alarm]
    told = {"task": scoring.task, "metric": scoring.primary, "margin": margin, "alpha": scoring.alpha, "looks": len(tested)}
    return dict(rounded(told | {"points": points, "alerts": alerts}))


def trend_plot(found: Mapping[str, Any]) -> bytes:
    """The metric of each package with its interval, in the order in which they were made, as PNG; failed ones are red."""
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import BLUE, DARK, GREY, RED, draw

    points = [p for p in found["points"] if p["value"] is not None]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, p in enumerate(points):
            colour = RED if p["outcome"] == "FAIL" else DARK if p["outcome"] == CHAMPION else BLUE
            if p["low"] is not None and p["high"] is not None:
                axes.plot([place, place], [p["low"], p["high"]], color=colour, linewidth=1.4, marker="_")
            axes.plot(place, p["value"], "o", color=colour, markersize=5)
        axes.plot(range(len(points)), [p["ewma"] for p in points], color=GREY, linewidth=1)
        axes.set_xticks(range(len(points)), [f"{p['variant']}\n{p['at'][:10]}" for p in points], rotation=45, ha="right", fontsize=7)
        axes.set_title(f"{found['task']}: {found['metric']} by package (dark: champion, red: worse)", fontsize=9)

    return draw((max(4.0, 0.6 * len(points) + 1.5), 3.2), paint)


def _metric(scoring: Scoring, release: Release) -> Metric:
    """The primary metric of a release; none with the reason where its answers are of a task that was another one then."""
    try:
        scored = score_rows(scoring, release.rows)
    except UserError as error:
        return Metric(None, 0, reason=str(error))
    return table_metric(scored, scored.tables[scoring.primary])


def _is_tested(release: Release, champion: Rows) -> bool:
    return not release.champion and _items(release.rows) == _items(champion)


def _items(rows: Rows) -> set[tuple[str, str]]:
    return {(row.item_id, row.expected) for row in rows}


def _outcome(release: Release, tested: Mapping[str, Any] | None, champion: Rows | None) -> tuple[str, str]:
    if release.champion:
        return CHAMPION, ""
    if tested is not None:
        return str(tested["verdict"]), str(tested["reason"])
    return (OTHER_DATA, "the champion answered other test items") if champion else (NONE, "")
