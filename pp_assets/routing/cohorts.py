"""Cuts what the store has of a stretch of time into cohorts.

**Who counts.** Variants are compared by answers that chance gave them: not by those that somebody asked for by name, not by those given in
place of a variant that failed (whose failure is its own), not by those of a model that had the name before. A cohort has one set of
weights: where new ones are first met it ends, and what a slow worker still deals out by the old ones is left out. None of this looks at
what came of an answer.

**What counts.** Of the values on one target the last within the horizon, corrections before what they correct; later ones change nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pp_assets.routing.evidence import Cohort, Stats, Word, collect
from pp_assets.routing.policy import OBJECTIVE, OWN, Routing
from pp_resources.fingerprint import canonical_json
from pp_resources.store.feedback_rows import in_force
from pp_resources.store.ids import MICRO
from pp_resources.store.read_evidence import Answered, Evidence

BUSY = {"overloaded", "stopping"}  # the machine had no room: says nothing of a model
SHADOW_BUSY = {*BUSY, "timeout"}  # copies wait behind all others


@dataclass
class Cut:
    """Cohorts in the order of time. `left_out` counts inferences by the reason why they are no evidence, among `inferences` in all."""

    cohorts: list[Cohort] = field(default_factory=list)
    inferences: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def cut(found: Evidence, policy: Routing, versions: Mapping[str, str], points: Sequence[float]) -> Cut:
    """The cohorts between the first and the last of `points` (seconds, ascending), at each of which one ends; stretches without an
    inference have none. `versions` are the models that are compared (`serving.versions`)."""
    made, seen = Cut(), set(found.begun)
    said = _by_target(found.said)
    for start, end in pairwise(points):
        rows = [one for one in found.answers if start <= one.at / MICRO < end]
        made.inferences += len(rows)
        if rows:
            for low, high, part in _strata(rows, start, end, made.left_out):
                units = _units(part, seen, policy, versions, made.left_out)
                made.cohorts.append(_cohort(low, high, units, said, policy, made.left_out))
        seen |= {one.episode for one in rows if one.episode is not None}
    return made


def _strata(rows: Sequence[Answered], start: float, end: float, left_out: Counter[str]) -> Iterator[tuple[float, float, list[Answered]]]:
    """Runs of inferences with the same weights; copies go with those that they were made beside."""
    known: set[str] = set()
    key, low, part = "", start, list[Answered]()
    for one in rows:
        weights = one.decision.get("weights")
        if one.shadow:
            part.append(one)
        elif weights is None:
            left_out["asked for by name"] += 1
        else:
            own = canonical_json(weights)
            if own != key and own in known:
                left_out["weights of before"] += 1
                continue
            if own != key and known:
                yield low, one.at / MICRO, part
                low, part = one.at / MICRO, []
            key = own
            known.add(own)
            part.append(one)
    yield low, end, part


@dataclass
class _Unit:
    """What one variant answered in one episode."""

    name: str
    variant: str
    rows: list[Answered]

    @property
    def cost(self) -> float | None:
        costs = [one.cost for one in self.rows]
        return None if None in costs else sum(filter(None, costs)) / len(costs)


def _units(rows: Iterable[Answered], seen: set[str], policy: Routing, versions: Mapping[str, str], left_out: Counter[str]) -> list[_Unit]:
    units: dict[tuple[str, str], _Unit] = {}
    for one in rows:
        variant = chosen(one)
        if variant not in (policy.shadow if one.shadow else policy.weights):
            left_out["no variant of this policy"] += 1
        elif one.decision.get("version") != versions.get(one.variant):
            left_out["another model of that name"] += 1
        elif one.episode in seen:
            left_out["an episode that began before"] += 1
        else:
            name = one.episode or one.id
            unit = units.setdefault((name, variant if one.shadow else ""), _Unit(name, variant, []))
            if unit.variant == variant:
                unit.rows.append(one)
            else:
                left_out["another variant in the same episode"] += 1
    return list(units.values())


def chosen(one: Answered) -> str:
    """The variant that was to answer: where it failed, another one may have."""
    return str(one.chain[0]["variant"]) if one.chain else one.variant


def _cohort(start: float, end: float, units: Iterable[_Unit], said: Mapping[str, Any], policy: Routing, left_out: Counter[str]) -> Cohort:
    words: dict[str, list[Word]] = defaultdict(list)
    asked: Counter[str] = Counter()
    wanted = {OBJECTIVE: (policy.metric, policy.horizon)} | {guard.name: (guard.metric, guard.horizon) for guard in policy.guards}
    for unit in units:
        rows = [one for one in unit.rows if one.answered and not one.chain]
        left_out["without an answer of its own"] += len(unit.rows) - len(rows)
        whole = _Unit(unit.name, unit.variant, rows)
        if rows and not rows[0].shadow:
            asked[unit.variant] += 1
        for guard in policy.guards:
            for word in _words(guard.name, guard.metric, guard.horizon, whole, unit.rows, said):
                words[guard.name].append(word._replace(value=guard.counted(word.value)))
        for word in _words(OBJECTIVE, policy.metric, policy.horizon, whole, unit.rows, said):
            cost = _cost_of(word.target, whole) if policy.cost_weight else 0.0
            if cost is None:
                left_out["feedback on an answer without a price"] += 1
            else:
                words[OBJECTIVE].append(word._replace(value=policy.objective(word.value, cost)))
    found: dict[str, dict[str, Stats]] = defaultdict(dict)
    for name, (_, horizon) in wanted.items():
        for variant, stats in collect(words[name], horizon).items():
            found[variant] |= stats
    return Cohort(start, end, dict(found), dict(asked))


def _words(name: str, metric: str, horizon: float, unit: _Unit, all_rows: Sequence[Answered], said: Mapping[str, Any]) -> Iterator[Word]:
    """The values of one metric on a unit, as they are."""
    if metric in OWN:
        for one in all_rows if metric == "error" else unit.rows:
            value = _own(metric, one)
            if value is not None:
                yield Word(one.id, unit.name, unit.variant, name, value, one.at / MICRO, one.at / MICRO)
        return
    targets = [(one.id, one.at) for one in unit.rows]
    if unit.rows and unit.rows[0].episode is not None and not unit.rows[0].shadow:
        targets.append((unit.name, unit.rows[0].at))
    for place, (target, at) in enumerate(targets):
        kind = "inference" if place < len(unit.rows) else "episode"
        members = [row for row in said.get(f"{kind}:{target}", ()) if row["metric"] == metric and row["at"] - at <= horizon * MICRO]
        last = in_force(members)
        if last is not None:
            # Feedback that was there before its answer was not late.
            yield Word(f"{kind}:{target}", unit.name, unit.variant, name, last["value"], at / MICRO, max(last["at"], at) / MICRO)


def _own(metric: str, one: Answered) -> float | None:
    if metric == "error":
        if one.chain:
            return None if one.chain[0].get("code") in (SHADOW_BUSY if one.shadow else BUSY) else 1.0
        return 0.0 if one.answered else None
    if metric == "invalid":
        return None if one.valid is None else float(not one.valid)
    if metric == "cost":
        return one.cost
    return None if one.shadow else one.latency_ms


def _cost_of(target: str, unit: _Unit) -> float | None:
    return next((one.cost for one in unit.rows if f"inference:{one.id}" == target), unit.cost)


def _by_target(said: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in said:
        found[f"inference:{row['inference']}" if row["inference"] else f"episode:{row['episode']}"].append(row)
    return found
