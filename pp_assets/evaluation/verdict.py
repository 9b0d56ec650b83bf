"""SHIP, DO NOT SHIP or NOT ENOUGH DATA: the one decision of a report, with the sentences that carry it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pp_assets.evaluation.compare import Comparison, items_needed
from pp_assets.evaluation.metrics import Metric
from pp_assets.evaluation.rules import RuleResult
from pp_assets.evaluation.scoring import Scoring
from pp_assets.evaluation.stats.power import POWER, USUAL_EFFECT
from pp_assets.evaluation.validity import OF_DATA
from pp_resources.errors import UserError, nearest

Label = Literal["SHIP", "DO NOT SHIP", "NOT ENOUGH DATA"]


@dataclass(frozen=True)
class GateResult:
    """One gate: `held` is None when its metric has no value."""

    metric: str
    op: str
    threshold: float
    value: float | None
    held: bool | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """The decision and the numbers behind it. `detectable` is the smallest effect that this data could have shown with 80 % power."""

    label: Label
    reasons: tuple[str, ...]
    metric: str
    baseline: str | None
    n: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    alpha: float = 0.05
    min_effect: float = 0.0
    detectable: float | None = None
    detectable_worst: float | None = None
    only_candidate: int | None = None
    only_other: int | None = None
    items_needed: int | None = None
    gates: tuple[GateResult, ...] = field(default=())


def check_gates(gates: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> tuple[GateResult, ...]:
    """Hold each gate against the metric's value. UserError for a metric that does not exist."""
    results = []
    for gate in gates:
        name, op, threshold = gate["metric"], gate["op"], float(gate["value"])
        if name not in metrics:
            raise UserError(f"unknown metric {name!r}", where="gates", how=nearest(name, metrics))
        metric = metrics[name]
        if metric.value is None:
            text = f"Gate {name} {op} {threshold:g} cannot be judged: {metric.reason}."
            results.append(GateResult(name, op, threshold, None, None, text))
            continue
        held = metric.value >= threshold if op == ">=" else metric.value <= threshold
        text = f"Gate {name} {op} {threshold:g} {'holds' if held else 'fails'}: {metric.value:.4g}"
        if metric.low is not None and metric.high is not None:
            text += f" (95 % interval {metric.low:.4g} to {metric.high:.4g}, n = {metric.n})"
        results.append(GateResult(name, op, threshold, metric.value, held, text + "."))
    return tuple(results)


def decide(
    spec: Any,
    metrics: Mapping[str, Metric],
    comparison: Comparison | None,
    gates: Sequence[Mapping[str, Any]],
    baseline: str | None = None,
    rules: Sequence[RuleResult] = (),
) -> Verdict:
    """Decide on a candidate from its metrics, its comparison with the best baseline (None: there is none), the task's gates and the outcome
    of its validation rules.

    DO NOT SHIP when a gate or rule fails or the interval rules out a useful gain; SHIP when all of them hold, p < alpha and the whole
    interval lies above the smallest useful effect; else NOT ENOUGH DATA, also where a gate or rule on the evaluation itself fails.
    """
    scoring = Scoring.of(spec)
    judged = check_gates(gates, metrics)
    failed = [gate.text for gate in judged if gate.held is False and gate.metric not in OF_DATA]
    unknown = [gate.text for gate in judged if gate.held is None or (gate.held is False and gate.metric in OF_DATA)]
    held = [gate.text for gate in judged if gate.held]
    failed += [rule.text for rule in rules if rule.held is False and not rule.short]
    unknown += [rule.text for rule in rules if rule.held is None or (rule.held is False and rule.short)]
    held += [rule.text for rule in rules if rule.held]
    floor, n = scoring.min_effect, metrics[scoring.primary].n
    common: dict[str, Any] = {"metric": scoring.primary, "baseline": baseline, "gates": judged, "n": n}
    common |= {"alpha": scoring.alpha, "min_effect": floor}
    c = comparison
    if c is None or c.effect is None or c.low is None or c.high is None or c.p_value is None:
        why = "there is no baseline to compare with" if c is None else c.reason or c.interval
        said = f"The primary metric {scoring.primary} cannot be compared: {why}."
        return Verdict("DO NOT SHIP" if failed else "NOT ENOUGH DATA", (*failed, said, *unknown, *held), **common)

    effect, low, high, p = c.effect, c.low, c.high, c.p_value
    copied = ("n", "effect", "low", "high", "p_value", "detectable", "detectable_worst", "only_candidate", "only_other")
    common |= {name: getattr(c, name) for name in copied}
    useful = f"a gain of more than {floor:g}" if floor > 0 else "a gain"
    measured = _measured(c, baseline or "the best baseline")
    shown, excluded = p < scoring.alpha and low > floor, high <= max(floor, 0.0)
    worse = p < scoring.alpha and effect < 0
    if failed or excluded or worse:
        against = [f"The interval rules out {useful}."] if excluded else []
        against += ["The candidate is significantly worse than the baseline."] if worse else []
        return Verdict("DO NOT SHIP", (*failed, *against, measured, *unknown, *held), **common)
    if shown and not unknown:
        return Verdict("SHIP", (f"{useful.capitalize()} is shown: the whole interval lies above {floor:g}.", measured, *held), **common)

    gain = effect - floor
    target = gain if gain >= 0.01 else USUAL_EFFECT
    needed = None if shown else items_needed(c, target, scoring.alpha)
    reasons = list(unknown)
    if not shown:
        reasons.append(f"{useful.capitalize()} is neither shown nor ruled out: the interval {low:+.4f} to {high:+.4f} holds both.")
    reasons.append(measured)
    if c.only_candidate is not None and c.detectable is None:
        reasons.append(f"No effect, however large, could be shown on {c.n} items grouped as these are.")
    elif c.detectable:
        reasons.append(f"With {POWER:.0%} power these {c.n} items could show an effect of {c.detectable:.3f} or more.")
    if needed:
        reasons.append(f"About {needed} test items like these would show an effect of {target:.3f}{_planned(target, gain)}.")
    return Verdict("NOT ENOUGH DATA", (*reasons, *held), **common, items_needed=needed)


def _planned(target: float, gain: float) -> str:
    return " (the one observed, which flatters)" if target == gain else " (the observed one is too small to plan with)"


def _measured(c: Comparison, baseline: str) -> str:
    text = f"{c.metric}: {c.value:.4f} against {c.other_value:.4f} of {baseline} on {c.n} items; effect {c.effect:+.4f}"
    text += f", {c.level:.0%} interval {c.low:+.4f} to {c.high:+.4f}, p {format_p(c.p_value)}"
    if c.only_candidate is not None:
        text += f"; {c.only_candidate} items only the candidate has right, {c.only_other} only the baseline"
    return text + "."


def format_p(p: float | None) -> str:
    """A p value with its sign: `= 0.0312`, `< 0.0001`."""
    if p is None:
        return "unknown"
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}"


def p_cell(p: float | None) -> str:
    """A p value in a cell, where no sign stands before it: `0.0312`, `< 0.0001`."""
    return "—" if p is None else format_p(p).removeprefix("= ")
